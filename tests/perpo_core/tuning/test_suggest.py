"""What is tried next: at random, then better than at random; the same whenever it is asked."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from perpo_core.store.store import Store
from perpo_core.tuning.ranges import Settings, build_distributions
from perpo_core.tuning.standing import compute_standing
from perpo_core.tuning.study import find_study
from perpo_core.tuning.suggest import suggest
from perpo_core.tuning.users import INDICATORS
from schemas.tune_config import TuneRange, UserName
from tests.perpo_core.tuning.studies import (
    RANGES,
    begin_next,
    build_config,
    build_study,
    finish,
    run_study,
)

NUM_TRIALS, NUM_STARTUP = 14, 6
WANTED = ["grounding.acc_at_50", "ocr.edit_distance", "counting.accuracy"]


def measure(settings: Settings) -> list[float]:
    """Grounding wants a strong pull, OCR a weak one; both a gamma of 0.7, counting a small one."""
    beta, gamma = float(settings["train.beta"]), float(settings["train.gamma"])
    pull, off = math.log10(beta) / 2 + 1, gamma - 0.7
    grounding = math.exp(-4 * (pull - 0.8) ** 2 - 2 * off**2)
    ocr = math.exp(-4 * (pull - 0.3) ** 2 - 2 * off**2)
    return [grounding, 1 - ocr, 1 - 0.3 * gamma]


def test_the_first_trials_are_random_and_the_same_for_every_optimiser(tmp_path: Path) -> None:
    found = []
    for number, optimiser in enumerate(("utility", "random")):
        study = build_study(tmp_path / str(number), [(0.5, 0.4)] * 6, optimiser=optimiser)
        found.append([trial.settings for trial in study.list_trials()])
        assert {trial.how for trial in study.list_trials()} == {"random"}
        for trial in study.list_trials():
            assert 0.01 <= float(trial.settings["train.beta"]) <= 1
            assert 0 <= float(trial.settings["train.gamma"]) <= 2
    assert found[0] == found[1]
    other = build_study(tmp_path / "other", [(0.5, 0.4)], seed=1).list_trials()
    assert other[0].settings != found[0][0]


def test_a_suggestion_depends_on_the_ledger_alone(tmp_path: Path) -> None:
    values = [(0.1 * n, 0.4) for n in range(6)]
    study = build_study(tmp_path, values)
    distributions = build_distributions(study.record.config)
    first = suggest(compute_standing(study), distributions)
    found = find_study(Store(tmp_path), study.name)
    assert found is not None
    assert suggest(compute_standing(found), distributions) == first
    assert first is not None and first[1] == "utility"


def test_no_settings_are_tried_twice_and_the_end_of_them_is_the_end(tmp_path: Path) -> None:
    ranges = {"train.objective": TuneRange(choices=["perpo", "dpo", "sft"])}
    config = build_config(ranges, objectives=["grounding.acc_at_50"], trials=10, startup=2)
    worth = {"perpo": 0.5, "dpo": 0.7, "sft": 0.2}
    study, standing = run_study(
        tmp_path, lambda settings: [worth[str(settings["train.objective"])]], config
    )
    tried = [str(trial.settings["train.objective"]) for trial in standing.trials]
    assert sorted(tried) == ["dpo", "perpo", "sft"]
    assert standing.chosen is not None
    assert standing.chosen.settings == {"train.objective": "dpo"}
    assert begin_next(study) is False


def test_whole_numbers_and_truth_values_stay_what_they_are(tmp_path: Path) -> None:
    ranges = {
        "train.lora_rank": TuneRange(low=4, high=64, log=True),
        "train.gradient_checkpointing": TuneRange(choices=[True, False]),
    }
    config = build_config(ranges, objectives=["grounding.acc_at_50"], trials=4, startup=2)
    study, _ = run_study(tmp_path, lambda settings: [0.5], config)
    found = find_study(Store(tmp_path), study.name)
    assert found is not None
    for trial in found.list_trials():
        assert type(trial.settings["train.lora_rank"]) is int
        assert type(trial.settings["train.gradient_checkpointing"]) is bool


def test_where_trials_fail_no_more_are_sought(tmp_path: Path) -> None:
    """Strong pulls fail; what is tried next is not one of them, though the best one lies near."""
    study = build_study(tmp_path, [], startup=6, trials=10)
    for number in range(6):
        begin_next(study)
        trial = study.list_trials()[number]
        if float(trial.settings["train.beta"]) > 0.15:
            study.fail(trial, "out of memory")
        else:
            finish(study, number, measure(trial.settings)[:2])
    assert {trial.state for trial in study.list_trials()} == {"done", "failed"}
    begin_next(study)
    assert float(study.list_trials()[6].settings["train.beta"]) < 0.3


@pytest.mark.parametrize("user", ["hypervolume", pytest.param("r2", marks=pytest.mark.slow)])
def test_what_is_chosen_is_worth_what_the_best_of_random_trials_is(
    user: UserName, tmp_path: Path
) -> None:
    """In 4 of 5 seeds, by the user's own measure, against the best of as many random trials."""
    num_as_good = 0
    for seed in range(5):
        tune = {"user": user, "seed": seed, "trials": NUM_TRIALS, "startup": NUM_STARTUP,
                "objectives": WANTED}  # fmt: skip
        ratings = []
        for optimiser in ("utility", "random"):
            config = build_config(RANGES, **tune, optimiser=optimiser)
            _, standing = run_study(tmp_path / f"{seed}-{optimiser}", measure, config)
            assert len(standing.done) == NUM_TRIALS and standing.chosen is not None
            chosen = standing.rate([standing.chosen.number])
            best = max(standing.rate([trial.number]) or 0.0 for trial in standing.done)
            assert chosen is not None
            ratings.append(chosen if optimiser == "utility" else best)
        num_as_good += ratings[0] >= ratings[1]
    assert num_as_good >= 4
    assert user in INDICATORS
