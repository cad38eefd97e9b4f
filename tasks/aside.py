"""What the UI is told on the side, progress and summaries: it never stops or holds up the work.

A server that is being started again is missed for seconds; the training that it watches goes on.
What a run's state hangs on (flow and task runs) is not told this way: there Prefect's client waits
for the server (PREFECT_CLIENT_MAX_RETRIES).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings


@contextmanager
def told_aside(what: str) -> Iterator[None]:
    """Calls to the server inside are tried once; a failure is logged and the block is left."""
    try:
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            yield
    except httpx.HTTPError as error:
        get_run_logger().warning("the UI was not told the %s: %s", what, error)
