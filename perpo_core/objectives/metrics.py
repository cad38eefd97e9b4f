"""What to watch while training on lists: the names DPO users know, on ranked lists."""

from __future__ import annotations

import torch
from torch import Tensor

from perpo_core.objectives.base import ListBatch


@torch.no_grad()
def compute_list_metrics(batch: ListBatch, beta: float) -> dict[str, Tensor]:
    """Sums over the lists of a batch; the trainer divides by the number of lists.

    reward_margin: beta * (s_best - s_worst), nats. reward_accuracy: share of pairs with different
    rewards that the log-ratios order alike (a tie of log-ratios counts half). best_logp_change and
    worst_logp_change: s of the best and the worst answer, nats; a falling best is likelihood
    displacement.
    """
    ratios_PG = batch.log_ratios_PG.detach()
    best_P, worst_P = _pick(ratios_PG, batch, 1), _pick(ratios_PG, batch, -1)
    gaps_PGG = batch.rewards_PG[:, :, None] - batch.rewards_PG[:, None, :]
    pairs_PGG = (gaps_PGG > 0) & batch.mask_PG[:, :, None] & batch.mask_PG[:, None, :]
    order_PGG = ratios_PG[:, :, None] - ratios_PG[:, None, :]
    right_PGG = (order_PGG > 0).double() + 0.5 * (order_PGG == 0).double()
    num_pairs_P = pairs_PGG.sum((1, 2)).clamp(min=1)
    return {
        "reward_margin": beta * (best_P - worst_P).sum(),
        "reward_accuracy": ((right_PGG * pairs_PGG).sum((1, 2)) / num_pairs_P).sum(),
        "best_logp_change": best_P.sum(),
        "worst_logp_change": worst_P.sum(),
    }


def _pick(ratios_PG: Tensor, batch: ListBatch, sign: int) -> Tensor:
    """Log-ratio of each list's best (sign 1) or worst (sign -1) answer: [P]."""
    ranked_PG = torch.where(batch.mask_PG, sign * batch.rewards_PG, -torch.inf)
    return ratios_PG.gather(1, ranked_PG.argmax(1, keepdim=True)).squeeze(1)
