"""The reports of a store over http, read-only, at the server of `perpo serve`.

A link from a page of the UI to a file:// address does not open in a browser, so that the server
shows the reports itself. Only RUN/report.html, RUN/report.json and the pages of several runs are
there; whatever else lies in the store is not found. They open by the key that our links carry, or
else by the password of the API; and a page may load and run nothing.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from flows.runs.links import REPORTS_PATH

PAGE = re.compile(r"[^/]+/report\.(html|json)|trends(-[^/]+)?\.html|rounds-[^/]+\.html")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the address opens the others, too
    "Cache-Control": "no-cache",  # a report is written anew when a person has answered
}


def add_reports(app: Any, folder: Path, auth: str | None, key: str | None = None) -> None:
    """Serve the reports in a folder, below the key without being asked for anything.

    `auth`: "user:password" that a browser has to give elsewhere.
    """

    def show(request: Request) -> Response:
        page = request.path_params["page"]
        given, _, keyed = page.partition("/")
        if key is not None and hmac.compare_digest(given.encode(), key.encode()):
            page = keyed
        elif auth is not None and not is_allowed(request.headers.get("Authorization"), auth):
            return PlainTextResponse("user and password, please", 401,
                                     {"WWW-Authenticate": 'Basic realm="perpo"'})  # fmt: skip
        path = find_page(folder, page)
        if path is None:
            return PlainTextResponse("there is no such report\n", 404)
        return FileResponse(path, headers=HEADERS)

    # Before all others: the UI answers whatever address nobody else has.
    app.router.routes.insert(0, Route(f"{REPORTS_PATH}/{{page:path}}", show))


def find_page(folder: Path, page: str) -> Path | None:
    """The file of a report; None for whatever is no report or lies elsewhere."""
    if not PAGE.fullmatch(page):
        return None
    path = (folder / page).resolve()
    inside = path.is_relative_to(folder.resolve()) and path.name == page.rpartition("/")[2]
    return path if inside and path.is_file() else None


def is_allowed(header: str | None, auth: str) -> bool:
    """Whether an Authorization header carries the user and password."""
    scheme, _, given = (header or "").partition(" ")
    try:
        decoded = base64.b64decode(given, validate=True)
    except binascii.Error:
        return False
    return scheme.lower() == "basic" and hmac.compare_digest(decoded, auth.encode())
