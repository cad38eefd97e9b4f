"""Whose answers the lists hold, which their candidate hashes tell without any further record."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from perpo_core.store.keys import compute_candidate_hash
from schemas.run import PolicyRef


def check_sampled_by(policy: PolicyRef, preferences_file: Path) -> None:
    """Raise ValueError unless every answer of every list was sampled from this policy.

    Images stay on disk; hashing a million answers takes seconds.
    """
    rows = pq.read_table(preferences_file, columns=["prompt_id", "responses"]).to_pylist()
    others = [
        row
        for row in rows
        if any(
            answer["candidate_hash"]
            != compute_candidate_hash(policy.digest, row["prompt_id"], answer["token_ids"])
            for answer in row["responses"]
        )
    ]
    if others:
        raise ValueError(
            f"{preferences_file}: {len(others)} of {len(rows)} lists hold answers of another "
            f"policy than {policy.digest[:12]}, so that train.reference_logps = sampled would "
            "take another policy's log-probabilities for the reference's; set it to computed, or "
            "generate.max_policy_age = 0"
        )
