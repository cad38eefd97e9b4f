"""Studies whose trials end at once, with planted values: no run, no model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from perpo_core.store.store import Store
from perpo_core.tuning.answering import have_answered
from perpo_core.tuning.questions import Question
from perpo_core.tuning.ranges import Settings, build_distributions
from perpo_core.tuning.standing import Standing, compute_standing
from perpo_core.tuning.study import Study, open_study
from perpo_core.tuning.suggest import suggest
from schemas.config import RefreshConfig
from schemas.tune_config import TuneConfig, TuneRange

POLICY = "a" * 64
SAMPLES = "b" * 64
RANGES = {
    "train.beta": TuneRange(low=0.01, high=1.0, log=True),
    "train.gamma": TuneRange(low=0.0, high=2.0),
}
OBJECTIVES = ["grounding.acc_at_50", "ocr.edit_distance"]
Measure = Callable[[Settings], Sequence[float]]


def build_config(ranges: Mapping[str, TuneRange] = RANGES, **tune: Any) -> RefreshConfig:
    settings = {"objectives": OBJECTIVES, "user": "hypervolume", **tune}
    return RefreshConfig(name="planted", tune=TuneConfig(ranges=dict(ranges), **settings))


def build_study(folder: Path, values: Sequence[Sequence[float]], **tune: Any) -> Study:
    """A study whose first trials are done, with settings drawn as they would be."""
    config = build_config(**tune)
    study = open_study(Store(folder), config, POLICY)
    for each in values:
        begin_next(study)
        finish(study, len(study.list_trials()) - 1, each)
    return study


def begin_next(study: Study) -> bool:
    """Begin the next trial, if there is anything left to try."""
    config = study.record.config
    distributions = build_distributions(config)
    suggested = suggest(compute_standing(study), distributions)
    if suggested is None:
        return False
    study.begin(suggested[0], distributions, suggested[1])
    return True


def finish(study: Study, number: int, values: Sequence[float]) -> None:
    trial = study.list_trials()[number]
    study.finish(trial, values, f"{trial.name}-20261122-104500", SAMPLES)


def run_study(folder: Path, measure: Measure, config: RefreshConfig) -> tuple[Study, Standing]:
    """A whole study of a simulated user."""
    study = open_study(Store(folder), config, POLICY)
    tune = config.tune
    while True:
        standing = have_answered(study, ask_nobody)
        if len(standing.trials) >= tune.trials or not begin_next(study):
            return study, standing
        number = len(study.list_trials()) - 1
        finish(study, number, measure(study.list_trials()[number].settings))


def ask_nobody(study: Study, standing: Standing, question: Question) -> None:
    """These users are simulated."""
    raise AssertionError(f"{study.name} asks a person")
