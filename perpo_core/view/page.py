"""The pages as HTML. Whatever a model or a data set wrote is escaped by the template engine."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Template

from perpo_core.perception.tasks import TASKS
from perpo_core.report.style import build_environment, load_style
from perpo_core.view.choosing import Chosen, choose
from perpo_core.view.query import TABS, Query, TabName
from perpo_core.view.run_view import RunView
from perpo_core.view.sample_page import build_sample_page

FOLDER = Path(__file__).parent
MEDIA_TYPES = {"view.css": "text/css; charset=utf-8", "view.js": "text/javascript; charset=utf-8"}
"""Of what the pages load besides images."""
LABELS: dict[TabName, str] = {
    "lists": "Lists",
    "samples": "Samples",
    "dropped": "Dropped",
    "predictions": "Base against trained",
}


@cache
def load_asset(name: str) -> bytes:
    """A file of MEDIA_TYPES."""
    body = (FOLDER / name).read_bytes()
    return load_style().encode() + b"\n" + body if name == "view.css" else body


@cache
def _load_template(name: str) -> Template:
    return build_environment(FOLDER).get_template(name)


def render_tab(view: RunView, name: TabName, query: Query) -> str:
    """A page of a tab; raises Absent where the run has none of its rows."""
    tab = view.get_tab(name)
    chosen = choose(tab, query)
    return _render(
        "tab.html", view, name,
        tab=tab, query=query, chosen=chosen, cards=tab.build_cards(chosen.numbers),
        links=_build_links(name, query, chosen),
        kept=query.model_dump(exclude_defaults=True, exclude={"page", "start"}),
    )  # fmt: skip


def render_sample(view: RunView, sample_id: str) -> str:
    """The page of one sample; raises Absent where the run has none of that id."""
    page = build_sample_page(view, sample_id)
    return _render("sample.html", view, "samples", root="../", page=page)


def render_absent(view: RunView, name: TabName, sentence: str, root: str = "") -> str:
    """A page that says why there is nothing to see."""
    return _render("absent.html", view, name, root=root, sentence=sentence)


def _render(template: str, view: RunView, name: TabName, **context: Any) -> str:
    own = {"root": "", "tab_name": name, "tabs": {each: LABELS[each] for each in TABS}}
    labels = {name: task.label for name, task in TASKS.items()}
    return _load_template(template).render(own | {"run": view.run, "labels": labels} | context)


def _build_links(name: TabName, query: Query, chosen: Chosen) -> dict[str, str]:
    """Where first, previous, next and last page are; those that there are."""
    if chosen.search is not None:
        search = chosen.search
        links = {"first": {"start": 0}} if search.num_before else {}
        if search.goes_on:
            links["next"] = {"start": search.num_looked}
    else:
        page, last = chosen.page, chosen.num_pages
        links = {"first": {"page": 1}, "previous": {"page": page - 1}} if page > 1 else {}
        if page < last:
            links |= {"next": {"page": page + 1}, "last": {"page": last}}
    return {which: f"{name}?{query.encode(**changes)}" for which, changes in links.items()}
