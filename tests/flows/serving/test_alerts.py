"""Messages about crashed, failed and late runs reach a webhook once it is filled in, not before."""

from __future__ import annotations

import json
import queue
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.runs.home import HOME
from flows.serving.alerts import BLOCK, ENDED, OVERDUE, name_alert
from tests.flows.api import wait_until
from tests.flows.served import Served, read_command, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
LATE_S = 10.0  # the least that Prefect takes
WITHIN_S = 75.0
SECRET = "s3cr3t-of-the-webhook"


class Inbox(HTTPServer):
    """Keeps what is posted to it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.messages: queue.Queue[str] = queue.Queue()
        self.url = f"http://127.0.0.1:{self.server_port}/{SECRET}"
        self.status = 200


class _Handler(BaseHTTPRequestHandler):
    server: Inbox

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == f"/{SECRET}"
        self.send_response(self.server.status)
        self.end_headers()
        self.server.messages.put(json.loads(body)["text"])

    def log_message(self, *arguments: Any) -> None:
        """Quiet."""


def wait_for_message(inbox: Inbox, run: str) -> str:
    """The first message about a run; Prefect may tell of the end of another one twice."""
    while run not in (said := inbox.messages.get(timeout=WITHIN_S)):
        continue
    return said


@contextmanager
def listening() -> Iterator[Inbox]:
    with Inbox() as inbox:
        thread = threading.Thread(target=inbox.serve_forever)
        thread.start()
        try:
            yield inbox
        finally:
            inbox.shutdown()
            thread.join()


def find_alerts(served: Served) -> list[dict[str, Any]]:
    found = served.call("POST", "automations/filter", {})
    names = {name_alert(what) for what in (*ENDED, OVERDUE)}
    return [one for one in found if one["name"] in names]


def fill_in(served: Served, url: str) -> None:
    """What a person does in the UI: the block's secret, then the three switches."""
    path = f"block_types/slug/custom-webhook/block_documents/name/{BLOCK}"
    block = served.call("GET", path)
    assert block["data"]["secrets"] == {"url": "*" * 8}, "a secret that the UI does not show"
    data = {"data": {"secrets": {"url": url}}, "merge_existing_data": True}
    served.call("PATCH", f"block_documents/{block['id']}", data)
    for alert in find_alerts(served):
        assert not alert["enabled"]
        served.call("PATCH", f"automations/{alert['id']}", {"enabled": True})


def kill_run(served: Served) -> None:
    """kill -9 of the process of the run that the toy child belongs to.

    What a supervisor forks has its command line until it becomes the child.
    """
    named = {
        pid
        for pid in served.find_children()
        if "perpo_core.process.supervisor" in read_command(pid)
    }
    [parent] = {psutil.Process(pid).ppid() for pid in named} - named
    psutil.Process(parent).kill()


def test_crashed_failed_and_late_runs_are_told_of(tmp_path: Path) -> None:
    wish = tmp_path / "break-train"
    with listening() as inbox, serving(tmp_path / "store", late_s=LATE_S) as served:
        assert len(find_alerts(served)) == 3
        wish.write_text("input")
        served.wait_for(served.start("refresh/on-demand"), "Failed")
        assert inbox.messages.empty(), "nothing is sent before someone asks for it"
        fill_in(served, inbox.url)

        run = served.start("refresh/on-demand")
        said = wait_for_message(inbox, run)
        assert said.startswith("default ") and " of on-demand (Failed)\n" in said
        assert "toy train was told to fail" in said

        wish.write_text("hold")
        run = served.start("refresh/on-demand")
        wait_until(served.find_children, 90)
        kill_run(served)
        assert " of on-demand (Crashed)\n" in wait_for_message(inbox, run)
        wait_until(lambda: not served.find_children(), 20)

        inbox.status = 404  # an error, too, is told of without the address
        served.call("PATCH", "work_pools/perpo", {"is_paused": True})
        run = served.start("refresh/on-demand")
        assert " of on-demand (did not start)\n" in wait_for_message(inbox, run)

        served.process.send_signal(signal.SIGTERM)
        served.process.communicate(timeout=30)
    for log in (tmp_path / "store" / HOME).glob("*.log"):
        assert SECRET not in log.read_text(), log
