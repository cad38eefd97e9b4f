"""Candidates and their scores, a shard at a time: two parts of one name hold the same answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perpo_core.stages.materialize.lists import Answer
from perpo_core.store.row_reader import read_columns
from perpo_core.store.store import Store
from schemas.artifact import CandidateSet, ScoredSet
from schemas.base import Digest

CANDIDATE_COLUMNS = [
    "prompt_id", "index", "candidate_hash", "text", "token_ids", "logp", "finish_reason",
]  # fmt: skip
SCORE_COLUMNS = ["sample_id", "prompt_id", "task", "index", "candidate_hash", "reward", "error"]


@dataclass(frozen=True)
class Shard:
    """A part of the candidates with the part of the scores that belongs to it."""

    name: str
    candidates: Path
    scores: Path
    digests: tuple[Digest, Digest]
    """sha256 of the two."""


@dataclass(frozen=True)
class ScoredAnswers:
    """The scored answers of one sample."""

    sample_id: str
    prompt_id: str
    task: str
    answers: list[Answer]


def pair_shards(store: Store, candidates: CandidateSet, scores: ScoredSet) -> list[Shard]:
    """The shards in order; raises ValueError where the two sets do not have the same parts."""
    parts, scored = (
        {file.path: file for file in artifact.files if file.path.startswith("part-")}
        for artifact in (candidates, scores)
    )
    if odd := sorted(parts.keys() ^ scored.keys()):
        raise ValueError(
            f"candidates and scores do not have the same shards, {odd[0]} is in one of them only; "
            "score the candidates again"
        )
    return [
        Shard(
            name,
            store.locate_file(candidates, file),
            store.locate_file(scores, scored[name]),
            (file.sha256, scored[name].sha256),
        )
        for name, file in parts.items()
    ]


def load_scored_answers(shard: Shard) -> Iterator[ScoredAnswers]:
    """Every sample of a shard, in order of its id, with its answers.

    They are joined by (prompt_id, index) and checked by hash. Raises ValueError for a score of an
    answer that the candidates lack or have otherwise.
    """
    candidates = {
        (row["prompt_id"], row["index"]): row
        for row in read_columns(shard.candidates, CANDIDATE_COLUMNS).to_pylist()
    }
    found: dict[str, ScoredAnswers] = {}
    for score in read_columns(shard.scores, SCORE_COLUMNS).to_pylist():
        candidate = candidates.get((score["prompt_id"], score["index"]))
        sample = ScoredAnswers(score["sample_id"], score["prompt_id"], score["task"], [])
        found.setdefault(sample.sample_id, sample).answers.append(_build_answer(score, candidate))
    yield from sorted(found.values(), key=lambda each: each.sample_id)


def _build_answer(score: dict[str, Any], candidate: dict[str, Any] | None) -> Answer:
    if candidate is None:
        raise ValueError(
            f"sample {score['sample_id']} has a score for candidate {score['index']}, which the "
            "candidate shards lack; score the candidates again"
        )
    if score["candidate_hash"] != candidate["candidate_hash"]:
        raise ValueError(
            f"the score of sample {score['sample_id']}, candidate {score['index']}, is of another "
            "answer than the candidate shards hold; score the candidates again"
        )
    return Answer(
        index=candidate["index"],
        candidate_hash=candidate["candidate_hash"],
        text=candidate["text"],
        token_ids=candidate["token_ids"],
        reward=score["reward"],
        logp=candidate["logp"],
        finish_reason=candidate["finish_reason"],
        error=score["error"],
    )
