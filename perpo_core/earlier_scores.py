"""Scores of earlier sets, by sample and answer.

A score is taken over from a set that judged in the same way (scoring digest) and has an answer of
one of the policies. Newest sets first; a set is opened when the newer ones left something wanting,
by its sample ids alone, and its rows are read only after all its files have been verified.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

from perpo_core.row_index import RowIndex, read_distinct
from perpo_core.stage import StageContext
from perpo_core.store import DamagedArtifact
from schemas.artifact import ScoredSet

Pair = tuple[str, str]
"""sample_id and candidate_hash."""


class EarlierSet:
    """One scored set, opened when something is looked for."""

    def __init__(self, context: StageContext, scores: ScoredSet) -> None:
        self._context, self._scores = context, scores

    @cached_property
    def _index(self) -> RowIndex:
        paths, log = self._context.store.paths(self._scores), self._context.log
        if not self._is_here:
            return RowIndex("sample_id", {})
        rows = ((row[0], path) for path in paths for row in read_distinct(path, ["sample_id"], log))
        return RowIndex("sample_id", dict(rows))

    @cached_property
    def _is_here(self) -> bool:
        """Whether its files can be opened; of a store at an address that includes verifying."""
        return not self._context.store.is_remote or self._is_sound

    @cached_property
    def _is_sound(self) -> bool:
        try:
            self._context.store.verify(self._scores)
        except DamagedArtifact as damage:
            self._context.log(f"{damage}; nothing is taken from it")
            return False
        return True

    def find_samples(self, sample_ids: Collection[str]) -> set[str]:
        """Those of the samples that it has scores of."""
        known = self._index.file_of.keys() & set(sample_ids)
        return known if known and self._is_sound else set()

    def read(self, sample_ids: Iterable[str]) -> list[dict[str, Any]]:
        """The rows it has of these samples."""
        known = sorted(self._index.file_of.keys() & set(sample_ids))
        return self._index.take(known).to_pylist() if known and self._is_sound else []


class EarlierScores:
    """What earlier sets say of answers; nothing under force."""

    def __init__(
        self, context: StageContext, key: str, scoring_digest: str, policies: Sequence[str]
    ) -> None:
        self._sets = (
            [] if context.force else list(_list_sets(context, key, scoring_digest, policies))
        )

    def find(self, pairs: Sequence[Pair]) -> dict[Pair, dict[str, Any]]:
        """Of these pairs, the rows of SCORES that there are; the newest of several."""
        found: dict[Pair, dict[str, Any]] = {}
        wanting = set(pairs)
        for earlier in self._sets:
            if not wanting:
                break
            for row in earlier.read(sample_id for sample_id, _ in wanting):
                pair = row["sample_id"], row["candidate_hash"]
                if pair in wanting:
                    found[pair] = row
            wanting -= found.keys()
        return found

    def find_samples(self, sample_ids: Collection[str]) -> set[str]:
        """Those of the samples that any earlier set scored; no row is read."""
        wanting = set(sample_ids)
        for earlier in self._sets:
            if not wanting:
                break
            wanting -= earlier.find_samples(wanting)
        return set(sample_ids) - wanting


def _list_sets(
    context: StageContext, key: str, scoring_digest: str, policies: Sequence[str]
) -> Iterator[EarlierSet]:
    """The sets to look into, newest first; not the one that is being made."""
    for scores in context.store.list_committed("scores"):
        if (
            isinstance(scores, ScoredSet)
            and scores.scoring_digest == scoring_digest
            and not set(scores.policy_digests).isdisjoint(policies)
            and scores.key != key
        ):
            yield EarlierSet(context, scores)
