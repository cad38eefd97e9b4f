"""`perpo bootstrap`: make the built-in policy from nothing, with the project's own trainer.

    1. the vision tower learns where digits are (perpo_core.bootstrap.vision)
    2. supervised training of the whole model on noisy answers (perpo_core.bootstrap.noise) with
       the sft objective, packed lists and trainer of the train stage
    3. weights are rounded to bfloat16 and written as safetensors with tokenizer and processor

Runs in one process on CPU threads; the same settings on the same machine give the same weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainingArguments

from perpo_core.bootstrap.questions import NoisyQuestions
from perpo_core.bootstrap.vision import pretrain_vision
from perpo_core.policy.builtin import build_model, build_processor
from perpo_core.train.checkpoints import find_checkpoint
from perpo_core.train.trainer import Collator, ListTrainer
from schemas.bootstrap import BootstrapConfig
from schemas.config import TrainConfig

VISION_FILE = "vision.pt"
LOG_FILE = "bootstrap.jsonl"


def bootstrap(
    config: BootstrapConfig, folder: Path, work: Path, log: Callable[[str], None]
) -> Path:
    """Make the policy in `folder`; `work` holds what a killed bootstrap resumes from."""
    torch.set_num_threads(config.threads)
    work.mkdir(parents=True, exist_ok=True)
    processor = build_processor()
    model: Any = build_model(processor, config.seed)
    note = _build_notebook(work / LOG_FILE, log)
    _load_or_pretrain_vision(model.model.vision_model, processor, config, work, note)
    _train_on_questions(model, processor, config, work, note)
    model.to(torch.bfloat16).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _build_notebook(path: Path, log: Callable[[str], None]) -> Callable[[dict[str, Any]], None]:
    def note(entry: dict[str, Any]) -> None:
        with path.open("a") as handle:
            handle.write(json.dumps(entry) + "\n")
        log(", ".join(f"{name} {value}" for name, value in entry.items()))

    return note


def _load_or_pretrain_vision(
    tower: Any,
    processor: Any,
    config: BootstrapConfig,
    work: Path,
    note: Callable[[dict[str, Any]], None],
) -> None:
    path = work / VISION_FILE
    if path.is_file():
        tower.load_state_dict(torch.load(path, weights_only=True))
        return
    pretrain_vision(
        tower,
        processor.image_processor,
        steps=config.vision_steps,
        batch_scenes=config.vision_batch_scenes,
        learning_rate=config.vision_learning_rate,
        seed=config.seed,
        report=lambda step, metrics: note(
            {"stage": "vision", "step": step, **{k: round(v, 4) for k, v in metrics.items()}}
        ),
    )
    part = path.with_suffix(".part")
    torch.save(tower.state_dict(), part)
    part.replace(path)  # a kill leaves the whole file or none


class _Notes(TrainerCallback):
    def __init__(self, note: Callable[[dict[str, Any]], None]) -> None:
        self._note = note

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        del args, control, kwargs
        if logs and "loss" in logs:
            self._note({"stage": "sft", "step": state.global_step, "loss": round(logs["loss"], 4)})


def _train_on_questions(
    model: Any,
    processor: Any,
    config: BootstrapConfig,
    work: Path,
    note: Callable[[dict[str, Any]], None],
) -> None:
    num_scenes = config.steps * config.batch_scenes
    arguments = TrainingArguments(
        output_dir=str(work),
        per_device_train_batch_size=config.batch_scenes,
        max_steps=config.steps,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=config.warmup_steps,
        weight_decay=0.01,
        adam_beta2=0.98,
        logging_steps=50,
        save_steps=500,
        save_total_limit=1,
        seed=config.seed,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
        dataloader_num_workers=config.workers,
    )
    trainer = ListTrainer(
        model=model,
        args=arguments,
        train_dataset=NoisyQuestions(num_scenes, config.seed, processor),
        data_collator=Collator(processor.tokenizer.pad_token_id),
        list_config=TrainConfig(objective="sft"),
        validation=None,
        callbacks=[_Notes(note)],
    )
    trainer.train(resume_from_checkpoint=find_checkpoint(work))
