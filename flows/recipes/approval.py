"""promote.approval in Prefect's UI: a run that pauses until a person has filled in its form.

A refresh whose gates passed ends "waiting for approval" and starts a run of the deployment
promotion/approval. That run shows what was measured and suspends: no process, no GPU slot and no
lock are held, and it may wait for months, also over restarts. Pressing Resume and filling in the
form starts a process that applies the answer. Because it is a run of its own, the refresh it is
about has ended, so that the next night comes as if nothing waited; Prefect cannot suspend a run
without a deployment anyway, such as that of `perpo refresh`.

The store alone says what was answered. Whoever answers first decides: after `perpo approve` the
question is ended, and an answer to one that was settled meanwhile changes nothing and fails with a
sentence. Where there is no such deployment nobody is asked here, and `perpo approve` remains.
"""

from __future__ import annotations

from itertools import count
from typing import Any, Literal
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterIdempotencyKey,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed
from prefect.utilities.urls import url_for
from pydantic import Field, ValidationError

from flows.recipes.answers import apply_answer
from flows.runs.links import find_report_url
from flows.runs.records import LATEST, load_record
from perpo_core.promotion.approvals import find_answer, load_answerable
from perpo_core.store.open import open_store
from perpo_core.store.store import Store
from schemas.artifact import EvalReport, Promotion
from schemas.base import PlaceText
from schemas.run import RunRecord
from tasks.question import describe_question
from tasks.summaries import publish_gates, publish_link, publish_metrics, publish_report

DEPLOYMENT = "promotion/approval"
MAX_COMMENT = 1000  # characters
PAUSE = "answer-"
MAX_INPUTS = 200


class Answer(RunInput):
    """The form behind the Resume button."""

    decision: Literal["approve", "reject"] = Field(
        description="approve: the next night starts from this policy. reject: nothing moves."
    )
    comment: str = Field(
        default="", max_length=MAX_COMMENT, description="Why, if you like; kept with the answer."
    )


@flow(flow_run_name="promote {run}?", persist_result=False)
def promotion(run: str, store: PlaceText = "store") -> State[Any]:
    """Ask a person whether the policy that a run trained is promoted, and do as they say.

    Args:
        run: The id of a run whose gates passed and that asked for an approval; `perpo runs`.
        store: The folder of artifacts and runs, or s3://bucket/prefix.
    """
    if run == LATEST:
        raise ValueError("name the run itself: which one is the latest changes while this waits")
    opened = open_store(store)
    record = load_record(opened, run)
    if not list_pauses():
        load_answerable(opened, record)
        publish_question(opened, record)
    given = ask(opened, record)  # ends this process the first time; what follows is the next one's
    return settle(opened, record, given)


def list_pauses() -> list[int]:
    """The numbers under which this flow run was suspended since it was last retried."""
    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None, "called inside the flow"
    keys = context.flow_run.empirical_policy.pause_keys or set()
    # Whoever suspends the run in the UI adds a key of another kind.
    return sorted(int(key.removeprefix(PAUSE)) for key in keys if key.startswith(PAUSE))


def ask(store: Store, record: RunRecord) -> Answer:
    """The answer; resumed or retried without one, the run is suspended again."""
    form = Answer.with_initial_data(description=describe(store, record))
    pauses = list_pauses()
    for number in count(pauses[-1] if pauses else count_forms()):
        try:
            return suspend_flow_run(wait_for_input=form, key=f"{PAUSE}{number}")
        except ValidationError:  # this pause was left without an answer: the next one asks
            continue
    raise AssertionError("count never ends")


def count_forms() -> int:
    """How many forms this flow run has shown: a retry forgets the pauses, but not these.

    A form is kept under its pause's key, which cannot be used a second time.
    """
    with get_client(sync_client=True) as client:
        kept = client.filter_flow_run_input(
            flow_run_id=UUID(flow_run.id), key_prefix=f"suspended-{PAUSE}", limit=MAX_INPUTS,
            exclude_keys=set(),
        )  # fmt: skip
    return sum(each.key.endswith("-schema") for each in kept)


