"""What is tried is a setting that takes it, and is written as a file and --set take it."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpo_core.configuration.load import load_config, override_config
from perpo_core.tuning.ranges import (
    build_distributions,
    describe_settings,
    write_overrides,
    write_toml,
)
from schemas.config import RefreshConfig
from schemas.tune_config import TuneConfig, TunedValue, TuneRange
from tests.perpo_core.tuning.studies import build_config, run_study


def build(name: str, tried: TuneRange) -> str:
    config = RefreshConfig(tune=TuneConfig(ranges={name: tried}))
    return str(build_distributions(config)[name])


def test_a_range_is_of_the_settings_own_kind() -> None:
    assert build("train.beta", TuneRange(low=0.01, high=1, log=True)).startswith("FloatDist")
    assert build("train.lora_rank", TuneRange(low=4, high=64)).startswith("IntDist")
    assert build("train.objective", TuneRange(choices=["dpo", "perpo"])).startswith("Categorical")
    assert build("lists.min_gap.grounding", TuneRange(low=0.1, high=0.9)).startswith("FloatDist")
    assert "5e-07" in build("train.vision_learning_rate", TuneRange(low=5e-7, high=1e-5))


@pytest.mark.parametrize(
    ("name", "tried", "said"),
    [
        ("train.betta", TuneRange(low=1, high=2), "did you mean train.beta?"),
        ("train.beta", TuneRange(low=1, high=2000), "train.beta = 2000.0 is not allowed"),
        ("train.lora_rank", TuneRange(low=1.5, high=4), "a whole number >= 1"),
        ("train.objective", TuneRange(choices=["dpo", "ppo"]), '"ppo" is not allowed'),
        ("train.gradient_checkpointing", TuneRange(low=0, high=1), "write { choices = [...] }"),
        ("lists.min_gap.count", TuneRange(low=0, high=1), "did you mean lists.min_gap.counting?"),
        ("generate.temperature", TuneRange(low=0.5, high=1), "is no setting of [train] or [lists]"),
        ("source.seed", TuneRange(low=0, high=1), "is no setting of [train] or [lists]"),
        ("tune.seed", TuneRange(low=0, high=1), "is no setting of [train] or [lists]"),
        ("train", TuneRange(low=0, high=1), "train = 0.0 is not allowed"),
        ("train.beta.low", TuneRange(low=0, high=1), "train.beta is a value and has no keys"),
    ],
)
def test_what_cannot_be_tried_is_said_before_any_trial(
    name: str, tried: TuneRange, said: str
) -> None:
    with pytest.raises(ValueError) as error:
        build(name, tried)
    assert said in str(error.value)
    assert f'tune.ranges."{name}"' in str(error.value)


def test_steps_are_all_that_is_drawn(tmp_path: Path) -> None:
    ranges = {
        "train.learning_rate": TuneRange(low=2e-5, high=1e-4, step=2e-5),
        "train.lora_rank": TuneRange(low=4, high=12, step=4),
    }
    config = build_config(ranges, trials=15, startup=15, comparisons=1)
    study, standing = run_study(tmp_path, lambda settings: [0.5, 0.5], config)
    rates = {float(trial.settings["train.learning_rate"]) for trial in standing.trials}
    assert len(standing.trials) == 15
    assert sorted(rates) == pytest.approx([2e-5, 4e-5, 6e-5, 8e-5, 1e-4])
    assert {trial.settings["train.lora_rank"] for trial in study.list_trials()} == {4, 8, 12}
    with pytest.raises(ValueError, match="write a whole number for step"):
        build("train.lora_rank", TuneRange(low=4, high=8, step=0.5))


def test_nothing_to_try_is_said_with_an_example() -> None:
    with pytest.raises(ValueError, match=r"tune\.ranges is empty; say what is tried, as in"):
        build_distributions(RefreshConfig())


def test_what_is_written_is_read_back_the_same(tmp_path: Path) -> None:
    settings: dict[str, TunedValue] = {
        "train.beta": 0.1 + 0.2, "train.learning_rate": 1.2345678901234567e-05,
        "train.lora_rank": 12, "train.objective": "dpo", "train.gradient_checkpointing": True,
        "lists.min_gap.grounding": 0.3,
    }  # fmt: skip
    base = RefreshConfig(name="base")
    overridden = override_config(base, write_overrides(settings))
    assert overridden.train.beta == 0.1 + 0.2
    assert overridden.train.learning_rate == 1.2345678901234567e-05
    assert overridden.lists.min_gap == {**base.lists.min_gap, "grounding": 0.3}
    path = tmp_path / "chosen.toml"
    path.write_text('name = "base"\n' + write_toml(settings))
    assert load_config(path).train == overridden.train
    assert load_config(None, ["name=base", *write_overrides(settings)]) == overridden
    assert describe_settings({"train.beta": 0.123456, "train.objective": "dpo"}) == (
        'train.beta = 0.1235, train.objective = "dpo"'
    )


def test_overriding_a_configuration_changes_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        '[source]\nkind = "jsonl"\nfiles = ["rows.jsonl"]\n'
        "[score]\nocr = { reward = { cer = 1, wer = 1 } }\n"
        '[lists]\nmin_gap = { ocr = 0.1 }\n[tune.ranges."train.beta"]\nlow = 0.1\nhigh = 1\n'
    )
    config = load_config(path)
    assert override_config(config, []) == config
    changed = override_config(config, ["train.beta=0.5"])
    assert changed.model_copy(update={"train": config.train}) == config


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{ low = 2, high = 1 }", "low below high"),
        ("{ low = 1 }", "low below high"),
        ("{ low = 0, high = 1, log = true }", "low = 0 is not above 0"),
        ('{ choices = ["a"] }', "two or more different values"),
        ("{ choices = [1, 1] }", "two or more different values"),
        ('{ choices = ["a", "b"], low = 1 }', "choices stand alone"),
        ('{ choices = ["a", "b"], step = 1 }', "choices stand alone"),
        ("{ low = 1, high = 2, log = true, step = 0.5 }", "leave one of them out"),
        ("{ low = 1, high = 2, step = 0.3 }", "no whole number of steps of 0.3 above low"),
        ("{ low = 1, high = 2, step = 0 }", "step = 0"),
        ("{ lo = 1, high = 2 }", "did you mean tune.ranges.train.beta.low?"),
        (
            '{ low = "x", high = 2 }',
            'tune.ranges.train.beta.low = "x" is not allowed',
        ),
        ("3", "allowed: {low, high, log, step, choices}"),
    ],
)
def test_a_range_that_is_none_is_one_sentence(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(f'[tune]\nranges."train.beta" = {text}\n')
    with pytest.raises(ValueError) as error:
        load_config(path)
    [sentence] = str(error.value).splitlines()
    assert said in sentence and str(path) in sentence


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match=r"startup \(9\) must not exceed trials \(4\)"):
        TuneConfig(trials=4, startup=9)
    with pytest.raises(ValueError, match='a single setting has none; set compare = "fronts"'):
        TuneConfig(user="spacing")
    assert TuneConfig(user="spacing", compare="fronts").user == "spacing"
