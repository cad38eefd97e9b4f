"""Every metric of a list from its formula: loops over numbers, no masks, no vectors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from statistics import fmean

from tests.perpo_core.stages.train.objectives.cases import Case


def average(values: list[float]) -> float:
    return fmean(values) if values else 0.0


def dcg(gains: Sequence[float]) -> float:
    """Of gains in the order of the ranks."""
    return sum(gain / math.log2(1 + rank) for rank, gain in enumerate(gains, 1))


def ndcg(scores: list[float], rewards: list[float]) -> float:
    """Mean over every order that the scores allow, found by going over all orders."""
    ideal = dcg(sorted(rewards, reverse=True))
    if ideal == 0:
        return 1.0
    orders = [
        order
        for order in itertools.permutations(range(len(scores)))
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]
    return fmean(dcg([rewards[i] for i in order]) for order in orders) / ideal


def count_pairs(scores: list[float], rewards: list[float]) -> dict[str, int]:
    """Pairs of the list by how the two orders them."""
    counts = dict.fromkeys(("concordant", "discordant", "rewards_differ", "scores_differ"), 0)
    for (s, r), (t, q) in itertools.combinations(zip(scores, rewards, strict=True), 2):
        counts["concordant"] += (s > t and r > q) or (s < t and r < q)
        counts["discordant"] += (s > t and r < q) or (s < t and r > q)
        counts["rewards_differ"] += r != q
        counts["scores_differ"] += s != t
    return counts


def kendall_tau(scores: list[float], rewards: list[float]) -> float:
    counts = count_pairs(scores, rewards)
    if not counts["rewards_differ"] or not counts["scores_differ"]:
        return 0.0
    difference = counts["concordant"] - counts["discordant"]
    return difference / math.sqrt(counts["rewards_differ"] * counts["scores_differ"])


def accuracy(scores: list[float], rewards: list[float]) -> float:
    counts = count_pairs(scores, rewards)
    if not counts["rewards_differ"]:
        return 0.5
    tied = counts["rewards_differ"] - counts["concordant"] - counts["discordant"]
    return (counts["concordant"] + tied / 2) / counts["rewards_differ"]


def compute_slow_metrics(case: Case, beta: float) -> dict[str, float]:
    logps = [case.logps[i] for i in case.members]
    scores = [case.logps[i] - case.refs[i] for i in case.members]
    rewards = [case.rewards[i] for i in case.members]
    best = [g for g, reward in enumerate(rewards) if reward == max(rewards)]
    worst = [g for g, reward in enumerate(rewards) if reward == min(rewards)]
    best_s, worst_s = (average([scores[g] for g in which]) for which in (best, worst))
    return {
        "rewards/chosen": beta * best_s,
        "rewards/rejected": beta * worst_s,
        "rewards/margins": beta * (best_s - worst_s),
        "rewards/accuracies": accuracy(scores, rewards),
        "logps/chosen": average([logps[g] for g in best]),
        "logps/rejected": average([logps[g] for g in worst]),
        "logps/chosen_change": best_s,
        "logps/rejected_change": worst_s,
        "list/ndcg": ndcg(scores, rewards),
        "list/kendall_tau": kendall_tau(scores, rewards),
        "kl": average([math.exp(s) - 1 - s for s in scores]),
    }
