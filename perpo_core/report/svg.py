"""Matplotlib figures as inline SVG that follows the page's colours, light or dark.

Figures are drawn in stand-in colours, which become CSS variables in the markup; of a file of its
own, fixed colours on white. Text stays text, in the page's font. The same figure always gives the
same bytes: no date, salted ids.
"""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Callable, Mapping
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
PRINTED = {
    INK: "#1b1d20", MUTED: "#62676e", GRID: "#e2e3e1", ACCENT: "#0067a5", BASE: "#b54708",
    **{colour: TASKS[name].look.light for name, colour in TASK_COLOURS.items()},
}  # fmt: skip
"""Stand-in -> the colour that its variable has on a light page."""
SIZE_INCHES = (3.7, 2.2)
_DRAWING = threading.Lock()
"""matplotlib's settings are the process's: runs side by side write their reports in threads."""
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


def draw_svg(
    name: str,
    label: str,
    draw: Callable[[Axes], None],
    size_inches: tuple[float, float] = SIZE_INCHES,
    variables: Mapping[str, str] = VARIABLES,
) -> Markup:
    """One small plot; `name` makes its ids unique in the page, `label` is read out aloud."""
    return _inline(_render(draw, size_inches), name, label, variables)


def draw_svg_file(
    label: str,
    draw: Callable[[Axes], None],
    size_inches: tuple[float, float],
    colours: Mapping[str, str] = PRINTED,
) -> str:
    """The content of an SVG file of its own, on white; `label` is its title."""
    svg = _strip(_render(draw, size_inches))
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "sans-serif", svg)
    for stand_in, colour in colours.items():
        svg = svg.replace(stand_in, colour)
    ground = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return re.sub(
        r"<svg[^>]*>", lambda found: f"{found[0]}\n <title>{escape(label)}</title>\n {ground}", svg,
        count=1,
    )  # fmt: skip


def _render(draw: Callable[[Axes], None], size_inches: tuple[float, float]) -> str:
    with _DRAWING, matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        # Of letters that matplotlib's own font lacks: the page's has them.
        warnings.filterwarnings("ignore", message="Glyph")
        figure = Figure(figsize=size_inches, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.locator_params(nbins=5)
        draw(axes)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue()


def _strip(svg: str) -> str:
    """The <svg> element without prolog, metadata and comments."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)


def _inline(svg: str, name: str, label: str, variables: Mapping[str, str]) -> Markup:
    """The bare <svg> element, without prolog, metadata, namespaces, fixed size or fixed colours."""
    svg = _strip(svg)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"font-family: [^;\"]*;?|font: [\d.]+px [^;\"]*", _keep_size, svg)
    for colour, variable in variables.items():
        svg = svg.replace(colour, f"var({variable})")
    view_box = re.search(r'viewBox="[^"]*"', svg)
    assert view_box is not None, "matplotlib wrote an SVG without a viewBox"
    opening = f'<svg class="plot" {view_box[0]} role="img" aria-label="{escape(label)}">'
    return Markup(re.sub(r"<svg[^>]*>", lambda found: opening, svg, count=1))


def _keep_size(found: re.Match[str]) -> str:
    """Drop the font family, which the page sets, and keep the size."""
    size = re.search(r"[\d.]+px", found[0])
    return f"font-size: {size[0]}" if size else ""
