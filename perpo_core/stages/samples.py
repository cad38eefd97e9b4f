"""Samples as scoring wants them: truth and frame, without their images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container
from dataclasses import dataclass

import pyarrow.parquet as pq

from perpo_core.perception.boxes import Frame
from perpo_core.perception.frames import build_framer
from perpo_core.perception.rewards import Target
from perpo_core.stages.stage import StageContext
from schemas.artifact import SampleSet
from schemas.base import Split, TaskName

SAMPLE_COLUMNS = ["sample_id", "prompt_id", "task", "split", "width", "height", "target"]


@dataclass(frozen=True)
class ScorableSample:
    """What scoring needs of a sample."""

    sample_id: str
    task: TaskName
    target: Target
    frame: Frame


def load_scorable_samples(
    context: StageContext, samples: SampleSet, split: Split, refused: Container[str] = ()
) -> dict[str, list[ScorableSample]]:
    """prompt_id -> its samples of the split, in order of sample_id; image bytes stay on disk.

    Without refused prompts: the policy's processor has no frame for an image that it refuses.
    """
    table = pq.read_table(
        context.store.path(samples, "samples.parquet"),
        columns=SAMPLE_COLUMNS,
        filters=[("split", "==", split)],
    )
    build_frame = build_framer(context.config.policy.box_format, context.policy.folder)
    by_prompt: dict[str, list[ScorableSample]] = defaultdict(list)
    for row in sorted(table.to_pylist(), key=lambda row: row["sample_id"]):
        if row["prompt_id"] in refused:
            continue
        frame = build_frame(row["width"], row["height"])
        by_prompt[row["prompt_id"]].append(
            ScorableSample(row["sample_id"], row["task"], row["target"], frame)
        )
    return dict(by_prompt)
