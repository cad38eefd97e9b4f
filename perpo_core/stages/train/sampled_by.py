"""Whose answers the lists hold, which their candidate hashes tell without any further record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from perpo_core.store.keys import compute_candidate_hash
from schemas.run import PolicyRef


def check_sampled_by(policy: PolicyRef, lists: Sequence[Path]) -> None:
    """Raise ValueError unless every answer of every list was sampled from this policy.

    A part at a time; hashing a million answers takes seconds.
    """
    others = num_lists = 0
    for part in lists:
        rows = pq.read_table(part, columns=["prompt_id", "responses"]).to_pylist()
        others += sum(_is_of_another(policy.digest, row) for row in rows)
        num_lists += len(rows)
    if others:
        raise ValueError(
            f"{lists[0].parent}: {others} of {num_lists} lists hold answers of another "
            f"policy than {policy.digest[:12]}, so that train.reference_logps = sampled would "
            "take another policy's log-probabilities for the reference's; set it to computed, or "
            "generate.max_policy_age = 0"
        )


def _is_of_another(policy_digest: str, row: dict[str, Any]) -> bool:
    return any(
        answer["candidate_hash"]
        != compute_candidate_hash(policy_digest, row["prompt_id"], answer["token_ids"])
        for answer in row["responses"]
    )
