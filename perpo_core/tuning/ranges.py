"""What a trial varies: settings of [train] and [lists], checked before anything is tried.

The other sections are the same in every trial: they say how a policy is asked and judged, and on
what, so that trials which differed in them could not be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from perpo_core.configuration.load import ConfigError, override_config
from perpo_core.configuration.words import write_toml_value
from schemas.config import RefreshConfig
from schemas.tune_config import TunedValue, TuneRange

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

TUNED_SECTIONS = ("train", "lists")
EXAMPLE = 'tune.ranges."train.beta" = { low = 0.01, high = 1.0, log = true }'
Settings = Mapping[str, TunedValue]
"""Dotted name -> value: what one trial tries."""


def build_distributions(config: RefreshConfig) -> dict[str, BaseDistribution]:
    """Dotted name -> what optuna draws from.

    Raises ValueError, one sentence a line, for a range of no setting, or of one that does not take
    its values.
    """
    if not config.tune.ranges:
        raise ValueError(f"tune.ranges is empty; say what is tried, as in {EXAMPLE}")
    return {
        name: _build_distribution(config, name, tried) for name, tried in config.tune.ranges.items()
    }


def _build_distribution(config: RefreshConfig, name: str, tried: TuneRange) -> BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if name.partition(".")[0] not in TUNED_SECTIONS:
        raise ValueError(
            f'tune.ranges."{name}" is no setting of [train] or [lists]; the others say how trials '
            "are judged and stay the same"
        )
    ends: list[TunedValue] = tried.choices or [e for e in (tried.low, tried.high) if e is not None]
    taken = [_try_value(config, name, value) for value in ends]
    if tried.choices:
        return CategoricalDistribution(taken)
    low, high = taken
    if type(low) is int:
        return IntDistribution(low, high, log=tried.log, step=_count_by(name, tried))
    if type(low) is float:
        return FloatDistribution(low, high, log=tried.log, step=tried.step)
    raise ValueError(f'tune.ranges."{name}" is no number; write {{ choices = [...] }}')


def _count_by(name: str, tried: TuneRange) -> int:
    if tried.step is not None and not tried.step.is_integer():
        raise ValueError(f'tune.ranges."{name}" counts; write a whole number for step')
    return int(tried.step or 1)


def _try_value(config: RefreshConfig, name: str, value: TunedValue) -> Any:
    """The value as the setting takes it: a whole number where it counts."""
    [override] = write_overrides({name: value})
    try:
        overridden = override_config(config, [override])
    except ConfigError as error:
        problems = [each.removeprefix(f'--set "{override}": ') for each in error.problems]
        raise ValueError(
            "\n".join(f'tune.ranges."{name}": {problem}' for problem in problems)
        ) from error
    found: Any = overridden
    for part in name.split("."):
        found = found[part] if isinstance(found, Mapping) else getattr(found, part)
    return found


def write_overrides(settings: Settings) -> list[str]:
    """As --set takes them, such as train.beta=0.2."""
    return [f"{name}={write_toml_value(value)}" for name, value in settings.items()]


def write_toml(settings: Settings) -> str:
    """As a configuration file takes them, a section at a time."""
    sections: dict[str, list[str]] = {}
    for name, value in settings.items():
        section, _, key = name.rpartition(".")
        sections.setdefault(section, []).append(f"{key} = {write_toml_value(value)}")
    return "\n\n".join("\n".join([f"[{name}]", *lines]) for name, lines in sections.items())


def describe_settings(settings: Settings) -> str:
    """For people, numbers to four digits: train.beta = 0.1234, train.objective = "dpo"."""
    return ", ".join(f"{name} = {describe_value(value)}" for name, value in settings.items())


def describe_value(value: TunedValue) -> str:
    """A value, numbers to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else write_toml_value(value)
