"""`perpo view`: the rows of a run in a browser on this machine, until told to stop.

The address holds a key made for this one command, so that other users of the machine and pages of
others find nothing; it listens on 127.0.0.1 and answers under no other name. Nothing is written but
the address, for the browser.
"""

from __future__ import annotations

import os
import secrets
import webbrowser
from collections.abc import Callable
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from flows.serving.serve import stopping_on_signals
from flows.serving.server import build_origin, listen
from perpo_core.store.store import Store

KEY_BYTES = 16
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")  # without one a browser would take over the terminal


def serve_view(
    store: Store, run_id: str, port: int, *, say: Callable[[str], None], browser: bool
) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP; port 0 is any free one.

    Raises ValueError, one sentence, if the port is taken.
    """
    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import Mount

    from flows.serving.gate import guard
    from flows.serving.view_route import build_view_app

    key = secrets.token_hex(KEY_BYTES)
    with (
        stopping_on_signals(),
        listen(port) as listener,
        TemporaryDirectory(prefix="perpo-view-") as folder,
    ):
        bound: int = listener.getsockname()[1]
        app = Starlette(routes=[Mount("/", build_view_app(lambda: store, key))])
        origins = [build_origin(bound), build_origin(bound, "localhost")]
        config = uvicorn.Config(guard(app, origins), log_level="error", lifespan="off")
        url = f"{build_origin(bound)}/{key}/{run_id}/lists"
        say(f"{url}\nuntil Ctrl-C; nothing can be changed there")
        if browser and any(map(os.environ.get, DISPLAYS)):
            open_browser(url, Path(folder))
        uvicorn.Server(config).run(sockets=[listener])


def open_browser(url: str, folder: Path) -> None:
    """At an address that has a key, by way of a page in a folder that is the user's alone.

    The arguments of a process, a browser's too, are for all users of the machine to see.
    """
    page = folder / "view.html"
    page.write_text(f'<!doctype html><meta http-equiv="refresh" content="0; url={escape(url)}">')
    webbrowser.open(page.as_uri())
