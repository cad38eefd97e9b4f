"""`perpo serve` with its real stages on few data, as a person sees it: the README's pictures.

One story: the deployments, the form, a night, a training that is killed until it fails, Retry, and
the question whether the policy is promoted. PERPO_PICTURES=docs takes the pictures anew.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest

from flows.runs.records import load_records
from perpo_core.promotion.pointer import load_promoted
from perpo_core.store.store import Store
from schemas.run import RunRecord
from tests.flows.api import wait_until
from tests.flows.chrome import MAX_PICTURE_BYTES, Page, browsing, find_browser
from tests.flows.served import Served, serving, wait_for_question

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed"),
]
HEIGHT = 1160  # of the window
RUN_TIMEOUT_S = 500.0
SETTLE_S = 8.0  # a graph of minutes is drawn late where the machine is busy
TRAINER = "perpo_core.stages.train.child"
# A few dozen prompts cannot tell a gain from chance, so that nobody is asked; here the gates pass.
LENIENT = [
    "promote.approval=true",
    "promote.min_gain.grounding={}",
    "promote.max_loss.grounding.greedy_reward=0.2",
    "promote.max_loss.ocr.greedy_reward=0.2",
    "promote.max_loss.counting.greedy_reward=0.2",
]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with (
        TemporaryDirectory(prefix="perpo-") as folder,  # a short name: the pictures show it
        serving(Path(folder) / "store", small=True) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def page(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("profile"), 1440, HEIGHT) as opened:
        opened.log_in(served.url, served.auth or "")
        yield opened


def photograph(page: Page, name: str, height: int) -> None:
    folder = os.environ.get("PERPO_PICTURES")
    if folder is None:
        return
    path = Path(folder) / name
    page.photograph(path, height, SETTLE_S)
    assert path.stat().st_size < MAX_PICTURE_BYTES


def find_record(served: Served, run: str) -> RunRecord:
    """The newest record of a flow run."""
    records = load_records(Store(served.store))
    return [record for record in records if record.flow_run_id == run][-1]


def find_artifact(served: Served, run: str, key: str) -> dict[str, Any]:
    body = {"flow_runs": {"id": {"any_": [run]}}, "sort": "CREATED_DESC"}
    found = served.call("POST", "artifacts/filter", body)
    return next(artifact for artifact in found if artifact["key"] == key)


def list_trainers(served: Served) -> list[psutil.Process]:
    found = []
    for pid in served.find_processes():
        with suppress(psutil.Error):
            command = psutil.Process(pid).cmdline()
            if TRAINER in command and "perpo_core.process.supervisor" not in command:
                found.append(psutil.Process(pid))
    return found


def kill_training(served: Served, run: str) -> None:
    """Kill -9 the trainer, and again after every retry, until the run has failed."""
    deadline_s = time.monotonic() + RUN_TIMEOUT_S
    while (state := served.read_run(run)["state_name"]) != "Failed":
        assert state != "Completed", "nothing was trained"
        assert time.monotonic() < deadline_s, "it never failed"
        for process in list_trainers(served):
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        time.sleep(0.5)


def test_the_deployments_with_the_nightly_schedule(served: Served, page: Page) -> None:
    wait_until(lambda: served.find_deployment("promotion/approval")["status"] == "READY")
    page.open(f"{served.url}/deployments")
    for words in ("nightly", "At 02:00 AM", "on-demand", "approval"):
        page.wait_for_text(words)
    photograph(page, "ui-deployments.png", 900)


def test_a_night_started_from_its_form(served: Served, page: Page) -> None:
    deployment = served.find_deployment("refresh/nightly")["id"]
    page.open(f"{served.url}/deployments/deployment/{deployment}/run")
    page.wait_for_text("perpo config lists all")
    photograph(page, "ui-form.png", HEIGHT)
    page.click("Submit")
    wait_until(lambda: served.list_runs("refresh/nightly"))
    [started] = served.list_runs("refresh/nightly")
    run = started["id"]
    served.wait_for(run, "Completed", RUN_TIMEOUT_S)
    page.open(f"{served.url}/runs/flow-run/{run}")
    page.wait_for("document.querySelectorAll('.run-graph__stage canvas').length")
    page.click("Artifacts")
    page.wait_for_text("perpo-run")
    photograph(page, "ui-run.png", HEIGHT)
    table = find_artifact(served, run, "perpo-run")
    page.open(f"{served.url}/artifacts/artifact/{table['id']}")
    page.wait_for_text("taken over")
    photograph(page, "ui-artifact.png", 760)


def test_a_training_that_is_killed_fails_and_retry_runs_only_what_is_missing(
    served: Served, page: Page
) -> None:
    run = served.start("refresh/on-demand", overrides=[*LENIENT, "train.beta=0.2"])
    kill_training(served, run)
    served.wait_for_exit(run)
    page.open(f"{served.url}/runs/flow-run/{run}")
    page.wait_for_text("Failed")
    page.click("Retry")
    page.wait_for_text("This will retry flow run")
    page.click("Retry")
    wait_until(lambda: served.read_run(run)["state_name"] != "Failed")
    served.wait_for(run, "Completed", RUN_TIMEOUT_S)
    made = [name for name, entry in find_record(served, run).stages.items() if not entry.reused]
    assert made == ["train", "evaluate", "promote"]
    page.open(f"{served.url}/runs/flow-run/{run}")
    page.wait_for("document.querySelectorAll('.run-graph__stage canvas').length")
    page.click("Task Runs")
    page.wait_for_text("1 Failed)")
    page.wait_for_text("Cached")
    photograph(page, "ui-retried.png", HEIGHT)


def test_a_person_approves(served: Served, page: Page) -> None:
    question = wait_for_question(served)
    page.open(f"{served.url}/runs/flow-run/{question}")
    page.click("Resume")
    page.wait_for_text("Shall it be promoted?")
    page.choose("approve")
    page.write("The boxes look right.")
    photograph(page, "ui-approval.png", HEIGHT)
    page.click("Submit")
    served.wait_for(question, "Completed")
    assert load_promoted(Store(served.store)) is not None
