"""What the truth itself is worth as an answer: a convention that is wrong shows before a GPU does.

Of a sample of rows a task, evenly spread, the truth is written as the policy would have to answer
and judged by the task's measure and by the configured reward, beside no answer and the truth of
another row. A truth that is not worth all there is was written, read or rewarded by a convention
that does not fit. What the box format rounds is let pass, since any answer of the policy is rounded
as well, and votes that are split are no fault of a convention either.

Left out: outside rewards, which cost a server or a process, and whether the policy keeps to the
conventions (`perpo doctor --probe`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from perpo_core.doctor.findings import Finding
from perpo_core.doctor.worth import SampledRow, Scale, ask, report, weigh
from perpo_core.perception.boxes import Frame
from perpo_core.perception.frames import Framer, build_framer, needs_policy
from perpo_core.perception.judging import Judge, get_choice, without_outside
from perpo_core.perception.tasks import TASKS
from perpo_core.stages.collect.sources.rows import SampleRow
from perpo_core.stages.samples import list_sample_files
from perpo_core.store.open import open_store
from perpo_core.store.row_reader import RowReader
from perpo_core.vision.images import compute_scaled_size
from schemas.artifact import SampleSet
from schemas.base import TaskName
from schemas.config import RefreshConfig
from schemas.sources import RowsSource

NUM_ROWS = 64  # of a task: a convention is wrong for all of them, or for many
COLUMNS = ["row", "task", "width", "height", "target"]


def check_truths(
    config: RefreshConfig, policy_folder: Path | None, rows: Sequence[SampleRow]
) -> Iterator[Finding]:
    """Of rows that are not collected yet; `policy_folder` is a sound one, or None."""
    chosen = choose_rows(lambda: (row["task"] for row in rows))
    few = [_scale_down(config, rows[number]) for number in chosen]
    yield from _check(config, policy_folder, few)


def check_collected_truths(
    config: RefreshConfig, samples: SampleSet, policy_folder: Path | None
) -> Iterator[Finding]:
    """Of samples in the store: rewards and the box format may be others than before."""
    store = open_store(config.store)
    if not all(path.is_file() for path in store.paths(samples)):
        yield Finding("ok", "source: what truths are worth is seen once its samples are here")
        return
    try:
        reader = RowReader(list_sample_files(store, samples).parts, COLUMNS)
        rows = reader.read_many(choose_rows(lambda: reader.iterate_column("task")))
    except (OSError, pa.ArrowException):  # damaged, which the refresh will find and mend
        return
    yield from _check(config, policy_folder, rows)


def choose_rows(list_tasks: Callable[[], Iterable[str]]) -> list[int]:
    """Numbers of up to NUM_ROWS rows a task, evenly spread, in order.

    `list_tasks` gives the task of every row, and is asked twice, so that nothing has to be held.
    """
    wanted = {task: _spread(total) for task, total in Counter(list_tasks()).items()}
    chosen: list[int] = []
    seen: Counter[str] = Counter()
    for number, task in enumerate(list_tasks()):
        if seen[task] in wanted[task]:
            chosen.append(number)
        seen[task] += 1
    return chosen


def _spread(total: int) -> set[int]:
    """Both ends and what lies evenly between."""
    last = min(NUM_ROWS, total) - 1
    return {round(k * (total - 1) / last) for k in range(last + 1)} if last else {0}


def _scale_down(config: RefreshConfig, row: SampleRow) -> SampleRow:
    """A row with the size that its image will have in the store."""
    if not isinstance(config.source, RowsSource):
        return row
    size = (row["width"], row["height"])
    width, height = compute_scaled_size(size, config.source.max_image_side)
    return {**row, "width": width, "height": height}


def _check(
    config: RefreshConfig, policy_folder: Path | None, rows: Sequence[SampleRow]
) -> Iterator[Finding]:
    box_format = config.policy.box_format
    for name, task in TASKS.items():
        of_task = [row for row in rows if row["task"] == name]
        build_frame: Framer = Frame
        if of_task and task.read_shapes and needs_policy(box_format):
            if policy_folder is None:
                yield Finding("ok", f"source: {name}: what truths are worth needs a sound policy")
                continue
            try:
                build_frame = build_framer(box_format, policy_folder, config.policy.pixel_limits)
            except ValueError as error:
                yield Finding("error", f"source: {name}: {error}")
                continue
        sampled = list(_sample(of_task, build_frame))
        if sampled:
            questions = ask(name, sampled, box_format)
            scales = _build_scales(config, name)
            found = [(scale, weigh(name, questions, scale)) for scale in scales]
            yield from report(name, box_format, found)


def _sample(rows: Iterable[SampleRow], build_frame: Framer) -> Iterator[SampledRow]:
    for row in rows:
        try:
            frame = build_frame(row["width"], row["height"])
        except ValueError:  # an image that the policy refuses, which the check of prompts says
            continue
        yield SampledRow(row["row"], row["target"], frame)


def _build_scales(config: RefreshConfig, name: TaskName) -> list[Scale]:
    """The task's measure, and the configured reward where that is another."""
    box_format, measure = config.policy.box_format, TASKS[name].measure
    score = without_outside(config.score)
    by_measure = score.model_copy(update={name: measure})
    scales = [Scale(f"measure {measure}", Judge(by_measure, box_format))]
    if get_choice(score, name) != measure:
        left_out = get_choice(score, name) != get_choice(config.score, name)
        said = f"score.{name}" + (" without outside rewards" if left_out else "")
        scales.append(Scale(said, Judge(score, box_format)))
    return scales
