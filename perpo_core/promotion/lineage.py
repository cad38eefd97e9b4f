"""How old a policy is: the promotions between it and the policy that samples now.

A promotion appends to the lineage of the policy that was promoted until then; a roll-back returns
to the lineage that its policy had. What was rolled back is therefore no ancestor of what is
promoted afterwards. The policy that the first promotion replaced is the oldest of all.
"""

from __future__ import annotations

from collections.abc import Sequence

from perpo_core.promotion.pointer import Pointer, load_history
from perpo_core.store.store import Store
from schemas.artifact import Checkpoint


def find_older_policies(store: Store, policy_digest: str, max_age: int) -> list[str]:
    """Digests of the policies at most `max_age` promotions older than this one, newest first.

    [] for a policy that was never promoted: nothing says what is older than it.
    """
    if max_age == 0:
        return []
    history = load_history(store)
    lineage = compute_lineages(history, _find_start(store, history)).get(policy_digest, [])
    return lineage[:-1][::-1][:max_age]


def compute_lineages(history: Sequence[Pointer], start: str | None) -> dict[str, list[str]]:
    """Policy -> the policies that led to it, oldest first, itself last.

    >>> compute_lineages([], "a")
    {'a': ['a']}
    """
    current = [start] if start else []
    lineages = dict.fromkeys(current, current)
    for entry in history:
        digest = entry.policy_digest
        if entry.rolled_back and digest in lineages:
            current = lineages[digest]
        else:
            current = [*(older for older in current if older != digest), digest]
        lineages[digest] = current
    return lineages


def _find_start(store: Store, history: Sequence[Pointer]) -> str | None:
    """The policy that the first promotion replaced; None if its checkpoint is gone."""
    keys = [entry.checkpoint_key for entry in history if entry.checkpoint_key is not None]
    first = store.load("checkpoint", keys[0]) if keys else None
    return first.base_policy_digest if isinstance(first, Checkpoint) else None
