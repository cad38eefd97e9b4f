"""From log-probabilities to the report: scores of each list, means over lists, calibration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from perpo_core.evidence.ranking.scores import (
    compute_auc,
    compute_margin,
    compute_ndcg,
    compute_pairs_in_order,
    compute_spearman,
    compute_tau,
    normalise_lengths,
)
from perpo_core.perception.tasks import TASKS
from perpo_core.stages.evaluate.statistics import TAILS, resample_means
from schemas.base import TaskName
from schemas.ranking import ListRanking, ListScores, MeanOfLists, RankingScores, TaskRanking


@dataclass(frozen=True)
class RankedAnswers:
    """One list; axis G: its answers."""

    sample_id: str
    image_id: str
    task: TaskName
    rewards_G: Sequence[float]
    lengths_G: Sequence[int]
    """In tokens, end token included."""
    right_G: tuple[Sequence[float], Sequence[float]]
    """Log-probabilities under (policy, reference) with the right image, nats."""
    shuffled_G: tuple[Sequence[float], Sequence[float]] | None
    """The same with another sample's image."""


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are drawn."""

    resamples: int
    seed: int


def measure_list(answers: RankedAnswers) -> ListRanking:
    """Its scores under both images."""
    shuffled = answers.shuffled_G
    return ListRanking(
        sample_id=answers.sample_id,
        image_id=answers.image_id,
        task=answers.task,
        num_answers=len(answers.rewards_G),
        right=_score(*answers.right_G, answers.rewards_G),
        shuffled=None if shuffled is None else _score(*shuffled, answers.rewards_G),
    )


def _score(
    logps_G: Sequence[float], ref_logps_G: Sequence[float], rewards_G: Sequence[float]
) -> ListScores:
    in_order = compute_pairs_in_order(logps_G, rewards_G)
    assert in_order is not None, "a list has two different rewards"
    margin = compute_margin(logps_G, rewards_G)
    return ListScores(
        pairs_in_order=in_order,
        tau=compute_tau(logps_G, rewards_G),
        ndcg=compute_ndcg(logps_G, rewards_G),
        margin_nats=margin,
        implicit_margin_nats=margin - compute_margin(ref_logps_G, rewards_G),
    )


def measure_tasks(
    answers: Sequence[RankedAnswers], lists: Sequence[ListRanking], bootstrap: Bootstrap
) -> dict[TaskName, TaskRanking]:
    """Of every task that there are lists of; `lists` are the answers', in their order."""
    return {
        task: _measure_task(
            [each for each in answers if each.task == task],
            [each for each in lists if each.task == task],
            bootstrap,
        )
        for task in TASKS
        if any(each.task == task for each in lists)
    }


def _measure_task(
    answers: Sequence[RankedAnswers], lists: Sequence[ListRanking], bootstrap: Bootstrap
) -> TaskRanking:
    pairs = [(each.shuffled_G, found) for each, found in zip(answers, lists, strict=True)]
    both = [found for logps, found in pairs if logps is not None]
    shuffled = None
    if both:
        shuffled = _summarise(
            [(each, each.shuffled_G[0]) for each in answers if each.shuffled_G is not None],
            [(each, each.shuffled) for each in both if each.shuffled is not None],
            bootstrap,
        )
    return TaskRanking(
        right=_summarise(
            [(each, each.right_G[0]) for each in answers],
            [(each, each.right) for each in lists],
            bootstrap,
        ),
        shuffled=shuffled,
        margin_of_image_nats=_average(both, _compute_margin_of_image, bootstrap),
    )


def _compute_margin_of_image(each: ListRanking) -> float:
    assert each.shuffled is not None
    return each.right.implicit_margin_nats - each.shuffled.implicit_margin_nats


def _summarise(
    answers: Sequence[tuple[RankedAnswers, Sequence[float]]],
    scored: Sequence[tuple[ListRanking, ListScores]],
    bootstrap: Bootstrap,
) -> RankingScores:
    """`answers` with log-probabilities, and `scored` with scores, under one image."""
    scores_of = {each.sample_id: scores for each, scores in scored}
    lists = [each for each, _ in scored]

    def average(name: str) -> MeanOfLists | None:
        return _average(lists, lambda each: getattr(scores_of[each.sample_id], name), bootstrap)

    per_token_A = [
        value for each, logps_G in answers for value in normalise_lengths(logps_G, each.lengths_G)
    ]
    rewards_A = [reward for each, _ in answers for reward in each.rewards_G]
    means = {name: average(name) for name in ListScores.model_fields}
    return RankingScores.model_validate(
        means
        | {
            "spearman": compute_spearman(per_token_A, rewards_A),
            "auc": compute_auc(per_token_A, rewards_A),
            "num_answers": len(rewards_A),
        }
    )


def _average(
    lists: Sequence[ListRanking],
    read: Callable[[ListRanking], float | None],
    bootstrap: Bootstrap,
) -> MeanOfLists | None:
    """Over the lists that have a value; None where none has."""
    found = [(value, each.image_id) for each in lists if (value := read(each)) is not None]
    if not found:
        return None
    values_P = np.array([value for value, _ in found])
    images_P = [image_id for _, image_id in found]
    means_R = resample_means(values_P, images_P, bootstrap.resamples, bootstrap.seed)
    low, high = np.quantile(means_R, TAILS)
    return MeanOfLists(mean=float(values_P.mean()), low=float(low), high=float(high), n=len(found))


def join_logps(
    ids: Sequence[str], policy: Sequence[Sequence[float]], reference: Sequence[Sequence[float]]
) -> Mapping[str, tuple[Sequence[float], Sequence[float]]]:
    """sample_id -> log-probabilities under both."""
    return {i: pair for i, *pair in zip(ids, policy, reference, strict=True)}  # type: ignore[misc]
