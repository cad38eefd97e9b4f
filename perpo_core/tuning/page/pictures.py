"""Some trials among all others, as shapes of a picture: two objectives as a plane, more as axes.

In both, better is up (and right), and both sides of a question have the same scale, so that they
can be held against each other by eye. Numbers are in the objectives' own units.

Left out: matplotlib, whose pictures want styles in the markup, which the page's policy refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from perpo_core.tuning.fronts import Values
from perpo_core.tuning.objectives import Objective, orient
from perpo_core.tuning.standing import Standing

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 60, 360, 40, 200
"""Of what is drawn in."""
LABEL_CHARACTERS = 30
NUDGES = {"start": -50, "middle": 0, "end": 50}


@dataclass(frozen=True)
class Line:
    """Through points, (x, y) pairs as SVG writes them."""

    points: str
    role: str
    """axis, other or shown: its CSS class."""


@dataclass(frozen=True)
class Dot:
    x: float
    y: float
    role: str


@dataclass(frozen=True)
class Text:
    x: float
    y: float
    text: str
    anchor: str
    """start, middle or end."""


@dataclass
class Picture:
    """What the template draws, in this order."""

    label: str
    """Read out aloud."""
    lines: list[Line] = field(default_factory=list)
    dots: list[Dot] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    width: int = WIDTH
    height: int = HEIGHT


def draw(standing: Standing, numbers: Sequence[int], label: str) -> Picture:
    """Some done trials among all done ones."""
    values_NM = orient(standing.objectives, [trial.values or [] for trial in standing.done])
    low_M, high_M = values_NM.min(axis=0), values_NM.max(axis=0)
    shares_NM = (values_NM - low_M) / np.where(high_M > low_M, high_M - low_M, 1.0)
    shown = [trial.number in numbers for trial in standing.done]
    picture = Picture(label)
    if len(standing.objectives) == 2:
        _draw_plane(picture, standing.objectives, shares_NM, shown, (low_M, high_M))
    else:
        _draw_axes(picture, standing.objectives, shares_NM, shown, (low_M, high_M))
    return picture


def _draw_plane(
    picture: Picture,
    objectives: Sequence[Objective],
    shares_NM: Values,
    shown: Sequence[bool],
    ends: tuple[Values, Values],
) -> None:
    """The first objective to the right, the second upwards."""
    picture.lines += [
        Line(_write([(LEFT, BOTTOM), (RIGHT, BOTTOM)]), "axis"),
        Line(_write([(LEFT, BOTTOM), (LEFT, TOP)]), "axis"),
    ]
    points = [(_place_x(share[0]), _place_y(share[1])) for share in shares_NM]
    roles = ["shown" if is_shown else "other" for is_shown in shown]
    dots = [Dot(*point, role) for point, role in zip(points, roles, strict=True)]
    picture.dots += sorted(dots, key=lambda dot: dot.role)  # the shown ones lie above
    right, up = objectives
    low, high = (_tell_ends(objectives, end) for end in ends)
    picture.texts += [
        Text(LEFT, BOTTOM + 16, low[0], "start"), Text(RIGHT, BOTTOM + 16, high[0], "end"),
        Text(LEFT - 6, BOTTOM, low[1], "end"), Text(LEFT - 6, TOP + 8, high[1], "end"),
        Text((LEFT + RIGHT) / 2, BOTTOM + 36, f"{right.label} \u2192", "middle"),
        Text(LEFT - 40, TOP - 16, f"\u2191 {up.label}", "start"),
    ]  # fmt: skip


def _draw_axes(
    picture: Picture,
    objectives: Sequence[Objective],
    shares_NM: Values,
    shown: Sequence[bool],
    ends: tuple[Values, Values],
) -> None:
    """An axis for each objective, and a line through all of them for each trial."""
    xs = np.linspace(LEFT, RIGHT, len(objectives)) if len(objectives) > 1 else [LEFT]
    low, high = (_tell_ends(objectives, end) for end in ends)
    anchors = ["start", *["middle"] * (len(objectives) - 2), "end"]  # none beyond the edges
    for number, (x, objective) in enumerate(zip(xs, objectives, strict=True)):
        picture.lines.append(Line(_write([(x, TOP), (x, BOTTOM)]), "axis"))
        drop = BOTTOM + 34 + 14 * (number % 2)  # neighbours' names do not meet
        picture.texts += [
            Text(x, TOP - 10, high[number], "middle"),
            Text(x, BOTTOM + 18, low[number], "middle"),
            Text(x + NUDGES[anchors[number]], drop, _shorten(objective.label), anchors[number]),
        ]
    for role in ("other", "shown"):
        for shares_M, is_shown in zip(shares_NM, shown, strict=True):
            if is_shown == (role == "shown"):
                points = [(x, _place_y(share)) for x, share in zip(xs, shares_M, strict=True)]
                picture.lines.append(Line(_write(points), role))
                picture.dots += [Dot(x, y, role) for x, y in points if is_shown]


def _tell_ends(objectives: Sequence[Objective], end_M: Values) -> list[str]:
    """Ends of the axes in the objectives' own units."""
    own = [-end if o.is_lower_better else end for o, end in zip(objectives, end_M, strict=True)]
    return [f"{value:.3f}" for value in own]


def _shorten(label: str) -> str:
    if len(label) <= LABEL_CHARACTERS:
        return label
    return label[: LABEL_CHARACTERS - 1] + "\u2026"


def _place_x(share: float) -> float:
    return round(LEFT + share * (RIGHT - LEFT), 1)


def _place_y(share: float) -> float:
    return round(BOTTOM - share * (BOTTOM - TOP), 1)


def _write(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
