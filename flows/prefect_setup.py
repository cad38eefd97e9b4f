"""Prefect as the command line needs it: with the user's server if there is one, else with its own.

Without PREFECT_API_URL (in the environment or in a Prefect profile) runs report to the server of
`perpo serve` where the store has one going, else to one for the time of the command. Both have
their database in <store>/.prefect, beside the runs it tells of: `make serve` shows them in the UI.
Of a store in a bucket that is the working copy of this machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from flows.server import start_server
from flows.serving import HOME, find_served
from flows.serving_setup import HEARTBEAT_S
from perpo_core.place import Place, find_folder

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",  # nothing phones home
    "DO_NOT_TRACK": "1",
}
DRAIN_TIMEOUT_S = 10.0


def set_environment(console: bool) -> None:
    """Settings that Prefect reads when it is imported; `console` shows its own log lines."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if not console:  # the terminal is the display's; the UI gets every line all the same
        os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"


@contextmanager
def prefect_for(store: Place, console: bool) -> Iterator[None]:
    """Flows called inside talk to the user's server, or to one of their own."""
    set_environment(console)
    from prefect.settings import PREFECT_API_URL, temporary_settings
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY as HEARTBEAT

    if PREFECT_API_URL.value():
        yield
        return
    if served := find_served(store):
        with temporary_settings({PREFECT_API_URL: served, HEARTBEAT: HEARTBEAT_S}):
            yield
        return
    with start_server(find_folder(store) / HOME) as server:
        import flows.refresh  # noqa: F401  # while the server starts
        import perpo_core.report  # noqa: F401

        server.wait()
        # A heartbeat costs a second a run, and this server ends with the run it would watch.
        with temporary_settings({PREFECT_API_URL: server.url, HEARTBEAT: None}):
            try:
                yield
            finally:
                send_the_rest()


def send_the_rest() -> None:
    """Log lines and events that still wait in this process, before their server ends."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all(timeout=DRAIN_TIMEOUT_S)
    EventsWorker.drain_all(timeout=DRAIN_TIMEOUT_S)
