"""Log-probabilities of tokens: what precision they are computed in, and in what portions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from perpo_core.stages.train import logps
from perpo_core.stages.train.logps import compute_hidden_packed, compute_token_logps, sum_by_answer
from perpo_core.stages.train.packing import PackedBatch, pack_lists
from tests.perpo_core.tiny_families import PAD, build_tiny, build_tiny_lists

ANSWERS = [[3, 1, 4], [2], [5, 3, 3, 1, 7]]


@torch.no_grad()
def compute_slowly(model: Any, batch: PackedBatch) -> Tensor:
    """log(exp(z_t) / sum exp(z)) of the model's own logits, in float64: [M]."""
    hidden_MH = compute_hidden_packed(model, batch)
    logits_MV = model.get_output_embeddings()(hidden_MH).double()
    chosen_M = logits_MV.gather(1, batch.targets_M[:, None])[:, 0]
    return chosen_M - logits_MV.exp().sum(1).log()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl"])
def test_a_softmax_is_never_narrower_than_float32(name, dtype):
    """In bfloat16 one of 4 nats would be off by up to 0.016, more than a step of training moves."""
    model = build_tiny(name, dtype)
    batch = pack_lists(build_tiny_lists(name, model, ANSWERS), PAD)
    batch.vision.update(
        {key: value.to(dtype) for key, value in batch.vision.items() if value.is_floating_point()}
    )
    token_logps_M = compute_token_logps(model, batch)
    assert token_logps_M.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    expected_M = compute_slowly(model, batch)
    assert (token_logps_M.double() - expected_M).abs().max() < 1e-5
    totals_BG = sum_by_answer(token_logps_M, batch)
    assert totals_BG.dtype == token_logps_M.dtype
    assert totals_BG.sum().item() == pytest.approx(expected_M.sum().item(), abs=1e-4)


def test_portions_do_not_show(monkeypatch):
    model = build_tiny("llava", torch.float64)
    batch = pack_lists(build_tiny_lists("llava", model, ANSWERS), PAD)
    whole_M = compute_token_logps(model, batch)
    for size in (1, 4, 1000):
        monkeypatch.setattr(logps, "CHUNK_TOKENS", size)
        torch.testing.assert_close(compute_token_logps(model, batch), whole_M)


def test_a_head_trains_over_hidden_states_that_do_not():
    """Each portion is computed again in the backward pass, whether or not its input is trained."""
    model = build_tiny("llava", torch.float64)
    batch = pack_lists(build_tiny_lists("llava", model, ANSWERS), PAD)
    model.requires_grad_(False)
    head = model.get_output_embeddings().weight.requires_grad_()
    compute_token_logps(model, batch).sum().backward()
    hidden_MH = compute_hidden_packed(model, batch)
    expected = torch.autograd.grad(-_compute_nll(head, hidden_MH, batch.targets_M), head)
    torch.testing.assert_close(head.grad, expected[0])


def _compute_nll(head: Tensor, hidden_MH: Tensor, targets_M: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(hidden_MH @ head.mT, targets_M, reduction="sum")
