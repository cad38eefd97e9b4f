"""What is trained, and which weights are kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForImageTextToText,
    LlavaConfig,
    Qwen2VLConfig,
    TrainingArguments,
)

from perpo_core.policy.loading import load_policy
from perpo_core.stages.train.history import choose_step, read_history
from perpo_core.stages.train.list_policy import ListPolicy
from perpo_core.stages.train.model import choose_trained
from perpo_core.stages.train.parts import find_language_linears
from perpo_core.stages.train.saving import save_policy
from perpo_core.stages.train.trainer import ListTrainer
from perpo_core.store.keys import hash_file
from schemas.artifact import RewardPoint
from schemas.train_config import TrainConfig
from tests.perpo_core.stages.train.small_lists import ScriptedSelection
from tests.perpo_core.stages.train.training import (
    LORA,
    NUM_STEPS,
    TRAIN,
    build_trainer,
    copy_weights,
    same_weights,
)

pytestmark = pytest.mark.usefixtures("training_events")


# What is trained


def test_adapters_sit_on_every_language_linear_and_on_nothing_else(policy):
    model, _ = load_policy(policy.folder, "float32")
    names = find_language_linears(model)
    assert len(names) == 7 * model.config.text_config.num_hidden_layers
    assert all(name.startswith("model.text_model.layers.") for name in names)
    wrapped = choose_trained(model, TrainConfig(**(TRAIN | LORA)))
    trained = [name for name, weight in wrapped.named_parameters() if weight.requires_grad]
    assert len(trained) == 2 * len(names)
    assert all(".text_model.layers." in name and ".lora_" in name for name in trained)
    for part in ("vision_model", "connector", "lm_head", "embed_tokens"):
        assert not any(part in name for name in trained)


@pytest.mark.parametrize("rate", [None, 1e-6])
def test_full_training_leaves_the_vision_tower_alone_unless_told(policy, rate):
    model, _ = load_policy(policy.folder, "float32")
    config = TrainConfig(adapter="full", vision_learning_rate=rate)
    for name, weight in choose_trained(model, config).named_parameters():
        assert weight.requires_grad == (rate is not None or "vision_model" not in name), name


def test_a_merged_folder_gives_the_adapters_logits(policy, tmp_path):
    model, processor = load_policy(policy.folder, "float32")
    wrapped = choose_trained(model, TrainConfig(**(TRAIN | LORA)))
    start = compute_logits(wrapped.policy, processor)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in wrapped.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.05)
    adapted = compute_logits(wrapped.policy, processor)
    assert (adapted - start).abs().max() > 0.1
    save_policy(wrapped, policy, "float32", tmp_path / "model", tmp_path / "adapter")
    merged, merged_processor = load_policy(tmp_path / "model", "float32")
    assert (compute_logits(merged, merged_processor) - adapted).abs().max() < 1e-3
    assert merged.lm_head.weight is merged.get_input_embeddings().weight
    names = {path.name for path in policy.folder.iterdir()}
    assert {path.name for path in (tmp_path / "model").iterdir()} == names
    for name in names - {"model.safetensors", "config.json", "generation_config.json"}:
        assert hash_file(tmp_path / "model" / name) == hash_file(policy.folder / name)


def compute_logits(model: Any, processor: Any) -> torch.Tensor:
    ids = processor.tokenizer("User:Where is the 7?\nAssistant:", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = model.eval()(input_ids=ids).logits
    assert isinstance(logits, torch.Tensor)
    return logits


# Which weights are kept


@pytest.mark.parametrize("changes", [{}, LORA])
def test_the_best_checkpoint_comes_back(trainable, tmp_path, changes):
    """Bit for bit, also when it is neither the last nor the one saved last."""
    measured: list[dict[str, torch.Tensor]] = []
    selection = ScriptedSelection(
        [0.1, 0.2, 0.9, 0.9, 0.3], look=lambda model: measured.append(copy_weights(model))
    )
    trainer = build_trainer(trainable, tmp_path, selection, **changes)
    trainer.train()
    assert len(measured) == 1 + NUM_STEPS
    assert not same_weights(measured[2], measured[4])
    assert same_weights(copy_weights(trainer.model), measured[2])
    _, points = read_history(trainer.state.log_history)
    assert [(point.step, point.mean_reward) for point in points] == [
        (0, 0.1), (1, 0.2), (2, 0.9), (3, 0.9), (4, 0.3),
    ]  # fmt: skip
    assert choose_step(points) == trainer.state.best_global_step == 2
    if not changes:
        assert trainer.model.base.lm_head.weight is trainer.model.base.get_input_embeddings().weight


def test_a_last_step_off_the_beat_is_measured_too(trainable, tmp_path):
    trainer = build_trainer(
        trainable, tmp_path, ScriptedSelection([0.1, 0.2, 0.3]), eval_every_steps=3
    )
    trainer.train()
    _, points = read_history(trainer.state.log_history)
    assert [point.step for point in points] == [0, 3, 4]
    assert trainer.state.best_global_step == 4


def tiny_family(name: str) -> Any:
    text = {
        "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    if name == "llava":
        vision = {
            "model_type": "clip_vision_model", "hidden_size": 16, "intermediate_size": 32,
            "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16, "patch_size": 8,
        }  # fmt: skip
        text_config = {"model_type": "llama", "pad_token_id": 0, **text}
        return LlavaConfig(text_config=text_config, vision_config=vision, image_token_index=60)
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
    return Qwen2VLConfig(
        text_config={**text, "rope_parameters": rope},
        vision_config={"depth": 1, "hidden_size": 16, "embed_dim": 16, "num_heads": 2},
        image_token_id=60,
        video_token_id=61,
    )


@pytest.mark.parametrize("family", ["llava", "qwen2_vl"])
def test_full_checkpoints_load_whatever_names_the_family_saves_under(tmp_path, family):
    model = AutoModelForImageTextToText.from_config(tiny_family(family))
    trainer = ListTrainer(
        model=ListPolicy(model),
        args=TrainingArguments(str(tmp_path), use_cpu=True, report_to="none", disable_tqdm=True),
        list_config=TrainConfig(adapter="full"),
        selection=None,
    )
    saved = copy_weights(model)
    trainer.save_model(str(tmp_path / "checkpoint-5"))
    for load in (
        lambda: trainer._load_from_checkpoint(str(tmp_path / "checkpoint-5")),
        trainer._load_best_model,
    ):
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(1)
        trainer.state.best_global_step = 5
        load()
        assert same_weights(copy_weights(model), saved)


def test_a_missing_best_checkpoint_is_said(trainable, tmp_path):
    trainer = build_trainer(trainable, tmp_path, **LORA)
    trainer.state.best_global_step = 5
    with pytest.raises(ValueError, match="checkpoint-5 is missing"):
        trainer._load_best_model()


@pytest.mark.parametrize(
    ("rewards", "step"),
    [
        ([0.5, 0.4, 0.3], 0),  # nothing beats the start
        ([0.5, 0.5, 0.5], 0),  # nor does an equal
        ([0.5, 0.6, 0.6], 10),  # the earliest of equals
        ([0.5, 0.6, 0.7], 20),
    ],
)
def test_the_step_that_is_chosen(rewards, step):
    points = [
        RewardPoint(step=10 * number, mean_reward=reward, per_task={})
        for number, reward in enumerate(rewards)
    ]
    assert choose_step(points) == step
