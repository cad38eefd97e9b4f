"""Every loss from its formula: loops over scalars, no masks, no vectors, no stable forms.

A list is a Case whose policy log-probabilities are scalar tensors, so that autograd differentiates
the loops too; everything else is plain numbers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from schemas.train_config import TrainConfig
from tests.perpo_core.stages.train.objectives.cases import Case, share_out

Scalars = Sequence[Any]  # tensors of shape ()


def log_sigmoid(x: Any) -> Any:
    return -torch.log(1 + torch.exp(-x))


def mean(values: list[Any]) -> Any:
    return sum(values) / len(values) if values else 0.0


def list_pairs(case: Case, choice: str) -> list[tuple[int, int]]:
    rewards = {i: case.rewards[i] for i in case.members}
    pairs = [(i, j) for i in rewards for j in rewards if rewards[i] > rewards[j]]
    levels = sorted(set(rewards.values()))
    if choice == "best_worst":
        return [(i, j) for i, j in pairs if (rewards[j], rewards[i]) == (levels[0], levels[-1])]
    if choice == "best_rest":
        return [(i, j) for i, j in pairs if rewards[i] == levels[-1]]
    if choice == "adjacent":
        steps = set(itertools.pairwise(levels))
        return [(i, j) for i, j in pairs if (rewards[j], rewards[i]) in steps]
    if choice != "all":
        by = {"hardest": case.refs, "nearest": case.closeness, "popular": case.popularity}[choice]
        worse = [by[j] for j in rewards if rewards[j] < levels[-1]]
        return [(i, j) for i, j in list_pairs(case, "best_rest") if by[j] == max(worse)]
    return pairs


def list_chosen(case: Case) -> list[int]:
    return sorted({i for i, _ in list_pairs(case, "best_rest")})


def perpo(case: Case, logps: Scalars, crops: Scalars, config: TrainConfig) -> Any:
    s = [logp - ref for logp, ref in zip(logps, case.refs, strict=True)]
    r = case.rewards
    pairs = list_pairs(case, "all")
    total = sum((r[a] - r[b]) ** config.gamma for a, b in pairs)
    loss: Any = 0.0
    for i, j in pairs:
        weight = (r[i] - r[j]) ** config.gamma / total
        loss = loss - weight * log_sigmoid(config.beta * (s[i] - s[j]))
    return loss


def dpo(case: Case, logps: Scalars, crops: Scalars, config: TrainConfig) -> Any:
    s = [logp - ref for logp, ref in zip(logps, case.refs, strict=True)]
    pairs = list_pairs(case, config.pairs)
    return mean([-log_sigmoid(config.beta * (s[i] - s[j])) for i, j in pairs])


def plackett_luce(case: Case, logps: Scalars, crops: Scalars, config: TrainConfig) -> Any:
    e = [torch.exp(config.beta * (p - q)) for p, q in zip(logps, case.refs, strict=True)]
    loss: Any = 0.0
    for i in case.members:
        worse = [j for j in case.members if case.rewards[j] < case.rewards[i]]
        loss = loss - torch.log(e[i] / (e[i] + sum(e[j] for j in worse)))
    return loss


def sdpo(case: Case, logps: Scalars, crops: Scalars, config: TrainConfig) -> Any:
    s = [logp - ref for logp, ref in zip(logps, case.refs, strict=True)]
    losses = []
    for i in list_chosen(case):
        worse = [j for j in case.members if case.rewards[j] < case.rewards[i]]
        total: Any = sum(torch.exp(config.beta * s[j] - config.beta * s[i]) for j in worse)
        losses.append(-log_sigmoid(-torch.log(total)))
    return mean(losses)


def lipo_lambda(case: Case, logps: Scalars, crops: Scalars, config: TrainConfig) -> Any:
    s = [logp - ref for logp, ref in zip(logps, case.refs, strict=True)]
    orders = [
        order
        for order in itertools.permutations(case.members)
        if all(s[a].item() >= s[b].item() for a, b in itertools.pairwise(order))
    ]
    losses = []
    for order in orders:
        tau = {i: place for place, i in enumerate(order, start=1)}
        loss: Any = 0.0
        for i, j in list_pairs(case, "all"):
            gain = abs(2 ** case.rewards[i] - 2 ** case.rewards[j])
            discount = abs(1 / math.log(1 + tau[i]) - 1 / math.log(1 + tau[j]))
            loss = loss - gain * discount * log_sigmoid(config.beta * (s[i] - s[j]))
        losses.append(loss)
    return mean(losses)


def sft(case: Case, logps: Scalars, crops: Scalars, config: TrainConfig) -> Any:
    highest = max((case.rewards[i] for i in case.members), default=0.0)
    best = [i for i in case.members if case.rewards[i] == highest]
    if not best:
        return 0.0
    return -sum(logps[i] for i in best) / sum(case.num_tokens[i] for i in best)


def rpo(case: Case, logps: Scalars, crops: Scalars, config: TrainConfig) -> Any:
    nll = []
    for i, _ in list_pairs(case, config.pairs):
        if config.rpo_nll == "averaged":
            nll.append(-logps[i] / case.num_tokens[i])
        else:
            nll.append(-logps[i] * config.beta)
    return dpo(case, logps, crops, config) + config.rpo_eta * mean(nll)


def conditional(case: Case, logps: Scalars, crops: Scalars, config: TrainConfig) -> Any:
    losses = []
    for i in list_chosen(case):
        whole = config.beta * (logps[i] - case.refs[i])
        crop = config.beta * (crops[i] - case.ref_crops[i])
        losses.append(-log_sigmoid(whole - crop))
    return mean(losses)


def anchor(case: Case, logps: Scalars, crops: Scalars, config: TrainConfig) -> Any:
    chosen = list_chosen(case)
    return mean([-log_sigmoid(config.beta * (logps[i] - case.refs[i])) for i in chosen])


def mdpo(case: Case, logps: Scalars, crops: Scalars, config: TrainConfig) -> Any:
    parts = (dpo, conditional, anchor)
    return sum(part(case, logps, crops, config) for part in parts)


def mrpo(case: Case, logps: Scalars, crops: Scalars, config: TrainConfig) -> Any:
    references = [case.refs, *case.extra_refs]
    first = references[0]
    losses = []
    for i, j in list_pairs(case, config.pairs):
        sizes = {a: abs(sum(q[a] for q in references) / len(references)) for a in (i, j)}
        gaps = [abs(q[i] - q[j]) for q in references]
        alphas = [gap / sum(gaps) if sum(gaps) else 1 / len(gaps) for gap in gaps]
        virtual = {}
        for a in (i, j):
            share = sizes[a] / (sizes[i] + sizes[j]) if sizes[i] + sizes[j] else 0.0
            low = (1 + config.mrpo_clip * share) * first[a]
            high = (1 - config.mrpo_clip * share) * first[a]
            inverse = 0.0
            for alpha, q in zip(alphas, references, strict=True):
                inverse += alpha / math.exp(min(max(q[a], low), high))
            virtual[a] = math.log(1 / inverse)
        margin = (logps[i] - virtual[i]) - (logps[j] - virtual[j])
        losses.append(-log_sigmoid(config.beta * margin))
    return mean(losses)


def tis_dpo(case: Case, logps: Scalars, crops: Scalars, config: TrainConfig) -> Any:
    def total(i: int, sign: float) -> Any:
        found: Any = 0.0
        tokens = zip(share_out(case.num_tokens[i]), case.list_contrasts(i), strict=True)
        for share, contrast in tokens:
            exponent = sign * min(max(contrast, config.tis_low), config.tis_high)
            weight = config.tis_scale * math.exp(exponent)
            found = found + weight * (share * logps[i] - share * case.refs[i])
        return found

    pairs = list_pairs(case, "all" if config.tis_pairs == "gap" else config.pairs)
    powers = {
        (i, j): (case.rewards[i] - case.rewards[j]) ** config.gamma
        if config.tis_pairs == "gap"
        else 1.0
        for i, j in pairs
    }
    loss: Any = 0.0
    for i, j in pairs:
        margin = config.beta * (total(i, 1.0) - total(j, -1.0))
        loss = loss - powers[i, j] / sum(powers.values()) * log_sigmoid(margin)
    return loss


def rosepo(case: Case, logps: Scalars, crops: Scalars, config: TrainConfig) -> Any:
    s = [logp - ref for logp, ref in zip(logps, case.refs, strict=True)]
    losses = []
    for i, j in list_pairs(case, config.pairs):
        if config.smoothing == "column":
            eps = (case.smoothing[i] + case.smoothing[j]) / 2
        else:
            assert config.smoothing_slope is not None
            eps = 1 / (1 + math.exp(config.smoothing_slope * (case.rewards[i] - case.rewards[j])))
        margin = config.beta * (s[i] - s[j])
        losses.append(-(1 - eps) * log_sigmoid(margin) - eps * log_sigmoid(-margin))
    return mean(losses)


def p3o(case: Case, logps: Scalars, crops: Scalars, config: TrainConfig) -> Any:
    total = {
        i: case.rewards[i] - config.kl_weight * (case.samplers[i] - case.refs[i])
        for i in case.members
    }
    losses = []
    for i, j in itertools.combinations(case.members, 2):
        advantage = (total[i] - total[j]) / 2
        u_i, u_j = logps[i] - case.samplers[i], logps[j] - case.samplers[j]
        eps = config.clip_range
        if config.clip == "joint":
            losses.append(-clipped(advantage, u_i - u_j, -eps, eps))
        else:
            first = clipped(advantage, torch.exp(u_i), 1 - eps, 1 + eps)
            losses.append(-first - clipped(-advantage, torch.exp(u_j), 1 - eps, 1 + eps))
    return mean(losses)


def clipped(advantage: float, ratio: Tensor, low: float, high: float) -> Any:
    """min(A * ratio, A * clip(ratio)), case by case."""
    if advantage > 0 and ratio > high:
        return advantage * high
    if advantage < 0 and ratio < low:
        return advantage * low
    return advantage * ratio


def degree(case: Case, logps: Scalars, crops: Scalars, config: TrainConfig) -> Any:
    if not case.members:
        return 0.0
    losses = []
    for logits, label in zip(case.degree_logits, case.degrees, strict=True):
        likelihood = math.exp(logits[label]) / sum(math.exp(logit) for logit in logits)
        losses.append(-math.log(likelihood))
    return mean(losses)


SLOW: dict[str, Callable[[Case, Scalars, Scalars, TrainConfig], Any]] = {
    "perpo": perpo,
    "plackett_luce": plackett_luce,
    "lipo_lambda": lipo_lambda,
    "dpo": dpo,
    "sft": sft,
    "rpo": rpo,
    "sdpo": sdpo,
    "mdpo": mdpo,
    "mrpo": mrpo,
    "tis_dpo": tis_dpo,
    "rosepo": rosepo,
    "p3o": p3o,
    "nll_weight": sft,
    "conditional_weight": conditional,
    "anchor_weight": anchor,
    "degree_weight": degree,
}


def compute_slowly(name: str, case: Case, config: TrainConfig) -> tuple[Tensor, list[Tensor]]:
    """(loss, its gradients by log-probabilities and by those of the crops), float64."""
    logps = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in case.logps]
    crops = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in case.crops]
    # A loss that depends on nothing, such as that of an empty list, still has a gradient: zero.
    nothing = 0.0 * sum([*logps, *crops])
    loss = SLOW[name](case, logps, crops, config) + nothing
    gradients = torch.autograd.grad(loss, [*logps, *crops])
    size = len(logps)
    return loss.detach(), [torch.stack(gradients[:size]), torch.stack(gradients[size:])]
