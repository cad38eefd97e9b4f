"""The rounds of a configuration: what each is called and asked.

Round r is an ordinary refresh. It begins with the checkpoint of round r - 1, by its folder in the
store and not by the promoted pointer, which others may move meanwhile.

Seeds. A prompt's seed comes from generate.seed and the prompt alone, so that two policies that are
asked with the same one draw by the same noise, and where the later one hardly moved it repeats the
earlier one's answers. So round r draws with generate.seed + r - 1; but answers of different seeds
are never taken over from one another, and with generate.max_policy_age > 0 the seed stays what it
is. train.seed + r - 1 gives every round another order of lists and other first adapters.
evaluate.seed stays: the rounds are compared with each other on the same draws, and the answers of a
round's policy are those that the round before has evaluated.
"""

from __future__ import annotations

import re
from pathlib import Path

from schemas.config import PolicyConfig, RefreshConfig
from schemas.rounds import MAX_ROUNDS

MAX_NAME = 63 - len(f"-r{MAX_ROUNDS}")  # what is left of a run's name
NUM_SEEDS = 2**31  # the bound of generate.seed and train.seed
PROMOTED = "promoted"


def name_round(name: str, number: int) -> str:
    """Of the runs of a round, from 1."""
    return f"{name}-r{number}"


def read_number(name: str, run_name: str) -> int | None:
    """Which round of the rounds of a name a run's name is of; None if of none."""
    found = re.fullmatch(rf"{re.escape(name)}-r([1-9]\d*)", run_name)
    return int(found[1]) if found else None


def refuse_unfit(config: RefreshConfig) -> None:
    """Raise ValueError, one sentence, for a configuration whose rounds could not go on."""
    if not config.promote.enabled:
        raise ValueError(
            "promote.enabled = false: no round would be promoted, and none would follow the first; "
            "set it to true, in a store whose promoted policy may move"
        )
    if len(config.name) > MAX_NAME:
        raise ValueError(
            f"name = {config.name} has more than {MAX_NAME} characters, which its rounds' names "
            "need; give a shorter one"
        )


def build_round_config(
    config: RefreshConfig, number: int, start: Path, trained: Path | None
) -> RefreshConfig:
    """Round `number`, which begins with `trained`, or, the first one, with `start`."""
    past = number - 1
    seed = config.generate.seed + (0 if config.generate.max_policy_age else past)
    generate = config.generate.model_copy(update={"seed": seed % NUM_SEEDS})
    train = config.train.model_copy(update={"seed": (config.train.seed + past) % NUM_SEEDS})
    return config.model_copy(
        update={
            "name": name_round(config.name, number),
            "policy": _build_policy(config.policy, start, trained),
            "generate": generate,
            "train": train,
        }
    )


def _build_policy(policy: PolicyConfig, start: Path, trained: Path | None) -> PolicyConfig:
    """By folder where the configuration says "promoted", which moves; base stays what it is."""
    if trained is None and policy.model != PROMOTED:
        return policy
    named = "builtin" if policy.model == PROMOTED else policy.model
    return policy.model_copy(update={"model": str(trained or start), "base": policy.base or named})
