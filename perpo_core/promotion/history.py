"""The history of the promoted policy, move by move, with what the store still knows of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perpo_core.promotion.approvals import load_approvals
from perpo_core.promotion.pointer import Pointer, find_line, load_moves, load_promoted
from perpo_core.store.store import Store
from schemas.artifact import Gate, Promotion
from schemas.run import RunRecord


@dataclass(frozen=True)
class Move:
    """One move of the pointer."""

    pointer: Pointer
    run_id: str | None
    """The first run that took this decision; None if no record tells."""
    gates: list[Gate]
    """The measured ones, as far as the store still has the decision."""
    is_current: bool
    is_undone: bool
    """A later roll-back left it behind."""
    by_person: bool
    """promote.approval was on, and a person approved."""


def list_moves(store: Store, records: Sequence[RunRecord]) -> list[Move]:
    """Every move of the pointer, oldest first; `records` are the runs of the store."""
    history, current = load_moves(store), load_promoted(store)
    standing = {entry.policy_digest for entry in find_line(history)}
    approved = {
        (entry.promotion_key, entry.promotion_attempt)
        for entry in load_approvals(store)
        if entry.answer == "approved"
    }
    return [
        Move(
            pointer=pointer,
            run_id=_find_run(records, pointer),
            gates=_find_gates(store, pointer),
            is_current=pointer == current,
            is_undone=pointer.policy_digest not in standing,
            by_person=(pointer.promotion_key, pointer.promotion_attempt) in approved,
        )
        for pointer in history
    ]


def _find_run(records: Sequence[RunRecord], pointer: Pointer) -> str | None:
    """The first run with this decision and checkpoint; a forced remake has the same key."""
    for record in records:
        entry, train = record.stages.get("promote"), record.stages.get("train")
        if entry and train and (entry.key, train.key) == (
            pointer.promotion_key, pointer.checkpoint_key
        ):  # fmt: skip
            return record.run_id
    return None


def _find_gates(store: Store, pointer: Pointer) -> list[Gate]:
    if pointer.promotion_key is None or pointer.rolled_back:
        return []
    promotion = store.load("promotion", pointer.promotion_key)
    if not isinstance(promotion, Promotion) or promotion.attempt != pointer.promotion_attempt:
        return []
    return [gate for gate in promotion.gates if gate.measured is not None]
