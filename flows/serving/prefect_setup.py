"""Prefect as the command line needs it: with the user's server if there is one, else with its own.

Without PREFECT_API_URL (in the environment or in a Prefect profile) runs report to the server of
`perpo serve` where the store has one going, else to one for the time of the command. Both have
their database in <store>/.prefect, beside the runs it tells of: `make serve` shows them in the UI.
Of a store in a bucket that is the working copy of this machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flows.runs.home import HOME, PASSWORD_FILE, find_served, load_auth
from flows.serving.password import CLIENT_AUTH, SERVER_AUTH, build_auth, find_own_auth
from flows.serving.server import Server, ServerEnded, start_server
from flows.serving.setup import HEARTBEAT_S
from perpo_core.process.environment import apply_defaults
from perpo_core.process.troubles import explain
from perpo_core.store.place import Place, find_folder

PATIENT = {
    # A server that is started again at night is waited for: 2 + 4 + ... + 256 s, 8 minutes.
    "PREFECT_CLIENT_MAX_RETRIES": "8",
    # One whose database is away for a moment answers 500, which Prefect's clients take for final.
    "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",
}
OWN_MAX_RETRIES = 3  # nobody starts a command's own server again
DRAIN_TIMEOUT_S = 10.0


def set_environment(console: bool) -> None:
    """Settings that Prefect reads when it is imported; `console` shows its own log lines.

    Raises ValueError, one sentence, if no client can be made with the proxies it names.
    """
    apply_defaults()
    refuse_unusable_proxies()
    for name, value in PATIENT.items():
        os.environ.setdefault(name, value)
    if SERVER_AUTH in os.environ:  # a server of ours is also talked to from here
        os.environ.setdefault(CLIENT_AUTH, os.environ[SERVER_AUTH])
    if not console:  # the terminal is the display's; the UI gets every line all the same
        os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"


def refuse_unusable_proxies() -> None:
    """Raise ValueError, one sentence, for what Prefect's client (httpx) cannot read at all."""
    import httpx

    try:
        httpx.Client().close()
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise ValueError(
            f"the proxies of the environment are of no use to Prefect's client ({error}); correct "
            "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY or NO_PROXY, or their spellings in small letters"
        ) from error


@contextmanager
def prefect_for(
    store: Place, console: bool, meanwhile: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Flows called inside talk to the user's server, or to one of their own.

    `meanwhile`: what to do while their own starts, which takes seconds.

    Raises ServerEnded, one sentence, if it is gone for longer than a restart takes;
    KeyboardInterrupt, one sentence, if the flow was cancelled.
    """
    set_environment(console)
    from prefect.exceptions import CancelledRun

    with connected_to_server(store, meanwhile):
        try:
            yield
        except CancelledRun as end:
            raise KeyboardInterrupt(str(end)) from end


@contextmanager
def connected_to_server(store: Place, meanwhile: Callable[[], None]) -> Iterator[None]:
    """The user's server, that of `perpo serve` for the store, or one for this block."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    served = find_served(store)
    address = PREFECT_API_URL.value() or served
    if address is None:
        with own_server(store, meanwhile):
            yield
        return
    with temporary_settings(build_settings(store, address, served)):
        check_access(address)
        with explaining_silence(f"Prefect's server at {address}", "see to it"):
            yield


def build_settings(store: Place, address: str, served: str | None) -> dict[Any, Any]:
    """What a command needs to report to a server beyond what the user has set.

    The password of `perpo serve` is found beside its database by the user whose it is.
    """
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY as HEARTBEAT

    settings: dict[Any, Any] = {}
    if not PREFECT_API_URL.value():
        settings |= {PREFECT_API_URL: address, HEARTBEAT: HEARTBEAT_S}
    if address == served and not PREFECT_API_AUTH_STRING.value():
        settings[PREFECT_API_AUTH_STRING] = load_auth(find_folder(store) / HOME)
    return settings


@contextmanager
def explaining_silence(server: str, advice: str) -> Iterator[None]:
    """Raise ServerEnded, one sentence, where the server is gone for longer than a restart takes."""
    import httpx

    try:
        yield
    except httpx.TransportError as error:
        raise ServerEnded(
            f"{server} does not answer ({explain(error)}); {advice} and give the same command "
            "again: what is finished is reused"
        ) from error


@contextmanager
def own_server(store: Place, meanwhile: Callable[[], None]) -> Iterator[None]:
    """A server for this block, and a password for as long."""
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_API_URL,
        PREFECT_CLIENT_MAX_RETRIES,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        temporary_settings,
    )

    auth = find_own_auth() or build_auth()
    with start_server(find_folder(store) / HOME, auth=auth) as server:
        import flows.recipes.refresh  # noqa: F401  # while the server starts
        import perpo_core.report  # noqa: F401

        meanwhile()
        server.wait()
        settings = {
            PREFECT_API_URL: server.url,
            PREFECT_API_AUTH_STRING: auth,
            PREFECT_CLIENT_MAX_RETRIES: OWN_MAX_RETRIES,
            # It costs a second a run, and this server ends with the run it would watch.
            PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        }
        advice = f"look into its log, {server.log_path},"
        with (
            temporary_settings(settings),
            explaining_silence("the Prefect server of this command", advice),
            sending_the_rest(server),
        ):
            yield


def check_access(address: str) -> None:
    """Raise ValueError, one sentence, if nobody answers there or whoever asks here is refused."""
    import httpx
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        try:
            client.hello()
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise ValueError(
                f"no Prefect server answers at {address} ({explain(error)}); start it, or correct "
                "PREFECT_API_URL, such as http://127.0.0.1:4200/api"
            ) from error
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.UNAUTHORIZED:
                raise ValueError(
                    f"what answers at {address} is no Prefect server, or is ill "
                    f"({error.response.status_code}); correct PREFECT_API_URL, such as "
                    "http://127.0.0.1:4200/api"
                ) from error
            raise ValueError(
                f"the Prefect server {address} refuses {CLIENT_AUTH} as it is here (401): set it "
                f"to the user:password of the server's {SERVER_AUTH}, or to what `perpo serve` "
                f"keeps in STORE/{HOME}/{PASSWORD_FILE}"
            ) from error


@contextmanager
def sending_the_rest(server: Server) -> Iterator[None]:
    """Send what waits in this process, log lines and events, before its server ends."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    try:
        yield
    finally:
        if server.process.poll() is None:
            APILogWorker.drain_all(timeout=DRAIN_TIMEOUT_S)
            EventsWorker.drain_all(timeout=DRAIN_TIMEOUT_S)
