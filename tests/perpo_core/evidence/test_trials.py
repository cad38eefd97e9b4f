"""Which runs a comparison asks for, and what it refuses before any of them."""

from __future__ import annotations

from typing import Any

import pytest

from perpo_core.evidence.trials import (
    check_trials,
    describe_trial,
    list_judged,
    list_sources,
    list_sweep,
)
from schemas.compare_config import CompareConfig
from schemas.config import RefreshConfig

SFT: dict[str, Any] = {"settings": {"train.objective": "sft", "train.nll_weight": 0.0}}
DPO: dict[str, Any] = {
    "settings": {"train.objective": "dpo"}, "sweep": {"train.beta": [0.1, 1.0]}
}  # fmt: skip


def build(**compare: Any) -> RefreshConfig:
    settings = {
        "methods": {"sft": SFT, "dpo": DPO},
        "sweep": {"train.learning_rate": [1e-5, 1e-4]},
        **compare,
    }  # fmt: skip
    return RefreshConfig(name="digits", compare=CompareConfig(**settings))


def test_a_method_is_tried_with_every_combination_on_validation_with_the_first_seed() -> None:
    tried = list_sweep(build(), "dpo")
    assert [dict(trial.settings) for trial in tried] == [
        {"train.learning_rate": rate, "train.beta": beta}
        for rate in (1e-5, 1e-4)
        for beta in (0.1, 1.0)
    ]  # fmt: skip
    assert {trial.config.evaluate.splits[0] for trial in tried} == {"validation"}
    assert {(trial.config.train.seed, trial.config.generate.seed) for trial in tried} == {(0, 0)}
    assert [trial.name for trial in tried] == [f"digits-dpo-sweep-{n}" for n in range(4)]
    assert tried[3].config.train.beta == 1.0 and tried[3].config.train.objective == "dpo"


def test_its_best_setting_is_judged_on_test_under_every_seed() -> None:
    chosen = {"train.learning_rate": 1e-4}
    judged = list_judged(build(seeds=3), "sft", chosen)
    assert [(t.config.train.seed, t.config.generate.seed) for t in judged] == [
        (0, 0),
        (1, 1),
        (2, 2),
    ]
    assert all(trial.config.evaluate.splits == ["test"] for trial in judged)
    assert all(trial.config.train.learning_rate == 1e-4 for trial in judged)
    assert all(trial.config.compare == CompareConfig() for trial in judged)


def test_seeds_add_to_what_the_configuration_says() -> None:
    config = build(seeds=2, vary=["train.seed"])
    config = config.model_copy(update={"train": config.train.model_copy(update={"seed": 40})})
    judged = list_judged(config, "sft", {})
    assert [(t.config.train.seed, t.config.generate.seed) for t in judged] == [(40, 0), (41, 0)]


def test_without_a_sweep_nothing_is_tried() -> None:
    assert list_sweep(build(sweep={}), "sft") == []
    assert list_sweep(build(sweep={"train.beta": [0.1]}), "sft") == []
    assert len(list_sweep(build(sweep={}), "dpo")) == 2


def test_each_source_that_differs_is_listed_once() -> None:
    assert list_sources(build()) == []
    more = {"settings": {"source.train": {"grounding": 9}}}
    config = build(methods={"sft": SFT, "more": more, "most": more}, seeds=2)
    assert [trial.method for trial in list_sources(config)] == ["more"]
    seeded = build(methods={"sft": SFT}, seeds=3, vary=["source.seed", "train.seed"])
    assert [trial.seed for trial in list_sources(seeded)] == [1, 2]


def test_a_trial_is_the_same_under_another_name_and_in_another_store() -> None:
    [first, *_] = list_judged(build(), "sft", {})
    moved = first.config.model_copy(update={"name": "other", "store": "elsewhere"})
    assert describe_trial(moved) == describe_trial(first.config)
    [other, *_] = list_judged(build(), "dpo", {})
    assert describe_trial(other.config) != describe_trial(first.config)


@pytest.mark.parametrize(
    ("compare", "said"),
    [
        ({"methods": {}}, "compare.methods is empty; say what is compared"),
        (
            {"methods": {"dpo": {"settings": {"train.objectiv": "dpo"}}}},
            'compare.methods.dpo: --set "train.objectiv="dpo"": unknown key train.objectiv',
        ),
        (
            {"methods": {"dpo": {"settings": {"policy.model": "other"}}}},
            'compare.methods.dpo: "policy.model" is the same for all methods; leave it out',
        ),
        ({"sweep": {"train.beta": [0.1, -1.0]}}, "train.beta = -1.0 is not allowed"),
        ({"sweep": {"evaluate.splits": [["test"]]}}, "is the same for all methods"),
        (
            {"methods": {"dpo": {"settings": {"evaluate.num_samples": 8}}}},
            '"evaluate.num_samples" is the same for all methods; leave it out',
        ),
        (
            {"judge_by": "grounding.greedy_reward", "sweep": {"score.counting": ["exact_match"]}},
            "score.counting makes grounding.greedy_reward another thing for some methods",
        ),
        ({"vary": ["train.beta"]}, 'compare.vary: "train.beta" is no whole number'),
        ({"vary": ["train.sed"]}, 'compare.vary: "train.sed" is no whole number'),
        ({"sweep": {"train.beta": [n / 100 + 0.01 for n in range(64)]}, "seeds": 100,
          "methods": {f"m{n}": SFT for n in range(64)}}, "more than 10,000 trials"),
        ({"resamples": 100}, "100 resamples cannot tell any of 3 comparisons from chance"),
    ],
)  # fmt: skip
def test_what_could_not_run_is_said_before_anything_runs(
    compare: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError) as caught:
        check_trials(build(**compare))
    assert said in str(caught.value)


def test_a_method_cannot_be_called_start() -> None:
    with pytest.raises(ValueError, match='no method may be called "start"'):
        CompareConfig(methods={"start": {}})
