"""Scores of earlier sets, by sample and answer.

A score is taken over from a set that judged in the same way (scoring digest) and has an answer of
one of the policies. Newest sets first, then the finished parts of a scoring that was interrupted; a
set is opened when the newer ones left something wanting, by its sample ids alone, and its rows are
read only after all its files have been verified.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from perpo_core.perception.judging import NOT_JUDGED
from perpo_core.stages.earlier import EarlierFiles, list_earlier
from perpo_core.stages.stage import StageContext
from perpo_core.store.row_index import RowIndex, read_distinct
from schemas.arrow import SCORES
from schemas.artifact import AnyArtifact, ScoredSet

PAIR = ["sample_id", "candidate_hash"]


class EarlierSet:
    """One scored set, or a part of one, opened when something is looked for."""

    def __init__(self, context: StageContext, files: EarlierFiles) -> None:
        self._context, self._files = context, files

    @cached_property
    def _index(self) -> RowIndex:
        # At an address files must be fetched, and thereby verified, before they can be opened.
        if self._context.store.is_remote and not self._files.is_sound:
            return RowIndex("sample_id", {})
        paths, log = self._files.paths, self._context.log
        rows = ((row[0], path) for path in paths for row in read_distinct(path, ["sample_id"], log))
        return RowIndex("sample_id", dict(rows))

    def find_samples(self, sample_ids: Collection[str]) -> set[str]:
        """Those of the samples that it has scores of."""
        known = self._index.file_of.keys() & set(sample_ids)
        return known if known and self._files.is_sound else set()

    def read(self, sample_ids: Iterable[str]) -> pa.Table:
        """The rows it has of these samples."""
        known = sorted(self._index.file_of.keys() & set(sample_ids))
        return self._index.take(known) if known and self._files.is_sound else SCORES.empty_table()


class EarlierScores:
    """What some sets say of answers, the newest first."""

    def __init__(self, sets: Sequence[EarlierSet] = ()) -> None:
        self._sets = sets

    def find(
        self, sample_ids_N: pa.StringArray, hashes_N: pa.StringArray
    ) -> tuple[pa.Table, NDArray[np.int64]]:
        """Rows of SCORES, and which of them each pair of sample and candidate has: -1 for none.

        The newest of several.
        """
        found, place_N = SCORES.empty_table(), np.full(len(sample_ids_N), -1)
        for earlier in self._sets:
            left_K = np.flatnonzero(place_N < 0)
            if not left_K.size:
                break
            pairs_K = pa.table([sample_ids_N, hashes_N], names=PAIR).take(pa.array(left_K))
            rows = _drop_not_judged(earlier.read(pairs_K["sample_id"].unique().to_pylist()))
            if rows.num_rows:
                place_K = _match(pairs_K, rows)
                place_N[left_K] = np.where(place_K < 0, -1, place_K + found.num_rows)
                found = pa.concat_tables([found, rows])
        return found, place_N

    def find_samples(self, sample_ids: Collection[str]) -> set[str]:
        """Those of the samples that any earlier set scored; no row is read."""
        wanting = set(sample_ids)
        for earlier in self._sets:
            if not wanting:
                break
            wanting -= earlier.find_samples(wanting)
        return set(sample_ids) - wanting


def find_earlier_scores(
    context: StageContext, key: str, scoring_digest: str, policies: Sequence[str]
) -> EarlierScores:
    """All that are of use to a scoring; none under force."""
    sets = [] if context.force else list(_list_sets(context, key, scoring_digest, policies))
    return EarlierScores(sets)


def _drop_not_judged(rows: pa.Table) -> pa.Table:
    """Without answers that a reward failed on: they are asked about again."""
    failed = pc.fill_null(pc.starts_with(rows["error"], NOT_JUDGED), False)
    return rows.filter(pc.invert(failed))


def _match(pairs_K: pa.Table, rows: pa.Table) -> NDArray[np.int64]:
    """The row of every pair, -1 for none."""
    keys, known = (
        pc.binary_join_element_wise(table["sample_id"], table["candidate_hash"], " ")
        for table in (pairs_K, rows)
    )
    places = pc.index_in(keys, value_set=known)
    return pc.fill_null(places, -1).to_numpy().astype(np.int64)


def _list_sets(
    context: StageContext, key: str, scoring_digest: str, policies: Sequence[str]
) -> Iterator[EarlierSet]:
    """What to look into: sets, newest first, then what a scoring that was interrupted finished."""

    def fits(artifact: AnyArtifact) -> bool:
        return (
            isinstance(artifact, ScoredSet)
            and artifact.scoring_digest == scoring_digest
            and not set(artifact.policy_digests).isdisjoint(policies)
        )

    seen: set[Path] = set()
    for files in list_earlier(context, "scores", key, fits, {scoring_digest}):
        paths = [path for path in files.paths if path not in seen]  # sets share most of theirs
        seen.update(paths)
        yield EarlierSet(context, replace(files, paths=paths))
