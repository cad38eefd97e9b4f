"""What an objective asks of other sections is one sentence before any work."""

from __future__ import annotations

from typing import Any

import pytest

from perpo_core.doctor.settings import check_settings
from schemas.config import RefreshConfig


def find(level: str, **sections: Any) -> list[str]:
    findings = check_settings(RefreshConfig.model_validate(sections))
    return [finding.what for finding in findings if finding.level == level]


P3O = {"train": {"objective": "p3o"}, "lists": {"drop_duplicates": False}}


def test_p3o_as_it_should_be():
    assert find("error", **P3O) == find("warning", **P3O) == []


@pytest.mark.parametrize(("name", "value"), [("temperature", 0.7), ("top_p", 0.9)])
def test_p3o_wants_draws_of_the_policy_itself(name, value):
    [error] = find("error", **P3O, generate={name: value})
    assert error == (
        "configuration: train.objective = p3o weighs answers by the odds they were drawn at, which "
        f"are known for generate.{name} = 1 only ({value}); set it to 1, or choose another "
        "objective"
    )
    assert find("error", generate={name: value}) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"generate": {"max_policy_age": 2}}, "generate.max_policy_age = 2 and train.objective ="),
        ({"lists": {}}, "set lists.drop_duplicates = false and lists.list_size = 16"),
        ({"generate": {"num_candidates": 20}}, "lists.list_size = 20"),
        ({"train": {"objective": "p3o", "kl_weight": 0.1}}, "set train.reference = base"),
    ],
)
def test_p3o_says_what_it_can_only_make_do_with(changes, words):
    [warning] = find("warning", **(P3O | changes))
    assert words in warning
    assert find("error", **(P3O | changes)) == []


TWO = {"ocr": {"reward": {"edit_similarity": 1.0, "cer": 0.0}}}
ROSEPO = {"objective": "rosepo"}
COLUMN = ROSEPO | {"smoothing": "column", "smoothing_column": "cer"}


@pytest.mark.parametrize(
    ("train", "score"),
    [
        (ROSEPO, TWO),
        (ROSEPO | {"smoothing_slope": 3.0}, {}),
        (COLUMN, TWO),
        (COLUMN | {"objective": "dpo"}, {}),
    ],
)
def test_smoothing_that_can_be_had(train, score):
    assert find("error", train=train, score=score) == []


@pytest.mark.parametrize(
    ("train", "score", "sentence"),
    [
        (
            ROSEPO,
            {"ocr": {"reward": {"edit_similarity": 1.0}}},
            "configuration: train.objective = rosepo fits its smoothing to second rewards, and no "
            "task in [score] has one; give a task of [score] another second reward (a weight of 0 "
            "adds nothing to the total), or set train.smoothing_slope",
        ),
        (
            COLUMN,
            {},
            "configuration: train.smoothing_column = cer is no reward of any task in [score]; name "
            "it there, where a weight of 0 adds nothing to the total",
        ),
    ],
)
def test_smoothing_that_cannot(train, score, sentence):
    assert find("error", train=train, score=score) == [sentence]
