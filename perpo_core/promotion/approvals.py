"""A person's word on promotions, where promote.approval asks for it.

    <store>/promoted/approvals.jsonl    every request and answer, oldest first; the last one counts

The Promotion artifact says what the gates decided. With promote.approval the pointer moves when
both are there: a promotion whose gates passed, and an approval of that very decision. Nothing waits
in between, so a run ends "waiting for approval" and the answer may come days later, from `perpo
approve` or from the UI (flows/recipes/approval.py). Left out:
several people having to agree, and who it was: whoever may write to the store may approve.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Literal

from perpo_core.promotion.pointer import (
    FOLDER,
    ChampionChanged,
    Pointer,
    apply_promotion,
    build_pointer,
    find_damage,
    is_applied,
)
from perpo_core.store.lines import add_line, load_lines
from perpo_core.store.locks import locked
from perpo_core.store.provenance import utc_now
from perpo_core.store.store import Store
from schemas.artifact import Checkpoint, Promotion
from schemas.base import Digest, Frozen
from schemas.run import RunRecord

APPROVALS = f"{FOLDER}/approvals.jsonl"
Answer = Literal["waiting", "approved", "rejected"]


class Approval(Frozen):
    """One line of approvals.jsonl."""

    answer: Answer
    promotion_key: Digest
    promotion_attempt: int
    policy_digest: Digest
    comment: str = ""
    """What the person added."""
    at: datetime


def request_approval(store: Store, promotion: Promotion, log: Callable[[str], None]) -> None:
    """Note that a promotion waits, unless its gates failed or it was answered or applied before."""
    if not promotion.promoted or is_applied(store, promotion):
        return
    if find_answer(store, promotion) is None:
        _append(store, promotion, "waiting")
    log("every gate passed; the pointer moves when a person approves (`perpo approve RUN`)")


def find_answer(store: Store, promotion: Promotion) -> Answer | None:
    """Where the approval of a promotion stands; None where none was asked for."""
    found = find_approval(store, promotion)
    return found.answer if found else None


def find_approval(store: Store, promotion: Promotion) -> Approval | None:
    """The last word on a promotion; None where none was asked for."""
    return next(
        (
            approval
            for approval in reversed(load_approvals(store))
            if approval.promotion_key == promotion.key
            and approval.promotion_attempt == promotion.attempt
        ),
        None,
    )


def approve(store: Store, run: RunRecord, comment: str = "") -> Pointer:
    """Move the pointer to what a run trained; the same again after a kill completes it.

    Raises ValueError if there is nothing to approve, if the policy is gone or damaged, or if
    another one was promoted since that it was not compared with: the decision waits again then.
    """
    promotion, checkpoint = load_answerable(store, run)
    pointer = build_pointer(store, promotion, checkpoint)
    problem = find_damage(store, pointer)
    if problem:
        raise ValueError(
            f"the policy of run {run.run_id} cannot be promoted: {problem}; run it again with "
            f"`perpo rerun {run.run_id} --from train`"
        )
    _append(store, promotion, "approved", comment)
    try:
        apply_promotion(store, promotion, checkpoint)
    except ChampionChanged as change:
        _append(store, promotion, "waiting")
        raise ValueError(
            f"{change}; `perpo rerun {run.run_id} --from promote` compares the two and asks again"
        ) from change
    return pointer


def reject(store: Store, run: RunRecord, comment: str = "") -> None:
    """Let the pointer stay where it is; an approval later changes that.

    Raises ValueError if there is nothing to reject.
    """
    promotion, _ = load_answerable(store, run)
    _append(store, promotion, "rejected", comment)


def load_answerable(store: Store, run: RunRecord) -> tuple[Promotion, Checkpoint]:
    """The decision of a run that a person may still answer, and its checkpoint.

    Raises ValueError, one sentence, if there is none.
    """
    promotion, checkpoint = _load_decision(store, run)
    if not promotion.promoted:
        raise ValueError(
            f"the gates of run {run.run_id} did not pass; `perpo show {run.run_id}` says which"
        )
    if is_applied(store, promotion):
        raise ValueError(
            f"the policy of run {run.run_id} was promoted already; `perpo promotions` shows when, "
            "and `perpo rollback` undoes it"
        )
    if find_answer(store, promotion) is None:
        raise ValueError(
            f"run {run.run_id} did not ask for an approval; set promote.approval = true before a "
            "run that should"
        )
    return promotion, checkpoint


def _load_decision(store: Store, run: RunRecord) -> tuple[Promotion, Checkpoint]:
    entries = [run.stages.get("promote"), run.stages.get("train")]
    found = [entry and store.load(entry.kind, entry.key) for entry in entries]
    digests = [entry and entry.digest for entry in entries]
    promotion, checkpoint = found
    if not isinstance(promotion, Promotion) or not isinstance(checkpoint, Checkpoint):
        raise ValueError(
            f"the promotion of run {run.run_id} is not in {store.place}; run it again with `perpo "
            f"rerun {run.run_id} --from train`"
        )
    if [promotion.digest, checkpoint.digest] != digests:
        raise ValueError(
            f"run {run.run_id} has been made anew since and came out differently; name the run "
            "that made it anew (`perpo runs`)"
        )
    return promotion, checkpoint


def _append(store: Store, promotion: Promotion, answer: Answer, comment: str = "") -> None:
    approval = Approval(
        answer=answer,
        promotion_key=promotion.key,
        promotion_attempt=promotion.attempt,
        policy_digest=promotion.policy_digest,
        comment=comment,
        at=utc_now(),
    )
    line = approval.model_dump_json().encode() + b"\n"
    with locked(store.root / FOLDER / ".lock"):
        store.set_aside(APPROVALS)
        store.update(APPROVALS, lambda body: add_line(body, line))


def load_approvals(store: Store) -> list[Approval]:
    """Every request and answer, oldest first."""
    return load_lines(store, APPROVALS, Approval)
