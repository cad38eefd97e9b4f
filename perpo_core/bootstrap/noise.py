"""Labels as noisy as web-scale data, for the warm-up of the built-in policy only.

A base trained to convergence on clean labels leaves greedy decoding nothing to gain, and one that
never saw a clean label hardly knows better. Real pretrained models know more than they answer:
their last labels were loose boxes, transcripts with errors and miscounts. So does this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perpo_core.perception.boxes import BOX_FORMATS, Box, Frame
from perpo_core.stages.collect.sources.digits import SIDE, Question


@dataclass(frozen=True)
class Care:
    """How labels differ from the truth; by default they do not."""

    looseness: tuple[float, float] = (1.0, 1.0)
    """Each side of a box is scaled by a factor from this range."""
    shift_sides: float = 0.0
    """Standard deviation of a box's shift, in its own sides."""
    wrong_target: float = 0.0
    """Share of boxes that are those of another digit in the scene."""
    wrong_character: float = 0.0
    """Share of a transcript's characters that are drawn at random."""
    missing_character: float = 0.0
    """Share of them that are left out."""
    off_by_one: float = 0.0
    """Share of counts that are one more or less."""


EXACT = Care()
USUAL = Care(
    looseness=(0.95, 1.5), shift_sides=0.08, wrong_target=0.05,
    wrong_character=0.04, missing_character=0.04, off_by_one=0.08,
)  # fmt: skip
CARELESS = Care(
    looseness=(1.1, 1.6), shift_sides=0.1, wrong_target=0.1,
    wrong_character=0.06, missing_character=0.06, off_by_one=0.1,
)  # fmt: skip


def write_noisy_answer(
    question: Question, others: Sequence[Box], rng: np.random.Generator, care: Care
) -> str:
    """The answer text of an annotator who takes such care."""
    if question.task == "grounding":
        box = question.target
        if others and rng.random() < care.wrong_target:
            box = others[int(rng.integers(len(others)))]
        return write_box(loosen_box(box, rng, care))  # type: ignore[arg-type]
    if question.task == "ocr":
        return _garble(str(question.target), rng, care)
    off = int(rng.choice([-1, 1])) if rng.random() < care.off_by_one else 0
    return str(max(0, int(question.target) + off))  # type: ignore[arg-type]


def loosen_box(box: Box, rng: np.random.Generator, care: Care) -> Box:
    """A box scaled and off centre, clipped to the image."""
    sides = np.array([box[2] - box[0], box[3] - box[1]])
    centre = np.array([box[0] + box[2], box[1] + box[3]]) / 2
    centre = centre + rng.normal(0, care.shift_sides, 2) * sides
    half = sides * rng.uniform(*care.looseness, 2) / 2
    corners = np.clip(np.concatenate([centre - half, centre + half]), 0, 1)
    return tuple(float(value) for value in corners)  # type: ignore[return-value]


def write_box(box: Box) -> str:
    """The box as the built-in policy writes boxes."""
    return BOX_FORMATS["norm1"].write(box, Frame(SIDE, SIDE))


def _garble(text: str, rng: np.random.Generator, care: Care) -> str:
    kept = []
    for character in text:
        draw = rng.random()
        if character == "\n" or draw >= care.wrong_character + care.missing_character:
            kept.append(character)
        elif draw < care.wrong_character:
            kept.append(str(rng.integers(10)))
    return "".join(kept)
