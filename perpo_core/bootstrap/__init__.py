"""`perpo bootstrap`: make the built-in policy from nothing, with the project's own trainer.

    1. vision:  the vision tower learns where digits are (perpo_core.bootstrap.vision)
    2. reading: the language model learns to look at image tokens (perpo_core.bootstrap.reading)
    3. answers: it learns to answer, from noisy labels (perpo_core.bootstrap.noise)
    4. comparisons: exact labels, mostly about extremes ("the leftmost digit")
    5. careless: the same from careless labels, so that rewards carry what it does not show

Stages 2 to 5 are the train stage's own trainer with the sft objective on packed lists. Weights are
rounded to bfloat16 and written as safetensors with tokenizer and processor. One process on CPU
threads; the same settings on the same machine give the same weights. A killed bootstrap resumes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainingArguments

from perpo_core.bootstrap.model import build_model, build_processor
from perpo_core.bootstrap.questions import (
    SceneDialogues,
    WriteDialogues,
    write_careless_comparisons,
    write_comparisons,
    write_dialogues,
)
from perpo_core.bootstrap.reading import write_readings
from perpo_core.bootstrap.start import look_for_digits, show_to_connector
from perpo_core.bootstrap.vision import pretrain_vision
from perpo_core.stages.train.budget import choose_count
from perpo_core.stages.train.checkpoints import find_checkpoint
from perpo_core.stages.train.list_policy import ListPolicy
from perpo_core.stages.train.loader import Collator
from perpo_core.stages.train.trainer import ListTrainer
from schemas.bootstrap import BootstrapConfig, DialogueStage
from schemas.train_config import TrainConfig

LOG_FILE = "bootstrap.jsonl"
Note = Callable[[dict[str, Any]], None]


def bootstrap(
    config: BootstrapConfig, folder: Path, work: Path, log: Callable[[str], None]
) -> Path:
    """Make the policy in `folder`; `work` holds what a killed bootstrap resumes from."""
    torch.set_num_threads(config.threads)
    work.mkdir(parents=True, exist_ok=True)
    processor = build_processor()
    model: Any = build_model(processor, config.seed)
    note = build_notebook(work / LOG_FILE, log)
    run_once(model, work / "vision.pt", lambda: _see(model, processor, config, note))
    model.model.vision_model.requires_grad_(False)  # it sees; steps this large would blind it
    for name, write, stage in (
        ("reading", write_readings, config.reading),
        ("answers", write_dialogues, config.answers),
        ("comparisons", write_comparisons, config.comparisons),
        ("careless", write_careless_comparisons, config.careless),
    ):
        trainer = build_trainer(model, processor, write, stage, config.seed, work / name, note)
        run_once(model, work / f"{name}.pt", lambda trainer=trainer: _train(trainer))  # type: ignore[misc]
    model.to(torch.bfloat16).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def build_notebook(path: Path, log: Callable[[str], None]) -> Note:
    """What writes the log: JSON lines in a file, and a line for the reader."""

    def note(entry: dict[str, Any]) -> None:
        with path.open("a") as handle:
            handle.write(json.dumps(entry) + "\n")
        log(", ".join(f"{name} {value}" for name, value in entry.items()))

    return note


def run_once(model: Any, path: Path, work: Callable[[], None]) -> None:
    """The model as a stage left it: from the stage's file if it is there, else by working."""
    if not path.is_file():
        work()
        part = path.with_suffix(".part")
        torch.save(model.state_dict(), part)
        part.replace(path)  # a kill leaves the whole file or none
    model.load_state_dict(torch.load(path, weights_only=True))


def _see(model: Any, processor: Any, config: BootstrapConfig, note: Note) -> None:
    head = pretrain_vision(
        model.model.vision_model,
        processor.image_processor,
        steps=config.vision_steps,
        batch_scenes=config.vision_batch_scenes,
        learning_rate=config.vision_learning_rate,
        seed=config.seed,
        report=lambda step, metrics: note(
            {"stage": "vision", "step": step, **{k: round(v, 4) for k, v in metrics.items()}}
        ),
    )
    digit_ids = processor.tokenizer.convert_tokens_to_ids(list("0123456789"))
    embeddings = model.get_input_embeddings().weight.detach()
    show_to_connector(head, model.model.connector, embeddings[digit_ids])
    look_for_digits(model.model.text_model.layers[0].self_attn, embeddings[digit_ids])


class Notes(TrainerCallback):
    """Writes the Trainer's loss into the notebook."""

    def __init__(self, stage: str, note: Note) -> None:
        self._stage, self._note = stage, note

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        del args, control, kwargs
        if logs and "loss" in logs:
            loss = round(float(logs["loss"]), 4)
            self._note({"stage": self._stage, "step": state.global_step, "loss": loss})


def build_trainer(
    model: Any,
    processor: Any,
    write: WriteDialogues,
    stage: DialogueStage,
    seed: int,
    work: Path,
    note: Note,
) -> ListTrainer:
    """The project's trainer on scenes with dialogues."""
    arguments = TrainingArguments(
        output_dir=str(work),
        per_device_train_batch_size=stage.batch_scenes,
        max_steps=stage.steps,
        learning_rate=stage.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=stage.warmup_steps,
        adam_beta2=0.98,
        logging_steps=50,
        save_steps=500,
        save_total_limit=1,
        seed=seed,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    num_scenes = stage.steps * stage.batch_scenes
    config = TrainConfig(
        objective="sft", adapter="full", learning_rate=stage.learning_rate, weight_decay=0.01
    )
    return ListTrainer(
        model=ListPolicy(model),
        args=arguments,
        train_dataset=SceneDialogues(num_scenes, seed, processor, write),
        data_collator=Collator(
            processor.tokenizer.pad_token_id,
            stage.batch_scenes,
            config.micro_batch_tokens,
            choose_count(model),
        ),
        list_config=config,
        selection=None,
        callbacks=[Notes(work.name, note)],
    )


def _train(trainer: ListTrainer) -> None:
    trainer.train(resume_from_checkpoint=find_checkpoint(Path(str(trainer.args.output_dir))))
