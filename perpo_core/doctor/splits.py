"""The parts of a source, by task and split: empty and small ones, and gates that look at none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from perpo_core.doctor.findings import Finding
from perpo_core.doctor.gates import check_gates
from perpo_core.perception.tasks import TASKS
from perpo_core.stages.collect import WHERE_EMPTY
from schemas.base import CHOOSING_SPLIT, JUDGING_SPLIT, SPLITS, Split, TaskName
from schemas.config import RefreshConfig
from schemas.sources import DigitsSource

# Of n images, a share near one half has a 95% interval of 1.96 * sqrt(0.25 / n): +-0.14 with 50.
# With fewer, what a training usually gains is far inside the noise.
FEW_IMAGES = 50
USES: dict[Split, str] = {
    CHOOSING_SPLIT: "the checkpoint is chosen by luck",
    JUDGING_SPLIT: "gates see large changes only",
}
NumImages = Mapping[tuple[str, str], int]


def count_images(rows: Iterable[Mapping[str, Any]]) -> NumImages:
    """(task, split) -> different images, of rows with task, split and image_id."""
    images: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        images[row["task"], row["split"]].add(row["image_id"])
    return {part: len(ids) for part, ids in images.items()}


def count_scenes(source: DigitsSource) -> NumImages:
    """(task, split) -> scenes; every one is an image of its own."""
    return {
        (task, split): number
        for split in SPLITS
        for task, number in getattr(source, split).items()
        if number
    }


def check_splits(config: RefreshConfig, num_images: NumImages) -> Iterator[Finding]:
    """Empty and small parts of every task that the source has, and the gates on them."""
    tasks = [task for task in TASKS if any((task, split) in num_images for split in SPLITS)]
    if not any((task, "train") in num_images for task in tasks):
        yield Finding("error", f"source: the train split is empty; {_advise(config, 'train')}")
    if not tasks:
        return
    for task in tasks:
        yield from _check_parts(config, task, num_images)
    yield from _check_share(config, [t for t in tasks if (t, CHOOSING_SPLIT) in num_images])
    yield from check_gates(config, tasks, [t for t in tasks if (t, JUDGING_SPLIT) in num_images])


def _check_parts(config: RefreshConfig, task: TaskName, num_images: NumImages) -> Iterator[Finding]:
    for split in SPLITS:
        number = num_images.get((task, split), 0)
        if not number:
            what = f"has no {split} samples: {WHERE_EMPTY[split]}"
        elif split in USES and number < FEW_IMAGES:
            what = f"has fewer than {FEW_IMAGES} {split} images ({number}): {USES[split]}"
        else:
            continue
        yield Finding("warning", f"source: {task} {what}; {_advise(config, split, task)}")


def _check_share(config: RefreshConfig, chosen_by: list[TaskName]) -> Iterator[Finding]:
    """Enough prompts in the part are of no use where few of them are asked."""
    total = config.train.eval_prompts
    if chosen_by and total // len(chosen_by) < FEW_IMAGES:
        yield Finding(
            "warning",
            f"configuration: train.eval_prompts ({total}) shared out over {len(chosen_by)} tasks "
            f"is fewer than {FEW_IMAGES} each: {USES[CHOOSING_SPLIT]}; raise it",
        )


def _advise(config: RefreshConfig, split: Split, task: TaskName | None = None) -> str:
    if isinstance(config.source, DigitsSource):
        return f"raise source.{split}" + (f".{task}" if task else "")
    shares = "" if split == "train" else f" or raise source.{split}_share"
    return f'give it rows with split = "{split}"{shares}'
