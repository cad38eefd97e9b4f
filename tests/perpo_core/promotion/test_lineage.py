"""How many promotions lie between two policies, roll-backs included."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpo_core.promotion.lineage import compute_lineages, find_older_policies
from perpo_core.promotion.pointer import Pointer
from perpo_core.store.atomic import write_atomic
from perpo_core.store.keys import compute_hash
from perpo_core.store.provenance import utc_now
from perpo_core.store.store import Store
from schemas.artifact import Checkpoint, FileRef
from tests.perpo_core.small_store import common_fields

NAMES = {compute_hash(name): name for name in "abcd"}


def build_move(name: str, rolled_back: bool = False) -> Pointer:
    return Pointer(
        policy_digest=compute_hash(name), folder=name, checkpoint_key="0" * 64,
        promotion_key="1" * 64, rolled_back=rolled_back, at=utc_now(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("moves", "policy", "expected"),
    [
        ("b", "b", "ab"),
        ("bc", "c", "abc"),
        ("bc", "b", "ab"),
        ("bcB", "b", "ab"),
        ("bcBd", "d", "abd"),  # c was rolled back: no ancestor of d
        ("bcBC", "c", "abc"),
        ("bcb", "b", "acb"),  # promoted again: c lies between
    ],
)
def test_lineages(moves: str, policy: str, expected: str) -> None:
    """Capitals are roll-backs; the first promotion replaced a."""
    history = [build_move(name.lower(), rolled_back=name.isupper()) for name in moves]
    lineage = compute_lineages(history, compute_hash("a"))[compute_hash(policy)]
    assert "".join(NAMES[digest] for digest in lineage) == expected


@pytest.mark.parametrize(("max_age", "expected"), [(0, ""), (1, "c"), (2, "cb"), (9, "cb")])
def test_policies_young_enough_come_newest_first(
    tmp_path: Path, max_age: int, expected: str
) -> None:
    """The checkpoint of the first promotion is gone here, so that what it replaced is unknown."""
    history = [build_move(name) for name in "bcd"]
    lines = "".join(move.model_dump_json() + "\n" for move in history)
    write_atomic(tmp_path / "promoted" / "history.jsonl", lines.encode())
    found = find_older_policies(Store(tmp_path), compute_hash("d"), max_age)
    assert "".join(NAMES[digest] for digest in found) == expected
    assert find_older_policies(Store(tmp_path), compute_hash("never promoted"), max_age) == []


def test_what_the_first_promotion_replaced_is_the_oldest(tmp_path: Path) -> None:
    files = [FileRef(path="model/x", sha256="2" * 64, num_bytes=1)]
    checkpoint = Checkpoint(
        **common_fields("train", "checkpoint", 0, files) | {"key": "0" * 64},
        policy_digest=compute_hash("b"), base_policy_digest=compute_hash("a"), chosen_step=1,
        reference_difference_nats=0.0, history=[], validation=[],
    )  # fmt: skip
    store = Store(tmp_path)
    store.commit(checkpoint)
    lines = build_move("b").model_dump_json() + "\n"
    write_atomic(tmp_path / "promoted" / "history.jsonl", lines.encode())
    assert find_older_policies(store, compute_hash("b"), 3) == [compute_hash("a")]