def settle(store: Store, record: RunRecord, given: Answer) -> State[Any]:
    """Apply the answer; raises ValueError if the promotion was answered otherwise meanwhile."""
    decision = store.load("promotion", record.stages["promote"].key)
    standing = find_answer(store, decision) if isinstance(decision, Promotion) else None
    if standing not in ("waiting", None):
        raise ValueError(
            f"run {record.run_id} was {standing} meanwhile, and that stands; `perpo approve` and "
            "`perpo rollback` change it"
        )
    log = get_run_logger().info
    said = apply_answer(store, record, given.decision == "approve", given.comment)
    log("%s", said)
    return Completed(message=said)


def publish_question(store: Store, record: RunRecord) -> None:
    """What was measured, on the page of the run that asks."""
    evaluation, decision = load_measured(store, record)
    publish_metrics(evaluation)
    publish_gates(decision)
    if (url := find_report_url(store, record)) is not None:
        publish_report(url)


def describe(store: Store, record: RunRecord) -> str:
    """The text above the form."""
    return describe_question(record, *load_measured(store, record), find_report_url(store, record))


def load_measured(store: Store, record: RunRecord) -> tuple[EvalReport, Promotion]:
    """The evaluation and the decision; raises ValueError if they are gone."""
    entries = record.stages["evaluate"], record.stages["promote"]
    evaluation, decision = (store.load(entry.kind, entry.key) for entry in entries)
    if not isinstance(evaluation, EvalReport) or not isinstance(decision, Promotion):
        raise ValueError(
            f"what run {record.run_id} measured is no longer in {store.place}; run it again with "
            f"`perpo rerun {record.run_id} --from evaluate`"
        )
    return evaluation, decision


def ask_in_ui(store: Store, record: RunRecord) -> None:
    """Start the run that asks, once for each decision, where the server has its deployment."""
    decision = find_waiting(store, record)
    if decision is None:
        return
    with get_client(sync_client=True) as client:
        try:
            deployment = client.read_deployment_by_name(DEPLOYMENT)
        except ObjectNotFound:
            return
        asking = client.create_flow_run_from_deployment(
            deployment.id,
            parameters={"run": record.run_id, "store": str(store.place)},
            name=f"promote {record.run_id}?",
            idempotency_key=identify(decision),
        )
    publish_link(url_for(asking) or "", "perpo-approval", "Resume asks you", "Waiting for approval")


def end_question(store: Store, record: RunRecord, why: str) -> None:
    """Complete the run that still asks about a decision; none may be there."""
    decision = store.load("promotion", record.stages["promote"].key)
    assert isinstance(decision, Promotion), "it was answered a moment ago"
    with get_client(sync_client=True) as client:
        for run in _find_asking(client, identify(decision)):
            client.set_flow_run_state(run, Completed(message=why))


def _find_asking(client: SyncPrefectClient, key: str) -> list[Any]:
    asking = FlowRunFilter(
        idempotency_key=FlowRunFilterIdempotencyKey(any_=[key]),
        state=FlowRunFilterState(
            type=FlowRunFilterStateType(any_=[StateType.PAUSED, StateType.SCHEDULED])
        ),
    )
    return [run.id for run in client.read_flow_runs(flow_run_filter=asking)]


def find_waiting(store: Store, record: RunRecord) -> Promotion | None:
    """The run's decision if it waits for a person."""
    entry = record.stages.get("promote")
    decision = store.load(entry.kind, entry.key) if entry else None
    if isinstance(decision, Promotion) and find_answer(store, decision) == "waiting":
        return decision
    return None


def identify(decision: Promotion) -> str:
    """What tells this question from all others."""
    return f"approval-{decision.key}-{decision.attempt}"
