"""Second stage of the bootstrap: teach the language model to look at the image tokens.

A small language model takes very long to find out that image tokens can be looked up by what they
hold. A map makes it easy: one character a patch, in order, so that the token to look at is always
the same number of places back. What the map teaches (how a digit and its edges look in an image
token) the description then needs, and with it looking up by content appears within minutes.
"""

from __future__ import annotations

import numpy as np

from perpo_core.bootstrap.questions import write_dialogues
from perpo_core.bootstrap.vision import GRID, find_patch
from perpo_core.sources.digits import SIDE, Placed, Scene

EMPTY = "."  # a patch without the centre of a digit
EDGES = ("left", "top", "right", "bottom")  # in the order of a box's numbers


def write_readings(scene: Scene, rng: np.random.Generator) -> list[tuple[str, str]]:
    """(instruction, answer): the map of digits, the map of one edge, and the last dialogue.

    The last dialogue of a scene is its description, or its transcript where it is text.
    """
    edge = int(rng.integers(len(EDGES)))
    return [
        ("Draw the scene.", draw_map(scene, [str(digit.value) for digit in scene.placed])),
        (f"Draw the {EDGES[edge]} edges.", draw_map(scene, [
            _tenths(digit, edge) for digit in scene.placed
        ])),
        write_dialogues(scene, rng)[-1],
    ]  # fmt: skip


def draw_map(scene: Scene, characters: list[str]) -> str:
    """GRID x GRID characters, row by row: one a digit at its centre's patch, else EMPTY."""
    patches = [EMPTY] * GRID**2
    for digit, character in zip(scene.placed, characters, strict=True):
        patches[find_patch(digit)] = character
    return "".join(patches)


def _tenths(digit: Placed, edge: int) -> str:
    """The first decimal of an edge's coordinate; 9 for the far border itself."""
    return str(min(9, digit.box[edge] * 10 // SIDE))
