"""Methods may be trained on other samples and never tested on others."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpo_core.evidence.same_test import require_same_test
from schemas.artifact import SampleSet
from tests.perpo_core.small_store import BOX, build_context, build_sample_row, commit_samples


def test_other_training_samples_are_taken_and_other_test_samples_named(tmp_path: Path) -> None:
    store = build_context(tmp_path).store

    def commit(name: str, train: list[int], test: list[int]) -> SampleSet:
        rows = [
            build_sample_row(number, "grounding", BOX, split)
            for split, numbers in (("train", train), ("test", test))
            for number in numbers
        ]
        return commit_samples(store, rows, name)

    first = commit("first", [1, 2], [10, 11, 12])
    require_same_test(store, first, commit("more", [1, 2, 3], [12, 11, 10]), "more")
    other = commit("other", [1, 2], [12, 13])
    with pytest.raises(ValueError, match=r"methods.more would .* 1 other .* 2 of the 3 that"):
        require_same_test(store, first, other, "more")
