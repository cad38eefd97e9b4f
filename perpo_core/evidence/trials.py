"""What a comparison needs to run: every method with every setting, then with every seed.

A trial is an ordinary configuration. All of them begin from the same policy and have the same data,
prompts and number of steps, unless a method's own settings say otherwise.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from perpo_core.configuration.load import ConfigError, override_config
from perpo_core.configuration.words import write_toml_value
from perpo_core.evidence.holm import check_resolution
from perpo_core.stages.evaluate import REWARD_METRICS
from schemas.base import JUDGING_SPLIT
from schemas.compare_config import MAX_TRIALS, CompareConfig
from schemas.config import RefreshConfig
from schemas.tune_config import TuneConfig

Settings = Mapping[str, Any]
"""Dotted name -> value."""
Part = Literal["sweep", "judged", "start"]
NOT_COMPARED = ("name", "store", "compare", "tune", "policy", "evaluate")
"""Sections and settings that are the same for all methods."""
FREE = {"name", "store", "min_free_disk_gb", "promote"}
"""Settings that leave a trial what it is."""
EXAMPLE = '[compare.methods.dpo] settings = { "train.objective" = "dpo" }'


@dataclass(frozen=True)
class Trial:
    """One run of a method."""

    method: str
    part: Part
    settings: Settings
    """Of the sweep: what this trial tries."""
    seed: int
    config: RefreshConfig

    @property
    def name(self) -> str:
        return self.config.name


def list_sweep(config: RefreshConfig, method: str) -> list[Trial]:
    """The trials that choose a method's setting; [] where there is nothing to choose.

    They have the first seed and answer the validation prompts alone. Raises ValueError, one
    sentence a line, for what the configuration does not take.
    """
    grid = list(_list_settings(config.compare, method))
    if len(grid) == 1:
        return []
    own = {"evaluate.splits": [JUDGING_SPLIT], "evaluate.benchmarks": {}}
    return [
        _build_trial(config, method, "sweep", settings, 0, f"sweep-{number}", own)
        for number, settings in enumerate(grid)
    ]


def list_judged(config: RefreshConfig, method: str, chosen: Settings) -> list[Trial]:
    """The trials that judge a method at its setting, one a seed, on the test prompts alone."""
    own = {"evaluate.splits": ["test"]}
    return [
        _build_trial(config, method, "judged", chosen, seed, str(seed), own)
        for seed in range(config.compare.seeds)
    ]


def build_start(config: RefreshConfig, method: str, chosen: Settings) -> Trial | None:
    """What tells the start's headroom: a method's first run, with more sampled answers.

    None where every run has as many.
    """
    if config.compare.best_of <= config.evaluate.num_samples:
        return None
    own = {
        "evaluate.splits": ["test"],
        "evaluate.num_samples": config.compare.best_of,
        "evaluate.probe_prompts": 0,
        "evaluate.benchmarks": {},
    }
    return _build_trial(config, method, "start", chosen, 0, "start", own)


def list_settings(config: RefreshConfig, method: str) -> list[Settings]:
    """Every combination of what is swept, the last one changing fastest; [{}] without a sweep."""
    return list(_list_settings(config.compare, method))


def check_trials(config: RefreshConfig) -> None:
    """Raise ValueError, one sentence a line, unless every trial could be asked for."""
    if not config.compare.methods:
        raise ValueError(f"compare.methods is empty; say what is compared, as in {EXAMPLE}")
    count = 0
    for method in config.compare.methods:
        settings = list_settings(config, method)
        count += (len(settings) if len(settings) > 1 else 0) + config.compare.seeds
        if count > MAX_TRIALS:
            raise ValueError(
                f"compare asks for more than {MAX_TRIALS:,} trials; sweep fewer values"
            )
        list_sweep(config, method)
        list_judged(config, method, settings[0])
    check_reward(config.compare)
    check_resolution(config.compare.resamples, count_pairs(config.compare))


def check_reward(compare: CompareConfig) -> None:
    """Raise ValueError where a reward chooses or judges, and is not the same for all methods."""
    judged_by = [name for name in (compare.choose_by, compare.judge_by) if name is not None]
    rewards = [name for name in judged_by if name.partition(".")[2] in REWARD_METRICS]
    varied = [name for name in _list_varied(compare) if name.partition(".")[0] == "score"]
    if rewards and varied:
        raise ValueError(
            f"compare: {varied[0]} makes {rewards[0]} another thing for some methods; choose and "
            "judge by a metric that no reward changes, such as grounding.acc_at_50"
        )


def list_sources(config: RefreshConfig) -> list[Trial]:
    """A judged trial for every [source] that differs from the configuration's own."""
    if not any(name.partition(".")[0] == "source" for name in _list_varied(config.compare)):
        return []
    found: dict[str, Trial] = {}
    for method in config.compare.methods:
        for settings in list_settings(config, method):
            for trial in list_judged(config, method, settings):
                found.setdefault(trial.config.source.model_dump_json(), trial)
    found.pop(config.source.model_dump_json(), None)
    return list(found.values())


def count_pairs(compare: CompareConfig) -> int:
    """Every two of start and methods."""
    return math.comb(len(compare.methods) + 1, 2)


def describe_trial(config: RefreshConfig) -> str:
    """What makes two trials the same: everything but how they are called and where they lie."""
    return json.dumps(config.model_dump(mode="json", exclude=FREE), sort_keys=True)


def _list_varied(compare: CompareConfig) -> list[str]:
    """Every setting that differs between trials, or may."""
    of_methods = [[*method.settings, *method.sweep] for method in compare.methods.values()]
    return [*itertools.chain(*of_methods), *compare.sweep, *compare.vary]


def _list_settings(compare: CompareConfig, method: str) -> Iterator[Settings]:
    sweep = {**compare.sweep, **compare.methods[method].sweep}
    for values in itertools.product(*sweep.values()):
        yield dict(zip(sweep, values, strict=True))


def _build_trial(
    config: RefreshConfig, method: str, part: Part, chosen: Settings, seed: int, tag: str,
    own: Settings,
) -> Trial:  # fmt: skip
    settings = {**config.compare.methods[method].settings, **chosen}
    for name in settings:
        if name.partition(".")[0] in NOT_COMPARED:
            raise ValueError(
                f'compare.methods.{method}: "{name}" is the same for all methods; leave it out'
            )
    plain = config.model_copy(
        update={
            "name": f"{config.name}-{method.replace('_', '-')}-{tag}",
            "compare": CompareConfig(),
            "tune": TuneConfig(),
        }
    )
    built = _override(plain, {**settings, **own}, f"compare.methods.{method}")
    seeds = {name: _read(built, name) + seed for name in config.compare.vary}
    return Trial(method, part, chosen, seed, _override(built, seeds, "compare.vary"))


def _override(config: RefreshConfig, settings: Settings, where: str) -> RefreshConfig:
    overrides = [f"{name}={write_toml_value(value)}" for name, value in settings.items()]
    try:
        return override_config(config, overrides)
    except ConfigError as error:
        raise ValueError("\n".join(f"{where}: {each}" for each in error.problems)) from error


def _read(config: RefreshConfig, name: str) -> int:
    """A setting that seeds add to; raises ValueError unless it is a whole number."""
    found: Any = config
    for part in name.split("."):
        found = getattr(found, part, None)
    if type(found) is not int:
        raise ValueError(
            f'compare.vary: "{name}" is no whole number that a seed could add to; name settings '
            "such as train.seed"
        )
    return found
