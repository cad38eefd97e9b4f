"""How close each answer of a list is to its best one: what `train.pairs = "nearest"` goes by.

Boxes by IoU, where a best answer states any; an answer that states none is further from it than any
box. Of several boxes in an answer the matched IoU counts (perpo_core/perception/rewards/
matched_iou.py), which for one box each is IoU. Everything else, points too, by edit similarity of
the answers, 1 - Levenshtein distance / length of the longer one, as they are judged: without
thoughts, every run of white space one space. Where several answers tie for the best, the closest of
them counts. Rounded, so that answers that are equally close stay so whatever rounding does.

RosePO (arXiv 2410.12519) rejects "semantically similar" items, says its abstract; how it measures
that could not be read, and this measure is ours.

By hand: "12" is best; "13" has 1 - 1/2 = 0.5, "123" 1 - 1/3 = 0.666667, "no" 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rapidfuzz.distance import Levenshtein

from perpo_core.perception.boxes import Box, Frame, StatedBoxes
from perpo_core.perception.find_answer import find_answer
from perpo_core.perception.frames import build_framer
from perpo_core.perception.rewards.edit_similarity import normalize_text
from perpo_core.perception.rewards.matched_iou import compute_mean_iou
from perpo_core.perception.tasks import TASKS
from perpo_core.stages.samples import SampleRows
from schemas.run import TrainJob

NO_BOX = -1.0
"""Closeness to boxes of an answer that states none; boxes that do not touch have 0."""
DECIMALS = 9


@dataclass(frozen=True)
class Closeness:
    """An AnswerColumn (perpo_core/stages/train/data.py)."""

    box_format: str
    find_frame: Callable[[str], Frame]
    """Of a sample_id."""

    def __call__(self, row: dict[str, Any]) -> list[float]:
        """In [0, 1], or NO_BOX."""
        texts = [response["text"] for response in row["responses"]]
        rewards = [response["reward"] for response in row["responses"]]
        best = [number for number, reward in enumerate(rewards) if reward == max(rewards)]
        boxes = self._read_boxes(row, texts)
        if any(boxes[number] for number in best):
            values = compare_boxes(boxes, [boxes[number] for number in best if boxes[number]])
        else:
            answers = [read_answer(text) for text in texts]
            values = compare_texts(answers, [answers[number] for number in best])
        return [round(value, DECIMALS) for value in values]

    def _read_boxes(self, row: dict[str, Any], texts: Sequence[str]) -> list[list[Box]]:
        """The boxes that each answer states, in 0-1 of the image."""
        read_shapes = TASKS[row["task"]].read_shapes
        if read_shapes is None:
            return [[] for _ in texts]
        frame = self.find_frame(row["sample_id"])
        shapes = [read_shapes(text, self.box_format, frame) for text in texts]
        return [[shape for shape in found if len(shape) == 4] for found in shapes]


def compare_boxes(boxes_G: Sequence[list[Box]], best: Sequence[list[Box]]) -> list[float]:
    """Matched IoU of each answer's boxes with those of the closest of the best ones."""
    return [
        max(compute_mean_iou(StatedBoxes(boxes), each) for each in best) if boxes else NO_BOX
        for boxes in boxes_G
    ]


def compare_texts(texts_G: Sequence[str], best: Sequence[str]) -> list[float]:
    """Edit similarity of each with the closest of the best ones."""
    return [max(Levenshtein.normalized_similarity(text, each) for each in best) for text in texts_G]


def read_answer(text: str) -> str:
    """The part of a text that answers, as a reader sees it; "" where none does."""
    return normalize_text(find_answer(text)[0] or "", collapse_whitespace=True)


def build_closeness(job: TrainJob) -> Closeness:
    """For a training's lists; raises ValueError where the box format does not fit the policy."""
    policy = job.config.policy
    build_frame = build_framer(policy.box_format, job.policy.folder, policy.pixel_limits)
    samples = SampleRows(job.samples)

    def find_frame(sample_id: str) -> Frame:
        row = samples.read(sample_id)
        return build_frame(row["width"], row["height"])

    return Closeness(policy.box_format, find_frame)
