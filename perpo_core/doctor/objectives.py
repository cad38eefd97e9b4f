"""What an objective asks of other sections than its own."""

from __future__ import annotations

from collections.abc import Iterator

from perpo_core.doctor.findings import Finding
from perpo_core.perception.judging import get_choice
from perpo_core.perception.mixtures import build_mixture
from perpo_core.perception.tasks import TASKS
from perpo_core.stages.train.smoothing import is_fitted, reads_scores
from perpo_core.stages.train.smoothing_slope import WAYS_OUT, list_second_rewards
from schemas.config import RefreshConfig


def check_objective(config: RefreshConfig) -> Iterator[Finding]:
    """Settings of other sections that the objective cannot do with; nothing where all is well."""
    yield from check_smoothing(config)


def check_smoothing(config: RefreshConfig) -> Iterator[Finding]:
    """Rewards that rosepo takes its smoothing from."""
    train, score = config.train, config.score
    if is_fitted(train) and not any(list_second_rewards(score, task) for task in TASKS):
        yield Finding(
            "error",
            "configuration: train.objective = rosepo fits its smoothing to second rewards, and no "
            f"task in [score] has one; {WAYS_OUT}",
        )
    elif not is_fitted(train) and reads_scores(train):
        parts = [part for task in TASKS for part in build_mixture(get_choice(score, task)).parts]
        if train.smoothing_column not in [part.reward.name for part in parts]:
            yield Finding(
                "error",
                f"configuration: train.smoothing_column = {train.smoothing_column} is no reward of "
                "any task in [score]; name it there, where a weight of 0 adds nothing to the total",
            )
