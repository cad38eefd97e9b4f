"""What to watch while training on ranked lists, under TRL's names where TRL has them.

The log-ratio s = log pi(y|x) - log pi_ref(y|x) says how much likelier than under the reference the
policy makes an answer. Where answers share the highest or the lowest reward of a list, the best or
the worst one stands for their mean, so that no metric depends on the order of a list.

Undefined cases: in a list where no rewards differ (a singleton, all tied) best and worst are the
same, its margin is 0; what ranks count then is said in perpo_core.stages.train.objectives.ranking.
A list without answers counts as one that holds a single answer of log-ratio and log-probability 0.

By hand: beta 0.1, r (0.9, 0.5, 0.1), s (0.2, -0.1, 0.4). rewards/chosen 0.02, rewards/rejected
0.04, rewards/margins -0.02; of the pairs (0,1), (0,2), (1,2) the first is right: accuracy 1/3, tau
(1 - 2) / 3. kl = (0.021403 + 0.004837 + 0.091825) / 3 = 0.039355.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perpo_core.stages.train.objectives.base import ListBatch
from perpo_core.stages.train.objectives.pairs import find_best, find_worst
from perpo_core.stages.train.objectives.ranking import (
    compute_kendall_tau,
    compute_ndcg,
    compute_pair_accuracy,
)

LIST_METRICS: dict[str, str] = {
    "rewards/chosen": "beta * s of the best answer",
    "rewards/rejected": "beta * s of the worst answer",
    "rewards/margins": "beta * (s of the best - s of the worst answer)",
    "rewards/accuracies": "share of pairs of different rewards that s orders alike, ties half",
    "logps/chosen": "log pi of the best answer, nats",
    "logps/rejected": "log pi of the worst answer, nats",
    "logps/chosen_change": "s of the best answer, nats; its fall is likelihood displacement",
    "logps/rejected_change": "s of the worst answer, nats",
    "list/ndcg": "NDCG of the list in the order of s, linear gain; 1: as the rewards order it",
    "list/kendall_tau": "tau-b of s and rewards; 1: the same order, 0: none, -1: turned round",
    "kl": "estimate of KL(reference || policy) an answer, nats",
}
"""Name -> what it is, as a mean over lists."""
WITHOUT_REFERENCE = ("logps/chosen", "logps/rejected")
"""What says something where no reference was computed, and s is not a log-ratio."""
MAX_LOG_RATIO = 10.0  # nats; of the reference's answers, at most one in exp(10) can lie above it


@torch.no_grad()
def compute_list_metrics(batch: ListBatch, beta: float) -> dict[str, Tensor]:
    """Sums over the lists of a batch, scalars; the trainer divides by the number of lists."""
    ratios_PG, rewards_PG, mask_PG = batch.log_ratios_PG, batch.rewards_PG, batch.mask_PG
    best_PG, worst_PG = find_best(batch), find_worst(batch)
    best_s_P, worst_s_P = _average(ratios_PG, best_PG), _average(ratios_PG, worst_PG)
    metrics_P = {
        "rewards/chosen": beta * best_s_P,
        "rewards/rejected": beta * worst_s_P,
        "rewards/margins": beta * (best_s_P - worst_s_P),
        "rewards/accuracies": compute_pair_accuracy(ratios_PG, rewards_PG, mask_PG),
        "logps/chosen": _average(batch.logps_PG, best_PG),
        "logps/rejected": _average(batch.logps_PG, worst_PG),
        "logps/chosen_change": best_s_P,
        "logps/rejected_change": worst_s_P,
        "list/ndcg": compute_ndcg(ratios_PG, rewards_PG, mask_PG),
        "list/kendall_tau": compute_kendall_tau(ratios_PG, rewards_PG, mask_PG),
        "kl": compute_reference_kl(ratios_PG, mask_PG),
    }
    return {name: values_P.sum() for name, values_P in metrics_P.items()}


def compute_reference_kl(ratios_PG: Tensor, mask_PG: Tensor) -> Tensor:
    """Mean of exp(s) - 1 - s over the answers of each list: [P] float64, nats, never negative.

    The estimator k3 of http://joschu.net/blog/kl-approx.html. Its mean over answers drawn from the
    reference is KL(reference || policy) of whole answers. The answers of a list are a selected
    sample: drawn at the sampling temperature, without duplicates, from prompts whose answers
    differ; in later epochs the policy has been trained on them besides. Compare it between runs on
    the same lists, and with nothing else. A log-ratio above MAX_LOG_RATIO counts as that.
    """
    capped_PG = ratios_PG.double().clamp(max=MAX_LOG_RATIO)
    return _average(capped_PG.expm1() - capped_PG, mask_PG)


def _average(values_PG: Tensor, which_PG: Tensor) -> Tensor:
    """Mean over some answers of each list: [P] float64, 0 where there is none."""
    sums_P = torch.where(which_PG, values_PG, 0.0).double().sum(1)
    return sums_P / which_PG.sum(1).clamp(min=1)
