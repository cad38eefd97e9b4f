"""The page of a study for as long as `perpo tune` waits, where `perpo serve` does not show it.

As `perpo view` (view_server.py): on 127.0.0.1 alone, under an address with a key made for this one
command. It runs in a thread, so that the terminal may be answered in as well.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from flows.serving.server import build_origin, listen
from flows.serving.view_server import KEY_BYTES
from perpo_core.store.store import Store

STOP_TIMEOUT_S = 5.0


@contextmanager
def serving_study(store: Store, study: str, port: int) -> Iterator[str]:
    """The address of a study's page, which answers until the block ends; port 0 is any free one.

    Raises ValueError, one sentence, if the port is taken.
    """
    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import Mount

    from flows.serving.gate import guard
    from flows.serving.tune_route import build_tune_app

    key = secrets.token_hex(KEY_BYTES)
    with listen(port) as listener:
        bound: int = listener.getsockname()[1]
        app = Starlette(routes=[Mount("/", build_tune_app(lambda: store, key))])
        origins = [build_origin(bound), build_origin(bound, "localhost")]
        server = uvicorn.Server(
            uvicorn.Config(guard(app, origins), log_level="error", lifespan="off")
        )
        thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"{build_origin(bound)}/{key}/{study}"
        finally:
            server.should_exit = True
            thread.join(STOP_TIMEOUT_S)
