"""Digit scenes: a scene is the same for ever, and splits share no digit."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from perpo_core.stages.collect.sources.digits import compose_scenes, load_digits_by_split
from schemas.base import SPLITS, Split
from schemas.sources import DIGITS_TASKS

# sha256 over pixels, prompts and truths of 40 scenes a task, seed 0. With other ones every answer
# and list in every store would have to be made anew, and results could not be compared.
GOLDEN: dict[Split, str] = {
    "train": "4fb9d0fc1e9aa11721600952b5e4819d321e2401240f5784411742f48184622f",
    "test": "f281c9af1f2bc1a8faaa23b124f5e6987c23a0cab4b3913e490f6eb6a130a8bc",
}


@pytest.mark.parametrize("split", GOLDEN)
def test_scenes_are_those_written_down(split: Split) -> None:
    digest = hashlib.sha256()
    for task in DIGITS_TASKS:
        for scene in compose_scenes(split, task, 40, seed=0):
            [question] = scene.questions
            digest.update(scene.image.tobytes())
            digest.update(f"{question.prompt} {question.target}".encode())
    assert digest.hexdigest() == GOLDEN[split]


def test_no_source_digit_is_in_two_splits() -> None:
    from sklearn.datasets import load_digits

    pools = {split: load_digits_by_split()[split][0].reshape(-1, 64) for split in SPLITS}
    sizes = {split: len(pool) for split, pool in pools.items()}
    assert sizes == {"train": 1078, "selection": 134, "validation": 135, "test": 450}
    together = np.concatenate(list(pools.values()))
    known = load_digits().images.reshape(-1, 64) / 16.0
    assert sorted(map(bytes, together)) == sorted(map(bytes, known)), "each of them once"
