"""A policy as the trainer calls it: a batch of packed lists in, log-probabilities of answers out.

One forward call a batch, crops included, so that a distributed wrapper sees one forward for every
backward. The trainer wraps and moves this module; `policy` in it is the transformers model.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn

from perpo_core.stages.train.attention_ways import Heads
from perpo_core.stages.train.data import TrainBatch
from perpo_core.stages.train.degree_head import DegreeHead
from perpo_core.stages.train.logps import compute_logps_and_ends, spread_by_answer, sum_by_answer
from perpo_core.stages.train.objectives import ListBatch
from perpo_core.stages.train.objectives.pairs import find_best


class ListPolicy(nn.Module):
    """Wraps a transformers image-text-to-text model, bare or with PEFT adapters."""

    def __init__(
        self, policy: Any, autocast: bool = False, degree_head: DegreeHead | None = None
    ) -> None:
        super().__init__()
        self.policy = policy
        self.autocast = autocast
        """Compute in bfloat16 although the weights are wider."""
        self.degree_head = degree_head
        """Tells how far answers are degraded; None where no degree is told. No part of `policy`."""

    @property
    def base(self) -> Any:
        """The transformers model itself, without what PEFT wraps around it."""
        return self.policy.get_base_model() if isinstance(self.policy, PeftModel) else self.policy

    @property
    def layer_name(self) -> str:
        """The class of the decoder's layers."""
        return type(self.base.get_decoder().layers[0]).__name__

    @property
    def heads(self) -> Heads:
        """What the decoder's layers ask of attention."""
        text = self.base.get_decoder().config
        num_heads: int = text.num_attention_heads
        num_shared = getattr(text, "num_key_value_heads", None) or num_heads
        width = getattr(text, "head_dim", None) or text.hidden_size // num_heads
        dtype = torch.bfloat16 if self.autocast else self.base.dtype
        return Heads(self.device, dtype, num_heads, num_shared, width)

    def generate(self, **inputs: Any) -> Tensor:
        """Answers as the policy gives them; through here, so that sharded weights are gathered."""
        with self.precision():
            answers: Tensor = self.policy.generate(**inputs)
        return answers

    @property
    def device(self) -> torch.device:
        device: torch.device = self.policy.device
        return device

    def forward(self, batch: TrainBatch) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """([M] of the scored tokens, the same of the crops or None), nats, float32 or wider; and
        logits of degrees, [P, V, D], or None.
        """
        with self.precision():
            token_logps_M, ends_PVH = self._compute(batch)
            crop_logps_M = self._compute(batch.crop)[0] if batch.crop else None
        if self.degree_head is None or ends_PVH is None:
            return token_logps_M, crop_logps_M, None
        return token_logps_M, crop_logps_M, self.degree_head(ends_PVH)

    def precision(self) -> torch.autocast:
        """The context in which this policy computes, wherever it does."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast)

    def _compute(self, batch: TrainBatch) -> tuple[Tensor, Tensor | None]:
        return compute_logps_and_ends(self.base, batch.packed)


def compute_list_batch(model: nn.Module, batch: TrainBatch) -> ListBatch:
    """What objectives look at; `model` is a ListPolicy, wrapped or not."""
    token_logps_M, crop_logps_M, degree_logits_PVD = model(batch)
    lists = ListBatch(
        logps_PG=sum_by_answer(token_logps_M, batch.packed),
        ref_logps_PG=batch.ref_logps_PG,
        rewards_PG=batch.rewards_PG,
        mask_PG=batch.packed.mask_BG,
        num_tokens_PG=batch.num_tokens_PG,
        extra_ref_logps_KPG=batch.extra_ref_logps_KPG,
        degree_logits_PVD=degree_logits_PVD,
        degrees_PV=batch.packed.degrees_BV,
        **batch.columns_PG,
    )
    if batch.tokens is not None:
        lists = _add_tokens(lists, token_logps_M, batch)
    return lists if batch.crop is None else _add_crop(lists, crop_logps_M, batch.crop)


def _add_tokens(lists: ListBatch, token_logps_M: Tensor, batch: TrainBatch) -> ListBatch:
    assert batch.tokens is not None
    longest = batch.tokens.ref_logps.shape[2]
    return replace(
        lists,
        token_logps_PGT=spread_by_answer(token_logps_M, batch.packed, longest),
        ref_token_logps_PGT=batch.tokens.ref_logps,
        contrast_PGT=batch.tokens.contrasts,
    )


def _add_crop(lists: ListBatch, token_logps_M: Tensor, crop: TrainBatch) -> ListBatch:
    """The log-probabilities of the crops' answers, put where these answers stand in their lists."""
    best_PG, logps_PB = find_best(lists), sum_by_answer(token_logps_M, crop.packed)

    def place(values_PB: Tensor) -> Tensor:
        """Both masks hold the best answers of a list in its order, list after list."""
        empty_PG = values_PB.new_zeros(best_PG.shape)
        return empty_PG.masked_scatter(best_PG, values_PB[crop.packed.mask_BG])

    return replace(lists, crop_logps_PG=place(logps_PB), ref_crop_logps_PG=place(crop.ref_logps_PG))
