"""QLoRA: 4 bits under the adapters alone, right gradients, full precision at the end.

On a CPU too, where bitsandbytes is installed. The CPU lock leaves it out: PEFT would import it, for
seconds, in every training that does not use it.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from perpo_core.policy.loading import load_policy
from perpo_core.stages.train.model import choose_trained, load_for_training
from perpo_core.stages.train.saving import save_policy
from schemas.train_config import TrainConfig
from tests.perpo_core.stages.train.training import (
    LORA,
    TRAIN,
    build_trainer,
    copy_weights,
    read_points,
)

bnb = pytest.importorskip("bitsandbytes", reason="it comes with make setup EXTRA=gpu")
pytestmark = pytest.mark.usefixtures("training_events")


def test_quantized_training_is_merged_into_the_weights_as_they_were(trainable, policy, tmp_path):
    """QLoRA: 4 bits under the adapters alone, ln 2 at the start, and full precision at the end."""
    trainer = build_trainer(
        trainable, tmp_path, quantize="nf4", epochs=6, **(LORA | {"projector_learning_rate": 1e-4})
    )
    narrow = {n for n, w in trainer.list_policy.base.named_parameters() if w.dtype == torch.uint8}
    assert len(narrow) == 7 * trainer.list_policy.base.config.text_config.num_hidden_layers
    assert all(".text_model." in name for name in narrow)
    trainer.train()
    first, *_ = points = read_points(trainer)
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert min(point["loss"] for point in points[-4:]) < 0.65
    trained = copy_weights(trainer.list_policy.base)
    folder = tmp_path / "merged"
    save_policy(trainer.list_policy, policy, "float32", folder, tmp_path / "adapter")
    merged, start = (copy_weights(load_policy(f, "float32")[0]) for f in (folder, policy.folder))
    for name, weight in start.items():
        layer = name.removesuffix(".weight")
        expected = trained.get(name, weight)
        if (a := trained.get(f"{layer}.lora_A.default.weight")) is not None:
            b = trained[f"{layer}.lora_B.default.weight"]
            expected = weight + LORA["lora_alpha"] / LORA["lora_rank"] * b @ a
        torch.testing.assert_close(merged[name], expected, rtol=0, atol=1e-6)
    assert not torch.equal(merged["model.connector.modality_projection.proj.weight"],
                           start["model.connector.modality_projection.proj.weight"])  # fmt: skip


def test_gradients_after_answering_are_those_of_the_dense_weights(policy):
    """Answering may repack 4-bit weights on a CPU; training must not notice."""
    config = TrainConfig(**(TRAIN | LORA), quantize="nf4", projector_learning_rate=1e-4)
    narrow, _ = load_for_training(policy, "float32", config, torch.device("cpu"))
    dense, _ = load_policy(policy.folder, "float32")
    for name, module in narrow.named_modules():
        if isinstance(module, bnb.nn.Linear4bit):
            weight: Any = module.weight
            wide = bnb.functional.dequantize_4bit(weight.data, weight.quant_state)
            dense.get_parameter(f"{name}.weight").data.copy_(wide)
    grads = []
    for model in (narrow, dense):
        torch.manual_seed(0)
        quantize = "nf4" if model is narrow else "none"
        wrapped = choose_trained(model, config.model_copy(update={"quantize": quantize}))
        trained = [weight for weight in wrapped.parameters() if weight.requires_grad]
        for weight in trained:
            weight.data += torch.randn_like(weight) * 0.02
        with torch.no_grad():
            answer(wrapped.eval())
        answer(wrapped.train()).backward()
        grads.append([weight.grad for weight in trained])
    for grad, other in zip(*grads, strict=True):
        torch.testing.assert_close(grad, other, rtol=1e-4, atol=1e-7)


def answer(wrapped: Any) -> torch.Tensor:
    """A number that depends on text and, through the projector, on an image."""
    model = wrapped.base
    ids = torch.tensor([[5, 6, 7, 8]])
    seen = model.model.connector.modality_projection.proj.weight.mean()
    embeddings = model.get_input_embeddings()(ids) + seen
    result: torch.Tensor = model(inputs_embeds=embeddings).logits.square().mean()
    return result
