"""Second stage of the bootstrap: teach the language model to look at the image tokens.

A small language model takes very long to find out that image tokens can be looked up by what they
hold: an answer about "the 7" needs two hops, from the answer to the question and from there to the
image, and neither pays before the other. Two exercises take one hop each:

- a lookup writes one edge straight after a digit's value, in no order ("74 19 02": the 7 begins at
  0.4), so that the value itself has to find its image token;
- a map draws a text, one character a patch, so that reading goes on in order.
"""

from __future__ import annotations

import numpy as np

from perpo_core.bootstrap.questions import write_dialogues
from perpo_core.bootstrap.vision import GRID, find_patch
from perpo_core.stages.collect.sources.digits import SIDE, Placed, Scene

EMPTY = "."  # a patch without the centre of a digit
EDGES = ("left", "top", "right", "bottom")  # in the order of a box's numbers


def write_readings(scene: Scene, rng: np.random.Generator) -> list[tuple[str, str]]:
    """(instruction, answer): map and transcript of a text, lookups of every edge elsewhere."""
    if scene.questions[0].task == "ocr":
        return [("Draw the scene.", draw_map(scene)), *write_dialogues(scene, rng)]
    return [
        (f"List the {name} edges.", _look_up(scene, edge, rng)) for edge, name in enumerate(EDGES)
    ]


def draw_map(scene: Scene) -> str:
    """GRID x GRID characters, row by row: the digit whose centre a patch holds, else EMPTY."""
    patches = [EMPTY] * GRID**2
    for digit in scene.placed:
        patches[find_patch(digit)] = str(digit.value)
    return "".join(patches)


def _look_up(scene: Scene, edge: int, rng: np.random.Generator) -> str:
    shuffled = [scene.placed[i] for i in rng.permutation(len(scene.placed))]
    return " ".join(f"{digit.value}{_tenths(digit, edge)}" for digit in shuffled)


def _tenths(digit: Placed, edge: int) -> str:
    """The first decimal of an edge's coordinate; 9 for the far border itself."""
    return str(min(9, digit.box[edge] * 10 // SIDE))
