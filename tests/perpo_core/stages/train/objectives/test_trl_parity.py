"""Our losses on pairs against TRL's DPOTrainer: its own code, on a two-layer model.

TRL has no pure function of the loss: its trainer runs the model. Both sides see the same weights
and tokens, TRL as a padded batch of chosen and rejected sequences, ours as log-probabilities from
full logits. Compared are the loss and its gradient by every weight.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from perpo_core.stages.train.objectives import ListBatch
from perpo_core.stages.train.objectives.combine import compute_loss_P
from schemas.train_config import TrainConfig
from tests.perpo_core.stages.train.objectives.cases import build_config

BETA = 0.3
PAIRS = [("Where is the 7?", "[0.1, 0.2]", "no idea"), ("How many?", "3", "17 and more")]


def build_model(seed: int) -> Any:
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    config = LlamaConfig(vocab_size=512, num_attention_heads=2, initializer_range=0.3, **sizes)
    return LlamaForCausalLM(config).double().eval()


def build_trainer(processor: Any, folder: Path, pairs: list[Any], **settings: Any) -> Any:
    rows = [dict(zip(("prompt", "chosen", "rejected"), pair, strict=True)) for pair in pairs]
    arguments = DPOConfig(
        str(folder), beta=BETA, use_cpu=True, report_to="none", bf16=False, disable_dropout=False,
        gradient_checkpointing=False, per_device_train_batch_size=len(pairs), **settings,
    )  # fmt: skip
    return DPOTrainer(
        build_model(1), build_model(2), arguments, train_dataset=Dataset.from_list(rows),
        processing_class=copy.deepcopy(processor.tokenizer),
    )  # fmt: skip


def compute_list(model: Any, reference: Any, inputs: dict[str, Tensor]) -> ListBatch:
    """TRL's batch (chosen first, then rejected) as lists of two, the rejected first."""

    def compute_logps_PG(some: Any) -> Tensor:
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        logits = some(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
        logps = logits.log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)
        chosen_P, rejected_P = (logps * inputs["completion_mask"][:, 1:]).sum(1).chunk(2)
        return torch.stack([rejected_P, chosen_P], 1)

    logps_PG = compute_logps_PG(model)
    with torch.no_grad():
        ref_logps_PG = compute_logps_PG(reference)
    chosen_P, rejected_P = inputs["completion_mask"].sum(1).chunk(2)
    return ListBatch(
        logps_PG=logps_PG,
        ref_logps_PG=ref_logps_PG,
        rewards_PG=torch.tensor([[0.1, 0.8]] * len(logps_PG), dtype=torch.float64),
        mask_PG=torch.ones_like(logps_PG, dtype=torch.bool),
        num_tokens_PG=torch.stack([rejected_P, chosen_P], 1),
    )


def compute_gradient(model: Any, loss: Tensor) -> Tensor:
    model.zero_grad()
    loss.backward()
    return torch.cat([weight.grad.flatten() for weight in model.parameters()])


def check(trainer: Any, configs: list[TrainConfig]) -> None:
    inputs = next(iter(trainer.get_train_dataloader()))
    loss = trainer.compute_loss(trainer.model, inputs)
    gradient = compute_gradient(trainer.model, loss)
    assert gradient.norm() > 0.1
    for config in configs:
        lists = compute_list(trainer.model, trainer.ref_model, inputs)
        ours = compute_loss_P(lists, config).mean()
        assert ours.item() == pytest.approx(loss.item(), rel=1e-6)
        ours_gradient = compute_gradient(trainer.model, ours)
        assert (ours_gradient - gradient).norm() / gradient.norm() < 1e-5


def test_on_pairs_our_losses_are_trls_dpo(processor, tmp_path):
    trainer = build_trainer(processor, tmp_path, PAIRS)
    names = ("dpo", "perpo", "plackett_luce", "sdpo")
    check(trainer, [build_config(name, beta=BETA) for name in names])


def test_rpo_is_trls_dpo_with_its_sft_term(processor, tmp_path):
    """One pair: TRL's term is the mean over the tokens of the batch, RPO's over those of a list."""
    trainer = build_trainer(
        processor, tmp_path, PAIRS[:1], loss_type=["sigmoid", "sft"], loss_weights=[1.0, 0.4]
    )
    rpo = build_config("rpo", beta=BETA, rpo_eta=0.4)
    check(trainer, [rpo, build_config("dpo", beta=BETA, nll_weight=0.4)])
