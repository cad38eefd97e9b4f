"""What was made of the built-in policy's answers stays; what was made of others' is made anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perpo_core.perception import judging
from perpo_core.policy.builtin_folder import BUILTIN_FOLDER
from perpo_core.policy.reading import BUILTIN_READING, TOKENIZER, find_reading
from perpo_core.stages import score
from perpo_core.store.keys import compute_hash
from schemas.config import RefreshConfig
from schemas.run import PolicyRef


def refer(folder: Path) -> PolicyRef:
    return PolicyRef(digest=compute_hash("a policy"), folder=folder)


@pytest.fixture
def other(tmp_path: Path) -> PolicyRef:
    """A policy with one more token than the built-in's."""
    tokenizer = json.loads((BUILTIN_FOLDER / TOKENIZER).read_text())
    tokenizer["model"]["vocab"]["think"] = len(tokenizer["model"]["vocab"])
    (tmp_path / TOKENIZER).write_text(json.dumps(tokenizer))
    return refer(tmp_path)


def test_the_builtin_policy_and_its_descendants_keep_their_reading(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(BUILTIN_FOLDER).save_pretrained(tmp_path)
    assert find_reading(refer(BUILTIN_FOLDER)) == find_reading(refer(tmp_path)) == BUILTIN_READING


def test_every_other_policy_is_of_the_present_reading(other: PolicyRef, tmp_path: Path) -> None:
    large, none = tmp_path / "large", tmp_path / "none"
    large.mkdir()
    (large / TOKENIZER).write_text(" " * 200_000 + "{}")
    readings = [find_reading(policy) for policy in (other, refer(large), refer(none))]
    assert readings == [judging.READING] * 3


def test_scores_of_another_reading_are_another_policys_only(
    other: PolicyRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compute() -> list[str]:
        policies = (refer(BUILTIN_FOLDER), other)
        return [score.compute_scoring_digest(RefreshConfig(), policy) for policy in policies]

    before = compute()
    monkeypatch.setattr(judging, "READING", judging.READING + 1)
    assert [a == b for a, b in zip(before, compute(), strict=True)] == [True, False]
