"""Where the rounds of a configuration begin.

With policy.model = "promoted" that is the policy promoted when the first round began. The rounds
move the pointer themselves, so that the same command finds it elsewhere: where what is promoted now
came out of rounds of this name, they began where the first of those did. Run records tell, and
nothing else is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from perpo_core.policy.resolve import locate_policy, resolve_policy
from perpo_core.rounds.chain import PROMOTED, read_number
from perpo_core.store.store import DamagedArtifact, Store
from schemas.artifact import Checkpoint
from schemas.config import RefreshConfig
from schemas.run import PolicyRef, RunRecord


def find_start(store: Store, config: RefreshConfig, records: Sequence[RunRecord]) -> PolicyRef:
    """The policy that the first round begins with; `records` are the runs of the store.

    Raises ValueError, one sentence, where there is none.
    """
    named = resolve_policy(config.policy, store)
    if config.policy.model != PROMOTED:
        return named
    first = find_first_round(store, config.name, named.digest, records)
    return named if first is None else _locate_start(store, config, first)


def find_first_round(
    store: Store, name: str, policy_digest: str, records: Sequence[RunRecord]
) -> RunRecord | None:
    """The first round of those that led to a policy; None if it is not of rounds of this name."""
    made: dict[tuple[int, str], RunRecord] = {}
    for record in records:  # the newest says the last word
        number, trained = read_number(name, record.config.name), _load_trained(store, record)
        if number is not None and trained is not None:
            made[number, trained] = record
    numbers = [number for number, trained in made if trained == policy_digest]
    ways = (_walk_back(made, last, policy_digest) for last in sorted(numbers, reverse=True))
    return next(filter(None, ways), None)


def _walk_back(
    made: dict[tuple[int, str], RunRecord], last: int, policy_digest: str
) -> RunRecord | None:
    """The first round, by way of all those before a last one; None if one of them is missing."""
    digest, record = policy_digest, None
    for number in range(last, 0, -1):
        if (record := made.get((number, digest))) is None:
            return None
        digest = record.policy_digest
    return record


def _load_trained(store: Store, record: RunRecord) -> str | None:
    """The digest of what a run trained; None where it came to nothing, or is gone."""
    entry = record.stages.get("train")
    found = store.load(entry.kind, entry.key) if entry else None
    if not isinstance(found, Checkpoint) or entry is None or found.digest != entry.digest:
        return None
    return found.policy_digest


def _locate_start(store: Store, config: RefreshConfig, first: RunRecord) -> PolicyRef:
    folder = store.resolve(first.policy_folder)
    advice = "name the policy to begin with as policy.model"
    try:
        found = locate_policy(store.fetch_folder(folder), config.policy, store)
    except (DamagedArtifact, OSError) as damage:
        raise ValueError(f"the policy that run {first.run_id} began with is gone ({damage}); "
                         f"{advice}") from damage  # fmt: skip
    if found.digest != first.policy_digest:
        raise ValueError(
            f"the policy that run {first.run_id} began with is no longer in {folder} as it was; "
            f"{advice}"
        )
    return found
