"""The rows of a store's runs over http, read-only: the pages of perpo_core/view.

    /<key>/<run>/lists | samples | dropped | predictions    a page of a tab
    /<key>/<run>/sample/<sample_id>                          all of one sample
    /<key>/<run>/image/<sha256>                              an image that the run's rows name

They open by a key in the address, or by the password of the API where there is one. Nothing is
written, no path of a file is ever taken from an address, and pages load nothing but what is here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from threading import Lock
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from flows.runs.records import load_record
from flows.serving.locked import Locked, refuse
from perpo_core.store.store import Store
from perpo_core.view import (
    MEDIA_TYPES,
    TABS,
    Absent,
    QueryError,
    RunView,
    load_asset,
    parse_query,
    render_absent,
    render_sample,
    render_tab,
)

KEPT_RUNS = 4
FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}  # named by its content


class Views:
    """The runs of a store, opened for looking; a few stay open."""

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self._open_store = cache(open_store)  # of a bucket that does not answer, not before asked
        self._kept: OrderedDict[str, RunView] = OrderedDict()
        self._lock = Lock()

    def keep(self, run: str) -> RunView:
        """As `open`, but one that is open already as it is: for what a page of it names."""
        with self._lock:
            kept = self._kept.get(run)
        return self.open(run) if kept is None else kept

    def open(self, run: str) -> RunView:
        """A run by its id, or "latest"; anew where its record says more by now. Raises Absent."""
        try:
            store = self._open_store()
            record = load_record(store, run)
        except ValueError as error:
            raise Absent(str(error)) from error
        with self._lock:
            kept = self._kept.get(record.run_id)
            if kept is None or kept.run != record:
                self._kept[record.run_id] = RunView(store, record)
            self._kept.move_to_end(record.run_id)
            while len(self._kept) > KEPT_RUNS:
                self._kept.popitem(last=False)
            return self._kept[record.run_id]


class Pages:
    """What each address answers; raises Absent and QueryError."""

    def __init__(self, views: Views) -> None:
        self._views = views

    def start(self, request: Request) -> Response:
        """On to the first tab."""
        return RedirectResponse(f"{quote(request.path_params['run'], safe='')}/{TABS[0]}")

    def show_page(self, request: Request) -> Response:
        """A tab, or what its page loads."""
        name = request.path_params["page"]
        if name in MEDIA_TYPES:
            return Response(load_asset(name), headers={"Content-Type": MEDIA_TYPES[name]})
        tab = next((each for each in TABS if each == name), None)
        if tab is None:
            raise Absent("There is no such page.")
        view, query = self._open(request), parse_query(request.query_params)
        try:
            return HTMLResponse(render_tab(view, tab, query))
        except Absent as absent:
            return HTMLResponse(render_absent(view, tab, str(absent)))

    def show_sample(self, request: Request) -> Response:
        """All of one sample."""
        view = self._open(request)
        try:
            return HTMLResponse(render_sample(view, request.path_params["sample"]))
        except Absent as absent:
            return HTMLResponse(render_absent(view, "samples", str(absent), "../"), 404)

    def show_image(self, request: Request) -> Response:
        """The bytes of an image."""
        image_hash = request.path_params["image"]
        data, media_type = self._views.keep(request.path_params["run"]).read_image(image_hash)
        headers = {"ETag": f'"{image_hash}"', **FOR_EVER}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return Response(None, 304, headers)
        return Response(data, headers=headers, media_type=media_type)

    def _open(self, request: Request) -> RunView:
        return self._views.open(request.path_params["run"])


def build_view_app(
    open_store: Callable[[], Store], key: str | None, auth: str | None = None
) -> ASGIApp:
    """The pages, for who has the key in the address or `auth`, "user:password"."""
    pages = Pages(Views(open_store))
    app = Starlette(
        routes=[
            Route("/{run}", pages.start),
            Route("/{run}/sample/{sample}", pages.show_sample),
            Route("/{run}/image/{image}", pages.show_image),
            Route("/{run}/{page}", pages.show_page),
        ],
        exception_handlers={
            Absent: lambda request, absent: refuse(404, str(absent)),
            QueryError: lambda request, error: refuse(400, str(error)),
        },
    )
    app.router.redirect_slashes = False
    return Locked(app, key, auth)
