"""Labels as noisy as web-scale data, for the warm-up of the built-in policy only.

A base trained to convergence on clean labels leaves greedy decoding nothing to gain. Real
pretrained models learned from loose boxes, transcripts with errors and miscounts; so does this one.
The clean rewards of a refresh then carry something it has not learned.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perpo_core.perception.boxes import BOX_FORMATS, Box, Frame
from perpo_core.stages.collect.sources.digits import SIDE, Question

Range = tuple[float, float]
LOOSENESS = (0.95, 1.5)  # each side of a box is scaled by a factor from this range
LESS_LOOSENESS = (0.9, 1.35)  # the same where labels are drawn with more care
JITTER = 0.08  # standard deviation of a box's shift, in its own sides
WRONG_TARGET = 0.05  # share of boxes that are those of another digit in the scene
WRONG_CHARACTER, MISSING_CHARACTER = 0.04, 0.04  # of the characters of a transcript
OFF_BY_ONE = 0.08  # of the counts


def write_noisy_answer(
    question: Question, others: Sequence[Box], rng: np.random.Generator, looseness: Range
) -> str:
    """The answer text a careless annotator would give."""
    if question.task == "grounding":
        box = question.target
        if others and rng.random() < WRONG_TARGET:
            box = others[int(rng.integers(len(others)))]
        return write_box(loosen_box(box, rng, looseness))  # type: ignore[arg-type]
    if question.task == "ocr":
        return _garble(str(question.target), rng)
    off = int(rng.choice([-1, 1])) if rng.random() < OFF_BY_ONE else 0
    return str(max(0, int(question.target) + off))  # type: ignore[arg-type]


def loosen_box(box: Box, rng: np.random.Generator, looseness: Range = LOOSENESS) -> Box:
    """A box drawn too large and off centre, clipped to the image."""
    sides = np.array([box[2] - box[0], box[3] - box[1]])
    centre = np.array([box[0] + box[2], box[1] + box[3]]) / 2
    centre = centre + rng.normal(0, JITTER, 2) * sides
    half = sides * rng.uniform(*looseness, 2) / 2
    corners = np.clip(np.concatenate([centre - half, centre + half]), 0, 1)
    return tuple(float(value) for value in corners)  # type: ignore[return-value]


def write_box(box: Box) -> str:
    """The box as the built-in policy writes boxes."""
    return BOX_FORMATS["norm1"].write(box, Frame(SIDE, SIDE))


def _garble(text: str, rng: np.random.Generator) -> str:
    kept = []
    for character in text:
        draw = rng.random()
        if character == "\n" or draw >= WRONG_CHARACTER + MISSING_CHARACTER:
            kept.append(character)
        elif draw < WRONG_CHARACTER:
            kept.append(str(rng.integers(10)))
    return "".join(kept)
