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
    if config.train.objective == "p3o":
        yield from check_sampling(config)


def check_sampling(config: RefreshConfig) -> Iterator[Finding]:
    """p3o takes answers for draws of the policy, and the sampler's word for their odds."""
    generate, lists, train = config.generate, config.lists, config.train
    for name, value in (("temperature", generate.temperature), ("top_p", generate.top_p)):
        if value != 1:
            yield Finding(
                "error",
                f"configuration: train.objective = p3o weighs answers by the odds they were drawn "
                f"at, which are known for generate.{name} = 1 only ({value:g}); set it to 1, or "
                "choose another objective",
            )
    if generate.max_policy_age:
        yield Finding(
            "warning",
            f"configuration: with generate.max_policy_age = {generate.max_policy_age} and "
            "train.objective = p3o, answers of older policies count by their own odds, and those "
            "that lie beyond train.clip_range teach nothing; 0 takes the present policy's alone",
        )
    if lists.drop_duplicates or lists.list_size < generate.num_candidates:
        yield Finding(
            "warning",
            "configuration: train.objective = p3o wants answers as they were drawn, and likely "
            "ones count less where lists leave some out; set lists.drop_duplicates = false and "
            f"lists.list_size = {generate.num_candidates}",
        )
    if train.kl_weight and train.reference == "start" and not generate.max_policy_age:
        yield Finding(
            "warning",
            f"configuration: train.kl_weight = {train.kl_weight:g} weighs nothing where the "
            "reference is the policy that sampled; set train.reference = base",
        )


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
