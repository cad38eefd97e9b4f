"""Where RosePO's smoothing comes from: a slope that is fitted to the scores, or one of the rewards.

Both follow from the scores that the lists were made from, which are in the key of such a training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from perpo_core.stages.stage import StageContext
from perpo_core.stages.train.second_rewards import (
    ScoredList,
    find_scores,
    locate_scores,
    read_scored_lists,
)
from perpo_core.stages.train.settings import list_unread
from perpo_core.stages.train.smoothing_slope import collect_opinions, describe_fit, fit_slope
from schemas.artifact import PreferenceSet
from schemas.config import RefreshConfig
from schemas.run import TrainJob
from schemas.train_config import TrainConfig


def is_fitted(train: TrainConfig) -> bool:
    """Whether the slope is left to the data."""
    is_read = "smoothing" not in list_unread(train)
    return is_read and train.smoothing == "gap" and train.smoothing_slope is None


def reads_scores(train: TrainConfig) -> bool:
    """Whether a training depends on single rewards of the lists' answers."""
    is_read = "smoothing" not in list_unread(train)
    return is_fitted(train) or (is_read and train.smoothing == "column")


def describe_scores(train: TrainConfig, preferences: PreferenceSet) -> dict[str, Any]:
    """What a training's key says of them: nothing where it does not read them."""
    return {"scores_digest": find_scores(preferences).digest} if reads_scores(train) else {}


def settle_smoothing(
    context: StageContext, preferences: PreferenceSet
) -> tuple[RefreshConfig, dict[str, Any]]:
    """The configuration, with the slope where one is fitted, and what else the job needs.

    Raises ValueError where there is nothing to fit it by or the scores are gone.
    """
    config = context.config
    if not reads_scores(config.train):
        return config, {}
    scores = locate_scores(context.store, preferences, context.log)
    if not is_fitted(config.train):
        return config, {"scores": scores}
    lists = read_scored_lists(context.store.paths(preferences), scores)
    opinions = collect_opinions(lists, config.score)
    slope = fit_slope(opinions)
    context.log(describe_fit(slope, opinions))
    train = config.train.model_copy(update={"smoothing_slope": slope})
    return config.model_copy(update={"train": train}), {}


@dataclass(frozen=True)
class SmoothingColumn:
    """An AnswerColumn (perpo_core/stages/train/data.py)."""

    values_of: dict[str, list[float]]
    """sample_id -> of the list's answers."""

    def __call__(self, row: dict[str, Any]) -> list[float]:
        return self.values_of[row["sample_id"]]


def load_smoothing(job: TrainJob) -> SmoothingColumn:
    """The reward `smoothing_column` of every list's answers.

    Raises ValueError where one has none, or one that is no probability.
    """
    name = job.config.train.smoothing_column
    assert name is not None
    lists = read_scored_lists(job.lists, job.scores)
    return SmoothingColumn({each.sample_id: _read_column(each, name) for each in lists})


def _read_column(scored: ScoredList, name: str) -> list[float]:
    values = []
    for rewards in scored.rewards_G:
        if name not in rewards:
            raise ValueError(
                f"train.smoothing_column = {name}: sample {scored.sample_id} has no such reward; "
                f"name it in score.{scored.task}, where a weight of 0 adds nothing to the total"
            )
        if not 0 <= rewards[name] <= 1:
            raise ValueError(
                f"train.smoothing_column = {name} is {rewards[name]:g} for an answer to sample "
                f"{scored.sample_id}, and has to be a probability, 0 to 1; correct that reward"
            )
        values.append(rewards[name])
    return values
