"""promote.approval at `perpo serve`: who is asked, what an answer does, and what it never does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.commands.cli import app
from flows.recipes.approval import DEPLOYMENT
from flows.runs.records import load_record, load_records
from perpo_core.promotion.approvals import approve, find_approval
from perpo_core.promotion.pointer import load_history, load_promoted
from perpo_core.store.store import Store
from schemas.artifact import Promotion
from schemas.run import RunRecord
from tests.flows.api import wait_until
from tests.flows.served import Served, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
ASKS = "promote.approval=true"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("approval") / "store") as running:
        yield running


def list_questions(served: Served, record: RunRecord) -> list[dict[str, Any]]:
    deployment = served.find_deployment(DEPLOYMENT)["id"]
    body = {"deployments": {"id": {"any_": [deployment]}}}
    found = served.call("POST", "flow_runs/filter", body)
    return [run for run in found if run["name"] == f"promote {record.run_id}?"]


def find_question(served: Served, record: RunRecord) -> str:
    """The id of the run that asks about another run, once it waits."""
    wait_until(
        lambda: [run["state_name"] for run in list_questions(served, record)] == ["Suspended"]
    )
    return str(list_questions(served, record)[0]["id"])


def refresh(served: Served, beta: float) -> RunRecord:
    """A refresh whose gates pass and that asks; a decision of its own for every beta."""
    run = served.start("refresh/on-demand", overrides=[ASKS, f"train.beta={beta}"])
    served.wait_for(run, "Completed")
    return next(r for r in load_records(Store(served.store)) if r.flow_run_id == run)


def resume(served: Served, question: str, **answer: str) -> dict[str, Any]:
    """What pressing Resume and filling in the form does."""
    found: dict[str, Any] = served.call(
        "POST", f"flow_runs/{question}/resume", {"run_input": answer}
    )
    return found


def read_answer(served: Served, record: RunRecord) -> tuple[str, str]:
    store = Store(served.store)
    promotion = store.load("promotion", record.stages["promote"].key)
    assert isinstance(promotion, Promotion)
    approval = find_approval(store, promotion)
    assert approval is not None
    return approval.answer, approval.comment


def test_a_rejection_moves_nothing_and_is_kept_with_its_reason(served: Served) -> None:
    record = refresh(served, 0.2)
    question = find_question(served, record)
    before = load_promoted(Store(served.store))
    assert resume(served, question)["status"] == "REJECT", "without an answer it goes on waiting"
    assert served.read_run(question)["state_name"] == "Suspended"
    assert resume(served, question, decision="reject", comment="too few")["status"] == "ACCEPT"
    state = served.wait_for(question, "Completed")["state"]
    assert state["message"].startswith(f"the policy of {record.run_id} is not promoted")
    assert load_promoted(Store(served.store)) == before
    assert read_answer(served, record) == ("rejected", "too few")
    shown = CliRunner().invoke(app, ["show", record.run_id, "--store", str(served.store)])
    assert "a person rejected it (too few)" in shown.stdout


def test_nights_go_on_while_one_waits_and_one_decision_is_one_question(served: Served) -> None:
    nights = []
    for _ in range(2):
        run = served.start("refresh/nightly", overrides=[ASKS, "policy.model=builtin"])
        served.wait_for(run, "Completed")
        nights.append(next(r for r in load_records(Store(served.store)) if r.flow_run_id == run))
        find_question(served, nights[0])
    assert list_questions(served, nights[1]) == []
    slot = served.call("GET", "v2/concurrency_limits/perpo-gpu")
    assert slot["active_slots"] == 0


def test_perpo_approve_ends_the_question(served: Served) -> None:
    record = refresh(served, 0.3)
    question = find_question(served, record)
    done = CliRunner().invoke(app, ["approve", record.run_id, "--store", str(served.store)])
    assert done.exit_code == 0, done.output
    assert served.read_run(question)["state"]["message"] == "Answered with `perpo approve`."
    assert served.read_run(question)["state_name"] == "Completed"
    pointer = load_promoted(Store(served.store))
    assert pointer is not None and pointer.checkpoint_key == record.stages["train"].key


def test_an_answer_after_another_changes_nothing_and_says_so(served: Served) -> None:
    record = refresh(served, 0.4)
    question = find_question(served, record)
    approve(Store(served.store), record)
    history = load_history(Store(served.store))
    resume(served, question, decision="reject")
    state = served.wait_for(question, "Failed")["state"]
    assert f"run {record.run_id} was approved meanwhile, and that stands" in state["message"]
    assert load_history(Store(served.store)) == history
    assert read_answer(served, record)[0] == "approved"


def test_a_retry_without_an_answer_asks_again(served: Served) -> None:
    record = refresh(served, 0.5)
    question = find_question(served, record)
    scheduled = {"type": "SCHEDULED", "name": "AwaitingRetry"}
    for times in (1, 2):
        served.wait_for_exit(question, times)
        served.call("POST", f"flow_runs/{question}/set_state", {"state": {"type": "CANCELLED"}})
        served.call("POST", f"flow_runs/{question}/set_state", {"state": scheduled})
        served.wait_for(question, "Suspended")
    served.wait_for_exit(question, 3)
    assert served.list_errors(question) == []
    assert served.read_run(question)["state_name"] == "Suspended"
    resume(served, question, decision="approve")
    served.wait_for(question, "Completed")
    assert read_answer(served, record)[0] == "approved"


def test_the_stage_deployment_of_promote_asks_too(served: Served) -> None:
    record = refresh(served, 0.6)
    find_question(served, record)
    stage = served.start("promote/stage", run=record.run_id, force=True)
    served.wait_for(stage, "Completed")
    again = load_record(Store(served.store), "latest")
    assert again.flow_run_id == stage and again.run_id != record.run_id
    assert find_question(served, again) != find_question(served, record)
