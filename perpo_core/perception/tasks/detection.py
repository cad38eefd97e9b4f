"""Detection: a box around everything that the prompt names, of which there may be none."""

from __future__ import annotations

from perpo_core.perception.boxes import BOX_FORMATS, Box, Frame, parse_boxes
from perpo_core.perception.degrading import BOXES
from perpo_core.perception.legibility import Harm, find_box_harm, find_side_harm
from perpo_core.perception.rewards.base import Target
from perpo_core.perception.rewards.detection_f1 import DetectionF1Options
from perpo_core.perception.tasks.base import (
    GreedyMetric,
    Look,
    Shape,
    Task,
    WrittenTruth,
    as_values,
)
from perpo_core.perception.truths.detections import find_first_given_box
from perpo_core.perception.truths.detections import parse_boxes as parse_true_boxes
from perpo_core.perception.truths.row import Size


def get_boxes(target: Target) -> list[Box]:
    """The true boxes."""
    boxes = target.get("boxes")
    assert boxes is not None
    return [(x1, y1, x2, y2) for x1, y1, x2, y2 in boxes]


def read_boxes(text: str, box_format: str, frame: Frame) -> list[Shape]:
    """The boxes that an answer states, inside the image."""
    stated = parse_boxes(text, box_format, frame)[0]
    return [*stated.boxes] if stated else []


def write_truth(target: Target, box_format: str, frame: Frame) -> WrittenTruth:
    """A box a line, [] where none is; one that the format rounds too far away is none of them."""
    boxes, convention = get_boxes(target), BOX_FORMATS[box_format]
    threshold = DetectionF1Options().threshold
    kept = [convention.compute_least_iou(box, frame) >= threshold for box in boxes]
    text = "\n".join(convention.write(box, frame) for box in boxes)
    return WrittenTruth(text or "[]", sum(kept) / len(kept) if kept else 1.0)


def find_harm(target: Target, size: Size, small: Size) -> Harm | None:
    """What scaling down does to the first box that it harms."""
    harms = (find_box_harm(box, size, small) for box in get_boxes(target))
    return next(filter(None, harms), None) or find_side_harm(size, small)


DETECTION = Task(
    name="detection",
    label="detection",
    rewards=("detection_f1", "matched_iou"),
    measure="detection_f1",
    metrics={
        "f1_at_50": GreedyMetric("F1 at IoU 0.5", lambda f1_P: f1_P),
        "all_found": GreedyMetric(
            "share of fully right answers", lambda f1_P: as_values(f1_P == 1)
        ),
    },
    headline="f1_at_50",
    truth_keys=("boxes", "boxes_norm"),
    detail_keys=("box_format",),
    beside_others="give the one box as box, or ",
    other_names={"boxes": ("bboxes", "bbox", "objects", "detections", "annotations", "box")},
    parse_truth=parse_true_boxes,
    write_truth=write_truth,
    find_given_box=find_first_given_box,
    get_shapes=lambda target: [*get_boxes(target)],
    read_shapes=read_boxes,
    describe_writing=lambda shape: f"Any number of boxes are written `{shape}` each, none as `[]`",
    find_harm=find_harm,
    degrader=BOXES,
    look=Look("#a3324f", "#e58a9f", "--"),
)
