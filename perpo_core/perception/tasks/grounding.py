"""Grounding: one box around what the prompt names."""

from __future__ import annotations

from perpo_core.perception.boxes import BOX_FORMATS, Box, Frame, parse_box
from perpo_core.perception.degrading import BOX
from perpo_core.perception.legibility import Harm, find_box_harm
from perpo_core.perception.rewards.base import Target
from perpo_core.perception.tasks.base import (
    GreedyMetric,
    Look,
    Shape,
    Task,
    WrittenTruth,
    as_values,
)
from perpo_core.perception.truths.boxes import find_given_box
from perpo_core.perception.truths.boxes import parse_box as parse_true_box
from perpo_core.perception.truths.row import Size


def get_box(target: Target) -> Box:
    """The true box."""
    assert target["box"] is not None
    x1, y1, x2, y2 = target["box"]
    return x1, y1, x2, y2


def read_shapes(text: str, box_format: str, frame: Frame) -> list[Shape]:
    """The box that an answer states, if it does."""
    box = parse_box(text, box_format, frame)[0]
    return [] if box is None else [box]


def write_truth(target: Target, box_format: str, frame: Frame) -> WrittenTruth:
    """The box, whose numbers the format rounds."""
    box, convention = get_box(target), BOX_FORMATS[box_format]
    return WrittenTruth(convention.write(box, frame), convention.compute_least_iou(box, frame))


def find_harm(target: Target, size: Size, small: Size) -> Harm | None:
    """What scaling down does to the true box."""
    return find_box_harm(get_box(target), size, small)


GROUNDING = Task(
    name="grounding",
    label="grounding",
    rewards=(
        "iou",
        "giou",
        "diou",
        "ciou",
        "iou_power",
        "iou_threshold",
        "point_in_box",
    ),
    measure="iou",
    metrics={
        # IoU of at least 0.5 is RefCOCO's accuracy.
        "acc_at_50": GreedyMetric("accuracy at IoU 0.5", lambda iou_P: as_values(iou_P >= 0.5)),
        "mean_iou": GreedyMetric("mean IoU", lambda iou_P: iou_P),
    },
    headline="acc_at_50",
    truth_keys=("box", "box_norm"),
    several_keys=("box", "box_norm"),
    detail_keys=("box_format", "answer"),  # an answer beside the box has to be that box
    beside_others="cut the image to the box, or ",
    other_names={"box": ("bbox", "bbox_2d", "bounding_box", "answer")},
    parse_truth=parse_true_box,
    write_truth=write_truth,
    find_given_box=find_given_box,
    get_shapes=lambda target: [get_box(target)],
    read_shapes=read_shapes,
    describe_writing=lambda shape: f"Boxes are written `{shape}`",
    find_harm=find_harm,
    degrader=BOX,
    look=Look("#0072b2", "#56b4e9", "-"),
)
