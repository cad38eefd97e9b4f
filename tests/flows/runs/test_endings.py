"""How a run's end is described, also where Prefect's server ended first."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from flows.runs.endings import describe_ending
from flows.serving.server import start_server


def test_a_run_that_is_ended_after_its_server_is_still_described(tmp_path: Path) -> None:
    from prefect import flow
    from prefect.exceptions import TerminationSignal
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    said: list[tuple[str, str]] = []

    with start_server(tmp_path) as server:

        @flow
        def work() -> None:
            assert server.process.stdin is not None
            server.process.stdin.close()  # ends the server
            server.process.wait()
            said.append(describe_ending(TerminationSignal(15)))

        server.wait()
        settings = {PREFECT_API_URL: server.url, PREFECT_CLIENT_MAX_RETRIES: 0}
        with temporary_settings(settings), pytest.raises(httpx.TransportError):
            work()
    [(status, sentence)] = said
    assert status == "failed"
    assert sentence.startswith("ended by SIGTERM")
