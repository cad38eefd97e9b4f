"""How our pages are made: templates that escape, and the style sheet that all of them share."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from perpo_core.perception.tasks import TASKS

FOLDER = Path(__file__).parent


def build_environment(folder: Path = FOLDER) -> Environment:
    """Templates of a folder, and ours that it lacks; everything they show is escaped."""
    return Environment(
        loader=FileSystemLoader([folder, FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def load_style() -> Markup:
    """The style sheet, with the tasks' colours."""
    light, dark = (
        " ".join(f"--{name}: {getattr(task.look, shade)};" for name, task in TASKS.items())
        for shade in ("light", "dark")
    )
    colours = (
        f":root {{ {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
        f"@media print {{ :root {{ {light} }} }}\n"
    )
    return Markup(colours + (FOLDER / "report.css").read_text(encoding="utf-8"))
