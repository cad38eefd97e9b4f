"""What is tried next: at random first, then what the learned utility expects most of.

A Gaussian process over the settings (optuna's GPSampler) models the utility of the trials so far
and gives the settings with the greatest expected improvement. The utility is learned anew after
every answer, so that the process is fitted anew for every trial; it is asked with a seed of the
study's and the trial's number alone, so that a study which was killed goes on as it would have.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler
from optuna.trial import create_trial

from perpo_core.store.keys import compute_hash
from perpo_core.tuning.ranges import Settings
from perpo_core.tuning.standing import Standing

optuna.logging.set_verbosity(optuna.logging.WARNING)  # as in journal.py
MAX_DRAWS = 200
"""Further settings that are drawn where one was tried already."""
MIN_DONE = 2
"""Trials without which there is nothing to model."""
AT_RANDOM, BY_UTILITY = "random", "utility"


def suggest(
    standing: Standing, distributions: dict[str, BaseDistribution]
) -> tuple[Settings, str] | None:
    """(settings that were not tried, how they were chosen); None where all there are were tried."""
    tried = [trial.settings for trial in standing.trials]
    for how, settings in _propose(standing, distributions):
        if settings not in tried:
            return settings, how
    return None


def _propose(
    standing: Standing, distributions: dict[str, BaseDistribution]
) -> Iterator[tuple[str, Settings]]:
    number, config = len(standing.trials), standing.config
    seeds = (derive_seed(config.seed, number, draw) for draw in range(MAX_DRAWS))
    learned = config.optimiser == "utility" and number >= config.startup
    if learned and len(standing.done) >= MIN_DONE:
        sampler = GPSampler(seed=next(seeds), n_startup_trials=0)
        yield BY_UTILITY, _ask(sampler, standing, distributions)
    for seed in seeds:
        yield AT_RANDOM, _ask(RandomSampler(seed=seed), None, distributions)


def derive_seed(study_seed: int, number: int, draw: int) -> int:
    """Of a trial's draw, 31 bits."""
    return int(compute_hash([study_seed, number, draw])[:8], 16) >> 1


def _ask(
    sampler: BaseSampler, standing: Standing | None, distributions: dict[str, BaseDistribution]
) -> Settings:
    """What a sampler draws after the trials of a study in memory."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        if standing is not None:
            study.add_trials(_build_history(standing, distributions))
        return study.ask(distributions).params


def _build_history(
    standing: Standing, distributions: dict[str, BaseDistribution]
) -> list[optuna.trial.FrozenTrial]:
    """Every ended trial with its utility; one that failed is worth no more than the worst."""
    utilities = standing.utilities_N
    worth = {t.number: float(u) for t, u in zip(standing.done, utilities, strict=True)}
    ended = [trial for trial in standing.trials if trial.state != "running"]
    return [
        create_trial(
            params=dict(trial.settings),
            distributions=distributions,
            value=worth.get(trial.number, float(utilities.min())),
        )
        for trial in ended
    ]
