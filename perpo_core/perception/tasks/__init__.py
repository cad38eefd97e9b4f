"""Tasks by name, in the order in which they are shown. A new one is a file here and a line."""

from __future__ import annotations

from perpo_core.perception.tasks.base import (
    GreedyMetric,
    Look,
    Shape,
    Task,
    Truth,
    WrittenTruth,
)
from perpo_core.perception.tasks.counting import COUNTING
from perpo_core.perception.tasks.detection import DETECTION
from perpo_core.perception.tasks.extraction import EXTRACTION
from perpo_core.perception.tasks.grounding import GROUNDING
from perpo_core.perception.tasks.ocr import OCR
from perpo_core.perception.tasks.pointing import POINTING
from perpo_core.perception.tasks.table import TABLE
from perpo_core.perception.tasks.vqa import VQA

TASKS: dict[str, Task] = {
    task.name: task
    for task in (GROUNDING, OCR, COUNTING, POINTING, DETECTION, VQA, EXTRACTION, TABLE)
}

LOWER_IS_BETTER = frozenset(
    name
    for task in TASKS.values()
    for name, metric in task.metrics.items()
    if metric.lower_is_better
)
"""Metrics of any task whose fall is an improvement; no name means two things."""

__all__ = [
    "LOWER_IS_BETTER",
    "TASKS",
    "GreedyMetric",
    "Look",
    "Shape",
    "Task",
    "Truth",
    "WrittenTruth",
]
