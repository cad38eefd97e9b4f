"""Rows of a shard's lists and of what is in none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from perpo_core.policy.refusals import Refusals
from perpo_core.stages.materialize.lists import ListOutcome, RankedList
from schemas.arrow import DROPPED, PREFERENCES

SAMPLE_COLUMNS = ["sample_id", "prompt_id", "task", "images", "prompt", "target"]
Row = dict[str, Any]


def build_preferences(outcomes: Mapping[str, ListOutcome], samples: Mapping[str, Row]) -> pa.Table:
    """One row of PREFERENCES a list, by sample_id."""
    rows = [
        {**{name: samples[sample_id][name] for name in SAMPLE_COLUMNS}, **_build_list(o.ranked)}
        for sample_id, o in outcomes.items()
        if o.ranked is not None
    ]
    return pa.Table.from_pylist(rows, schema=PREFERENCES)


def _build_list(ranked: RankedList) -> Row:
    responses = [
        {
            "index": answer.index,
            "candidate_hash": answer.candidate_hash,
            "text": answer.text,
            "token_ids": answer.token_ids,
            "reward": answer.reward,
            "rank": rank,
            "logp": answer.logp,
        }
        for answer, rank in zip(ranked.answers, ranked.ranks, strict=True)
    ]
    return {"responses": responses, "reward_gap": ranked.gap}


def build_dropped(outcomes: Mapping[str, ListOutcome]) -> pa.Table:
    """One row of DROPPED a sample without a list and an answer in no list, sample by sample."""
    rows = []
    for sample_id, outcome in outcomes.items():
        if outcome.reason is not None:
            rows.append((sample_id, outcome.reason, outcome.detail))
        for answer in sorted(outcome.dropped, key=lambda answer: answer.index):
            rows.append((f"{sample_id}/{answer.index}", answer.reason, answer.detail))
    return _build_dropped(rows)


def build_refused(refusal_of: Refusals) -> pa.Table:
    """One row of DROPPED a sample whose prompt the policy could not take."""
    return _build_dropped([(i, each.reason, each.detail) for i, each in refusal_of.items()])


def _build_dropped(rows: list[tuple[str, str, str]]) -> pa.Table:
    named = [{"stage": "materialize", "id": i, "reason": r, "detail": d} for i, r, d in rows]
    return pa.Table.from_pylist(named, schema=DROPPED)
