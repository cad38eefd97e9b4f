"""How methods are told apart in figures: by marker, dashes and colour at once, so also in grey.

Colours are those of Okabe and Ito for readers who do not see all colours (Wong 2011, Points of
view: color blindness, Nature Methods 8), the yellow darkened on white; the eighth, a brown, is
[OURS]. The start is the page's ink. From the ninth method on looks repeat, and every method has its
number beside its name and its line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from matplotlib.lines import Line2D

from perpo_core.report.svg import INK, MUTED, PRINTED, VARIABLES

Dashes = tuple[float, ...]
"""Lengths of strokes and gaps in widths of the line; (): one stroke."""
PAGE = "#0105ff"
"""Stand-in for the ground, which hollow markers are filled with."""
PALETTE = (
    ("#0072b2", "#5aabe6"), ("#d55e00", "#f28a48"), ("#009e73", "#35c69a"), ("#cc79a7", "#dc93bb"),
    ("#e69f00", "#efb22f"), ("#56b4e9", "#8accf3"), ("#8a7d00", "#f0e442"), ("#7b4b2a", "#c9a184"),
)  # fmt: skip
"""On white, on dark."""
DASHES: tuple[Dashes, ...] = ((), (4.0, 1.6), (1.0, 1.4), (5.0, 1.6, 1.0, 1.6))
MARKERS = "os^DvPX*"
COLOURS = [f"#0105{number:02x}" for number in range(len(PALETTE))]
METHOD_VARIABLES = {
    **VARIABLES, PAGE: "--page",
    **{colour: f"--method-{number}" for number, colour in enumerate(COLOURS)},
}  # fmt: skip
METHOD_PRINTED = {
    **PRINTED, PAGE: "#ffffff",
    **{colour: light for colour, (light, _) in zip(COLOURS, PALETTE, strict=True)},
}  # fmt: skip
# Of a marker 8 wide about 0, 0.
SHAPES = {
    "o": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "s": "M-3.5-3.5h7v7h-7z",
    "^": "M0-4.2L4.2 3.6H-4.2z",
    "D": "M0-4.6L4.6 0L0 4.6L-4.6 0z",
    "v": "M0 4.2L4.2-3.6H-4.2z",
    "P": "M-1.6-4.2h3.2v2.6h2.6v3.2h-2.6v2.6h-3.2v-2.6h-2.6v-3.2h2.6z",
    "X": "M-4-2L-2-4L0-2L2-4L4-2L2 0L4 2L2 4L0 2L-2 4L-4 2L-2 0z",
    "*": "M0-5L1.4-1.6L5-1.5L2.2 .7L3.1 4.2L0 2.2L-3.1 4.2L-2.2 .7L-5-1.5L-1.4-1.6z",
}


@dataclass(frozen=True)
class Mark:
    """A look of lines and points."""

    colour: str
    """Stand-in."""
    marker: str
    dashes: Dashes = ()
    is_hollow: bool = False
    is_line: bool = True
    """False: points alone."""
    number: int | None = None
    """Written beside it, where looks repeat."""

    @property
    def settings(self) -> dict[str, Any]:
        """As matplotlib's plot takes them."""
        return {
            "color": self.colour,
            "linestyle": (0, self.dashes) if self.dashes else "solid",
            "marker": self.marker,
            "markersize": 4.6,
            "markerfacecolor": PAGE if self.is_hollow else self.colour,
            "markeredgecolor": self.colour if self.is_hollow else PAGE,
            "markeredgewidth": 1.1 if self.is_hollow else 0.5,
        }


@dataclass(frozen=True)
class Key:
    """An entry of a legend."""

    label: str
    mark: Mark

    @property
    def handle(self) -> Line2D:
        """For a legend inside a figure."""
        style = {} if self.mark.is_line else {"linestyle": "none"}
        return Line2D([], [], **{**self.mark.settings, **style})

    @property
    def swatch(self) -> Markup:
        """For a legend beside it."""
        return draw_swatch(self.mark)


START_MARK = Mark(INK, "o", (2.0, 1.2), is_hollow=True)
CLEAR_MARK = Mark(INK, "s", is_line=False)
UNCLEAR_MARK = Mark(MUTED, "o", is_hollow=True, is_line=False)


def list_marks(num_methods: int) -> list[Mark]:
    """Of the methods, in the order of the configuration."""
    repeats = num_methods > len(PALETTE)
    return [
        Mark(
            COLOURS[each % len(PALETTE)],
            MARKERS[each % len(PALETTE)],
            DASHES[each % len(DASHES)],
            number=each + 1 if repeats else None,
        )
        for each in range(num_methods)
    ]


def name_marked(label: str, mark: Mark) -> str:
    """A method's label, with its number where looks repeat."""
    return label if mark.number is None else f"{mark.number} {label}"


def draw_swatch(mark: Mark) -> Markup:
    """A piece of the line with its marker, as inline SVG in the page's colours."""
    colour = f"var({METHOD_VARIABLES[mark.colour]})"
    dashes = " ".join(f"{2 * each:g}" for each in mark.dashes)
    line = f'<path d="M1 6H27" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'
    fill = "var(--page)" if mark.is_hollow else colour
    edge = colour if mark.is_hollow else "var(--page)"
    return Markup(
        '<svg class="look" viewBox="0 0 28 12" aria-hidden="true">'
        f"{line if mark.is_line else ''}"
        f'<path transform="translate(14 6)" d="{SHAPES[mark.marker]}" fill="{fill}" '
        f'stroke="{edge}"/></svg>'
    )


def write_variables() -> Markup:
    """The style sheet's part on methods: light, dark and on paper."""
    light, dark = (
        " ".join(f"--method-{number}: {pair[shade]};" for number, pair in enumerate(PALETTE))
        for shade in (0, 1)
    )
    return Markup(
        f":root {{ {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
        f"@media print {{ :root {{ {light} }} }}\n"
    )


def zip_marks(labels: Sequence[str]) -> Iterator[Key]:
    """Methods' labels with their looks."""
    for label, mark in zip(labels, list_marks(len(labels)), strict=True):
        yield Key(name_marked(label, mark), mark)
