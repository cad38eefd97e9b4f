"""Rewards whose work is done outside this package, and the judges that can ask for them.

One's own functions run in child processes (own.py), a judge is asked over HTTP (judge.py). Nothing
is started or contacted before there is an answer to judge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from perpo_core.perception.judging import (
    Item,
    Judge,
    Judgement,
    list_outside,
    without_outside,
)
from perpo_core.perception.rewards import RewardResult
from perpo_core.perception.rewards.outside import JudgeOptions, OwnOptions
from perpo_core.stages.outside.own import OwnReward
from perpo_core.store.open import open_store
from perpo_core.store.place import Place
from schemas.base import Section
from schemas.config import RefreshConfig, ScoreConfig

if TYPE_CHECKING:
    from perpo_core.stages.outside.judge import ServerJudge

__all__ = ["build_judge", "build_judge_of_one", "require_judged"]

Log = Callable[[str], None]


class Outsiders:
    """The outside rewards of a stage, each built when it is first asked for."""

    def __init__(self, config: ScoreConfig, place: Place, log: Log) -> None:
        self._config, self._place, self._log = config, place, log
        self._build_own = cache(lambda name: OwnReward(name, config.reward_folder, log))
        self._judges: dict[str, ServerJudge] = {}

    def __call__(
        self, name: str, options: Section | None, items: Sequence[Item]
    ) -> list[RewardResult]:
        """A result an item."""
        if isinstance(options, JudgeOptions):
            return self._build_judge(options).compute_many(items)
        assert isinstance(options, OwnOptions)
        return self._build_own(name).compute_many(items, options)

    def _build_judge(self, options: JudgeOptions) -> ServerJudge:
        from perpo_core.stages.outside.judge import ServerJudge  # a client that nobody else needs

        said = options.model_dump_json()
        if said not in self._judges:
            self._judges[said] = ServerJudge(options, open_store(self._place), self._log)
        return self._judges[said]


def build_judge(config: RefreshConfig, place: Place, log: Log) -> Judge:
    """What judges all answers to a prompt together; `place` is the store's, for replies."""
    return _build(config.score, config.policy.box_format, place, log)


def build_judge_of_one(config: RefreshConfig, place: Place, log: Log) -> Judge:
    """What judges an answer by itself, or those of two policies: without judges that put the
    answers of one policy in order, which say nothing there."""
    score = without_outside(config.score, only_order=True)
    return _build(score, config.policy.box_format, place, log)


def _build(score: ScoreConfig, box_format: str, place: Place, log: Log) -> Judge:
    outside = Outsiders(score, place, log) if list_outside(score) else None
    return Judge(score, box_format, outside)


def require_judged(judgements: Sequence[Judgement]) -> None:
    """Raise ValueError where a server left answers without a reward: where policies are compared,
    such answers would count for one and against the other."""
    missing = [found for found in judgements if found.fault == "server"]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(judgements)} answers have no reward, the first: "
            f"{missing[0].error}; give the same command again, every reply so far is kept"
        )
