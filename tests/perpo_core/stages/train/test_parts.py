"""Which part of a model a parameter is, at which rate it trains, and in which precision."""

from __future__ import annotations

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from perpo_core.policy.loading import load_policy
from perpo_core.stages.train.list_policy import ListPolicy
from perpo_core.stages.train.model import choose_trained
from perpo_core.stages.train.parts import name_part
from perpo_core.stages.train.saving import save_policy
from schemas.train_config import TrainConfig
from tests.perpo_core.stages.train.training import (
    LORA,
    TRAIN,
    build_trainer,
    copy_weights,
    read_points,
)
from tests.perpo_core.tiny_families import FAMILIES, build_tiny

pytestmark = pytest.mark.usefixtures("training_events")

RATES = {"projector_learning_rate": 5e-6, "vision_learning_rate": 5e-7}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_the_three_parts(family):
    """The language model is what get_decoder and the head hold, the projector is not empty."""
    model = build_tiny(family)
    language = {id(p) for p in model.get_decoder().parameters()} | {id(model.lm_head.weight)}
    by_part: dict[str, list[str]] = {"language": [], "projector": [], "vision": []}
    for name, parameter in model.named_parameters():
        by_part[name_part(name)].append(name)
        assert (name_part(name) == "language") == (id(parameter) in language), name
    assert all(by_part.values()), by_part
    inputs = model.get_decoder().config.hidden_size
    assert any(model.get_parameter(name).shape[0] == inputs for name in by_part["projector"])


@pytest.mark.parametrize(
    ("changes", "trained"),
    [
        (LORA, set()),
        (LORA | {"projector_learning_rate": 5e-6}, {"projector"}),
        (LORA | RATES, {"projector", "vision"}),
        ({}, {"language", "projector"}),
        ({"vision_learning_rate": 5e-7}, {"language", "projector", "vision"}),
    ],
)
def test_what_is_trained(policy, changes, trained):
    model, _ = load_policy(policy.folder, "float32")
    wrapped = choose_trained(model, TrainConfig(**(TRAIN | changes)))
    whole = {
        name_part(name)
        for name, weight in wrapped.named_parameters()
        if weight.requires_grad and ".lora_" not in name
    }
    assert whole == trained
    adapters = [name for name, _ in wrapped.named_parameters() if ".lora_" in name]
    assert bool(adapters) == (changes.get("adapter") == "lora")


@pytest.mark.parametrize("changes", [LORA, {"learning_rate": 1e-4}])
def test_each_part_moves_at_its_own_rate(trainable, tmp_path, changes):
    """AdamW's first step moves a weight by its learning rate, whatever the gradient's size."""
    trainer = build_trainer(trainable, tmp_path, epochs=0.5, max_grad_norm=1e6, **(RATES | changes))
    before = copy_weights(trainer.list_policy.base)
    trainer.train()
    assert trainer.state.global_step == 1
    steps = {"language": 0.0, "projector": 0.0, "vision": 0.0}
    for name, weight in copy_weights(trainer.list_policy.base).items():
        part = name_part(name)
        steps[part] = max(steps[part], (weight - before[name]).abs().max().item())
    assert steps["projector"] == pytest.approx(5e-6, rel=0.05)
    assert steps["vision"] == pytest.approx(5e-7, rel=0.2)  # float32 rounds the smallest steps
    assert steps["language"] == pytest.approx(trainer.args.learning_rate, rel=0.05)


def test_adapters_are_saved_as_peft_where_they_are_all(policy, tmp_path):
    for name, changes in (("alone", LORA), ("beside", LORA | {"projector_learning_rate": 5e-6})):
        model, _ = load_policy(policy.folder, "float32")
        wrapped = choose_trained(model, TrainConfig(**(TRAIN | changes)))
        folder = tmp_path / name
        save_policy(wrapped, policy, "float32", folder / "model", folder / "adapter")
        assert (folder / "adapter").exists() == (name == "alone")
    files = {path.name for path in (tmp_path / "alone" / "adapter").iterdir()}
    assert files == {"adapter_config.json", "adapter_model.safetensors"}
    settings = json.loads((tmp_path / "alone" / "adapter" / "adapter_config.json").read_text())
    assert settings["target_modules"] == sorted(settings["target_modules"])  # PEFT has a set
    assert settings["base_model_name_or_path"] == policy.folder.name


# Precision


@pytest.mark.parametrize(
    "changes", [LORA, {}, LORA | RATES, {"gradient_checkpointing": True}],
    ids=["lora", "full", "rates", "checkpointing"],
)  # fmt: skip
def test_bfloat16_trains_in_float32(trainable, policy, tmp_path, changes):
    """ln 2 at the start to the last bit, since the reference is computed as the policy is."""
    trainer = build_trainer(trainable, tmp_path, dtype="bfloat16", epochs=6, **changes)
    trained = [weight for weight in trainer.model.parameters() if weight.requires_grad]
    assert {weight.dtype for weight in trained} == {torch.float32}
    trainer.train()
    first, *_ = points = read_points(trainer)
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert min(point["loss"] for point in points[-4:]) < 0.65
    save_policy(trainer.list_policy, policy, "bfloat16", tmp_path / "model", tmp_path / "adapter")
    saved = load_file(tmp_path / "model" / "model.safetensors")
    assert {weight.dtype for weight in saved.values()} == {torch.bfloat16}


@pytest.mark.parametrize("changes", [{}, LORA])
def test_checkpointed_gradients_are_the_gradients(trainable, tmp_path, changes):
    ends = []
    for checkpointing in (False, True):
        trainer = build_trainer(
            trainable, tmp_path / str(checkpointing), gradient_checkpointing=checkpointing,
            **changes,
        )  # fmt: skip
        assert trainer.list_policy.base.is_gradient_checkpointing == checkpointing
        trainer.train()
        ends.append((read_points(trainer), copy_weights(trainer.model)))
    (points, weights), (other_points, other_weights) = ends
    assert other_points == points
    assert all(torch.equal(weights[name], other_weights[name]) for name in weights)


def test_a_policy_computes_as_it_is_told():
    model, ids = build_tiny("llava", torch.float32), torch.tensor([[5, 6, 7]])
    for autocast, dtype in ((False, torch.float32), (True, torch.bfloat16)):
        with ListPolicy(model, autocast=autocast).precision():
            assert model(input_ids=ids).logits.dtype == dtype
