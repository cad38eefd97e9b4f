"""How different the answers are that a round learns from, by task.

Lists are made of answers that differ in reward. A policy that improves answers more alike, and a
prompt whose answers are all worth the same teaches nothing: what is left to learn from by rounds is
seen here before it is seen in the gain. Of a sample (a prompt with its truth) with answers
1, ..., G of rewards r:

    different answers    the number of different texts among the G
    equal                1 if max r = min r, else 0
    gap                  max r - min r
    difference           mean over pairs i < j of |r_i - r_j|
                         = 2 / (G (G - 1)) * sum_k (2k - G + 1) r_(k),  k = 0, ..., G - 1 ascending

(the last is Gini's mean difference, half of which is the usual numerator of his coefficient). Each
is averaged over the samples of a task; the last three over those with two judged answers or more,
of which G is the number. Rewards (1, 1, 0, 0) have gap 1 and difference 4 / 6; (0.2, 0.5, 0.9)
have gap 0.7 and difference (0.3 + 0.7 + 0.4) / 3. The choice of these four is ours.

Shard by shard: a prompt lies in one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from perpo_core.perception.tasks import TASKS
from perpo_core.store.row_reader import read_columns
from perpo_core.store.store import Store
from schemas.artifact import CandidateSet, ScoredSet
from schemas.base import TaskName
from schemas.rounds import Diversity

CANDIDATE_COLUMNS = ("prompt_id", "text")
SCORE_COLUMNS = ("sample_id", "prompt_id", "task", "reward")
Values = NDArray[np.float64]


@dataclass
class Tally:
    """Sums over the samples of a task."""

    num_samples: int = 0
    num_answers: int = 0
    num_different: int = 0
    num_judged: int = 0
    num_equal: int = 0
    gap: float = 0.0
    difference: float = 0.0

    def average(self) -> Diversity:
        judged = self.num_judged
        return Diversity(
            num_samples=self.num_samples,
            num_answers=self.num_answers / self.num_samples,
            num_different=self.num_different / self.num_samples,
            num_judged=judged,
            equal_share=self.num_equal / judged if judged else None,
            reward_gap=self.gap / judged if judged else None,
            reward_difference=self.difference / judged if judged else None,
        )


def compute_diversity(
    shards: Iterable[tuple[pa.Table, pa.Table]],
) -> dict[TaskName, Diversity]:
    """Task -> diversity, in the order of TASKS, from (candidates, scores) of each shard.

    Their columns are CANDIDATE_COLUMNS and SCORE_COLUMNS; scores without a reward are not judged.
    """
    tallies: dict[TaskName, Tally] = defaultdict(Tally)
    for candidates, scores in shards:
        for task in pc.unique(scores["task"]).to_pylist():
            mine = scores.filter(pc.equal(scores["task"], task))
            _count_answers(tallies[task], candidates, mine)
            _count_rewards(tallies[task], mine)
    return {task: tallies[task].average() for task in TASKS if task in tallies}


def read_shards(
    store: Store, candidates: CandidateSet, scores: ScoredSet
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """What compute_diversity takes: there is a part of scores for each of the candidates'."""
    pairs = zip(store.paths(candidates), store.paths(scores), strict=True)
    for candidate_path, score_path in pairs:
        yield (
            read_columns(candidate_path, CANDIDATE_COLUMNS),
            read_columns(score_path, SCORE_COLUMNS),
        )


def _count_answers(tally: Tally, candidates: pa.Table, scores: pa.Table) -> None:
    by_prompt = candidates.group_by("prompt_id").aggregate(
        [("text", "count"), ("text", "count_distinct")]
    )
    samples = scores.group_by(["sample_id", "prompt_id"]).aggregate([])
    found = samples.join(by_prompt, "prompt_id")
    tally.num_samples += samples.num_rows
    tally.num_answers += pc.sum(found["text_count"]).as_py() or 0
    tally.num_different += pc.sum(found["text_count_distinct"]).as_py() or 0


def _count_rewards(tally: Tally, scores: pa.Table) -> None:
    judged = scores.filter(pc.is_valid(scores["reward"]))
    if not judged.num_rows:
        return
    _, numbers_A = np.unique(judged["sample_id"].to_numpy(), return_inverse=True)
    gaps_S, differences_S = compute_spread(judged["reward"].to_numpy(), numbers_A)
    tally.num_judged += gaps_S.size
    tally.num_equal += int((gaps_S == 0).sum())
    tally.gap += float(gaps_S.sum())
    tally.difference += float(differences_S.sum())


def compute_spread(rewards_A: Values, numbers_A: NDArray[np.int64]) -> tuple[Values, Values]:
    """(gaps [S], mean differences [S]) of the samples with two answers or more.

    `numbers_A` says which sample each answer belongs to, from 0, in any order.

    >>> compute_spread(np.array([0.0, 1.0, 1.0, 0.0, 0.3]), np.array([0, 0, 0, 0, 1]))[1].round(3)
    array([0.667])
    """
    order_A = np.lexsort((rewards_A, numbers_A))
    rewards, numbers = rewards_A[order_A], numbers_A[order_A]
    sizes_S = np.bincount(numbers)
    starts_S = np.cumsum(sizes_S) - sizes_S
    places_A = np.arange(rewards.size) - starts_S[numbers]
    weighted_S = np.bincount(numbers, (2 * places_A - sizes_S[numbers] + 1) * rewards)
    is_several_S = sizes_S > 1
    sizes, starts = sizes_S[is_several_S], starts_S[is_several_S]
    gaps_S = rewards[starts + sizes - 1] - rewards[starts]
    # Equal rewards: the sum above is one of rounding errors.
    differences_S = 2 * weighted_S[is_several_S] / (sizes * (sizes - 1))
    return gaps_S, np.where(gaps_S == 0, 0.0, differences_S)
