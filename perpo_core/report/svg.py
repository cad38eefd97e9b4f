"""Matplotlib figures as inline SVG that follows the page's colours, light or dark.

Figures are drawn in stand-in colours, which become CSS variables in the markup. Text stays text,
in the page's font. The same figure always gives the same bytes: no date, salted ids.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from perpo_core.perception.tasks import TASKS

# Stand-in -> CSS variable. Never pure black, which matplotlib leaves out of the markup.
INK, MUTED, GRID, ACCENT = "#010203", "#010204", "#010205", "#010206"
BASE = "#010207"
TASK_COLOURS = {name: f"#0103{index:02x}" for index, name in enumerate(TASKS)}
VARIABLES = {
    INK: "--ink", MUTED: "--muted", GRID: "--line", ACCENT: "--accent", BASE: "--warm",
    **{colour: f"--{name}" for name, colour in TASK_COLOURS.items()},
}  # fmt: skip
SIZE_INCHES = (3.7, 2.2)
SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "perpo",
    "svg.fonttype": "none",
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "ytick.major.size": 0,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}


def draw_svg(name: str, label: str, draw: Callable[[Axes], None]) -> Markup:
    """One small plot; `name` makes its ids unique in the page, `label` is read out aloud."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.locator_params(nbins=5)
        draw(axes)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _inline(buffer.getvalue(), name, label)


def _inline(svg: str, name: str, label: str) -> Markup:
    """The bare <svg> element, without prolog, metadata, namespaces, fixed size or fixed colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"font-family: [^;\"]*;?|font: [\d.]+px [^;\"]*", _keep_size, svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    view_box = re.search(r'viewBox="[^"]*"', svg)
    assert view_box is not None, "matplotlib wrote an SVG without a viewBox"
    opening = f'<svg class="plot" {view_box[0]} role="img" aria-label="{escape(label)}">'
    return Markup(re.sub(r"<svg[^>]*>", lambda found: opening, svg, count=1))


def _keep_size(found: re.Match[str]) -> str:
    """Drop the font family, which the page sets, and keep the size."""
    size = re.search(r"[\d.]+px", found[0])
    return f"font-size: {size[0]}" if size else ""
