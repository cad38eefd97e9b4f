"""What a person sees of `make serve`: its pages in a real browser, and the Retry button at work.

On toy stages; tests/flows/serving/test_ui_real.py takes the README's pictures on real ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flows.runs.records import load_record
from perpo_core.promotion.approvals import load_approvals
from perpo_core.promotion.pointer import load_promoted
from perpo_core.store.store import Store
from schemas.base import STAGES
from tests.flows.api import wait_until
from tests.flows.chrome import Page, browsing, find_browser
from tests.flows.served import Served, serving, wait_for_question

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.timeout(400),
    pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed"),
]
HEIGHT = 1160  # of the window
LINK = "[...document.links].map(each => each.href).find(each => each.endsWith('report.html'))"
PAUSE_S = 1.0  # long enough for every stage to have a bar of its own in the graph


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served") / "store", PAUSE_S) as running:
        yield running


@pytest.fixture(scope="module")
def page(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("profile"), 1440, HEIGHT) as opened:
        opened.log_in(served.url, served.auth or "")
        yield opened


def read_task_states(served: Served, run: str) -> dict[str, list[str]]:
    """The states of the run's task runs, by the stage they are of, oldest first."""
    found: dict[str, list[str]] = {}
    body = {"flow_runs": {"id": {"any_": [run]}}, "sort": "EXPECTED_START_TIME_ASC"}
    for task in served.call("POST", "task_runs/filter", body):
        found.setdefault(task["name"].split()[0], []).append(task["state_name"])
    return found


def find_artifact(served: Served, run: str, key: str) -> str:
    """The id of the run's artifact of that key; fails unless every stage that has one made it."""
    body = {"flow_runs": {"id": {"any_": [run]}}}
    by_key = {found["key"]: found["id"] for found in served.call("POST", "artifacts/filter", body)}
    wanted = {"perpo-metrics", "perpo-loss", "perpo-gates", "perpo-lists", "perpo-run"}
    assert wanted <= by_key.keys()
    return str(by_key[key])


def test_the_deployments_and_their_form(served: Served, page: Page) -> None:
    wait_until(lambda: served.find_deployment("train/stage")["status"] == "READY")
    page.open(f"{served.url}/deployments")
    for words in ("nightly", "At 02:00 AM", "on-demand", *STAGES[:-1], "11 Deployments"):
        page.wait_for_text(words)  # ten a page: the last stage, promote, is on the next
    deployment = served.find_deployment("train/stage")["id"]
    page.open(f"{served.url}/deployments/deployment/{deployment}/run")
    page.wait_for_text("A run id, or latest; perpo runs lists them.")
    page.wait_for_text("Make the stage anew even where the store has what it would make.")


def test_a_run_started_from_the_form_has_its_graph_and_artifacts(
    served: Served, page: Page
) -> None:
    deployment = served.find_deployment("refresh/on-demand")["id"]
    page.open(f"{served.url}/deployments/deployment/{deployment}/run")
    page.wait_for_text("perpo config lists all")
    assert served.list_runs("refresh/on-demand") == []
    page.click("Submit")
    wait_until(lambda: served.list_runs("refresh/on-demand"))
    [started] = served.list_runs("refresh/on-demand")
    run = started["id"]
    name = served.wait_for(run, "Completed")["name"]
    page.open(f"{served.url}/runs/flow-run/{run}")
    page.wait_for_text(name)
    page.wait_for("document.querySelectorAll('.run-graph__stage canvas').length")
    page.click("Artifacts")
    page.wait_for_text("perpo-report")
    page.open(f"{served.url}/artifacts/artifact/{find_artifact(served, run, 'perpo-metrics')}")
    page.wait_for_text("accuracy at IoU 0.5")
    page.wait_for_text("+0.0500 to +0.1500")
    page.open(f"{served.url}/artifacts/artifact/{find_artifact(served, run, 'perpo-run')}")
    page.wait_for_text("taken over")
    page.open(page.wait_for(LINK))
    page.wait_for_text("Base against trained policy on the same held-out test prompts")


def test_retry_runs_the_failed_stage_and_what_follows(served: Served, page: Page) -> None:
    wish = served.store.parent / "break-train"
    wish.write_text("input")
    run = served.start("refresh/on-demand", overrides=["train.beta=0.2"])
    served.wait_for(run, "Failed")
    served.wait_for_exit(run)
    wish.unlink()
    page.open(f"{served.url}/runs/flow-run/{run}")
    page.wait_for_text("Failed")
    page.click("Retry")
    page.wait_for_text("This will retry flow run")
    page.click("Retry")
    wait_until(lambda: served.read_run(run)["state_name"] != "Failed")
    assert served.wait_for(run, "Completed")["run_count"] == 2
    record = load_record(Store(served.store), "latest")
    made = [stage for stage, entry in record.stages.items() if not entry.reused]
    assert made == ["train", "evaluate", "promote"]
    wait_until(lambda: read_task_states(served, run).get("promote") == ["Completed"])
    states = read_task_states(served, run)
    assert states["generate"][-1] == "Cached"
    assert sorted(states["train"]) == ["Completed", "Failed"]
    page.open(f"{served.url}/runs/flow-run/{run}")
    page.wait_for("document.querySelectorAll('.run-graph__stage canvas').length")
    page.click("Task Runs")
    page.wait_for_text("1 Failed)")
    page.wait_for_text("Cached")


def test_a_person_approves_in_the_form(served: Served, page: Page) -> None:
    overrides = ["promote.approval=true", "train.beta=0.3"]
    served.wait_for(served.start("refresh/on-demand", overrides=overrides), "Completed")
    record = load_record(Store(served.store), "latest")
    question = wait_for_question(served)
    page.open(f"{served.url}/runs/flow-run/{question}")
    page.wait_for_text(f"promote {record.run_id}?")
    page.click("Resume")
    page.wait_for_text("Shall it be promoted?")
    page.wait_for_text("accuracy at IoU 0.5")
    assert load_promoted(Store(served.store)) is None
    page.choose("approve")
    page.write("boxes look right")
    page.click("Submit")
    served.wait_for(question, "Completed")
    pointer = load_promoted(Store(served.store))
    assert pointer is not None and pointer.checkpoint_key == record.stages["train"].key
    answers = [(line.answer, line.comment) for line in load_approvals(Store(served.store))]
    assert answers == [("waiting", ""), ("approved", "boxes look right")]
