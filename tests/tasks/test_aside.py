"""Progress and summaries never stop or hold up the work."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import httpx
import pytest

from flows.serving.server import start_server
from tasks.progress import Progress


@pytest.mark.slow
def test_a_server_that_is_away_does_not_stop_the_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One try: with Prefect's own retries each update would take minutes."""
    from prefect import flow
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    seconds: list[float] = []

    with start_server(tmp_path) as server:

        @flow
        def work() -> None:
            progress = Progress("generate")
            progress(1, 2, "prompts")
            assert server.process.stdin is not None
            server.process.stdin.close()  # ends the server
            server.process.wait()
            started_s = time.monotonic()
            progress(2, 2, "prompts")
            seconds.append(time.monotonic() - started_s)

        server.wait()
        logging.getLogger("prefect.flow_runs").addHandler(caplog.handler)  # it hands on to nobody
        settings = {PREFECT_API_URL: server.url, PREFECT_CLIENT_MAX_RETRIES: 2}  # 2 and 4 s
        # The end of the run is not told aside: that is waited for, and then raised.
        with temporary_settings(settings), pytest.raises(httpx.TransportError):
            work()
    logging.getLogger("prefect.flow_runs").removeHandler(caplog.handler)
    assert "the UI was not told the progress" in caplog.text
    assert seconds[0] < 4


@pytest.mark.usefixtures("prefect_server")
def test_a_bug_in_the_work_is_not_swallowed() -> None:
    from prefect import flow

    from tasks.aside import told_aside

    @flow
    def work() -> None:
        with told_aside("summary"):
            raise KeyError("a bug")

    with pytest.raises(KeyError):
        work()
