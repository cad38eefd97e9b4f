"""Looking at the rows of a run: samples, ranked lists, what was dropped, base against trained.

Pages are made from the store's Parquet files one at a time. What is held of a hundred thousand
lists are a few numbers each (task, split, gap, where its sample is); rows are decoded for the page
that shows them, and texts are searched in a stream. No server and no file is opened here
(flows/serving/view_route.py does the first): this room turns a question into HTML.
"""

from __future__ import annotations

from perpo_core.view.files import Absent
from perpo_core.view.page import MEDIA_TYPES, load_asset, render_absent, render_sample, render_tab
from perpo_core.view.query import TABS, Query, QueryError, TabName, parse_query
from perpo_core.view.run_view import RunView

__all__ = [
    "MEDIA_TYPES", "TABS", "Absent", "Query", "QueryError", "RunView", "TabName", "load_asset",
    "parse_query", "render_absent", "render_sample", "render_tab",
]  # fmt: skip
