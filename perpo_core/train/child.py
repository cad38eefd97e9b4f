"""The training child process: load, reference once, train, choose a checkpoint, save, exit."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import EarlyStoppingCallback, TrainerCallback, TrainingArguments

from perpo_core.child import emit, load_job
from perpo_core.objectives.combine import find_needs
from perpo_core.objectives.metrics import LIST_METRICS
from perpo_core.train.checkpoints import find_checkpoint
from perpo_core.train.data import (
    CroppedLists,
    RankedLists,
    TrainBatch,
    collate_lists,
    split_by_tokens,
)
from perpo_core.train.families import find_obstacle
from perpo_core.train.model import choose_trained, load_policy, save_policy
from perpo_core.train.trainer import Collator, ListTrainer, compute_reference_logps
from perpo_core.train.validation import ValidationReward
from schemas.artifact import TrainPoint, ValidationPoint
from schemas.config import TrainConfig
from schemas.run import PolicyRef, TrainJob


def main() -> None:
    job = load_job(TrainJob)
    config = job.config.train
    torch.manual_seed(config.seed)
    extra_ref_logps_KPG = [_compute_extra_reference(job, ref) for ref in job.extra_references]
    model, processor = _load_model(job, job.policy)
    report_obstacle(model)
    lists = RankedLists(job.preferences_file, processor)
    lists.extra_ref_logps_KPG = extra_ref_logps_KPG
    attach_references(model, lists, processor, config)
    validation = ValidationReward(job.samples_file, processor, job.config, job.policy.folder)
    work = job.folder / "work"
    resumed = find_checkpoint(work)
    if resumed:
        emit("log", message=f"resuming from {Path(resumed).name}")
    trainer = build_trainer(
        choose_trained(model, config), lists, validation, processor, config, work, not resumed
    )
    trainer.train(resume_from_checkpoint=resumed)
    history, points = read_history(trainer.state.log_history)
    chosen = choose_step(points) if points else trainer.state.global_step
    folder = job.folder / "model"
    shutil.rmtree(folder, ignore_errors=True)
    if chosen == 0:
        emit("log", message="no checkpoint beat the start on validation; the start is kept")
        shutil.copytree(job.policy.folder, folder)  # the same digest: its answers are known already
    else:
        save_policy(trainer.model, job.policy.folder, folder)
    shutil.rmtree(work, ignore_errors=True)
    emit(
        "result",
        chosen_step=chosen,
        history=[point.model_dump() for point in history],
        validation=[point.model_dump() for point in points],
        device=str(trainer.args.device),
    )


def _load_model(job: TrainJob, policy: PolicyRef) -> tuple[Any, Any]:
    model, processor = load_policy(policy.folder, job.config.policy.dtype)
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), processor


def _compute_extra_reference(job: TrainJob, reference: PolicyRef) -> list[list[float]]:
    """Log-probabilities of every answer under a further reference, which is gone afterwards."""
    emit("log", message=f"reference log-probabilities under {reference.folder}")
    model, processor = _load_model(job, reference)
    lists = RankedLists(job.preferences_file, processor)
    return _compute_reference(model, lists, processor, job.config.train)


def attach_references(model: Any, lists: RankedLists, processor: Any, config: TrainConfig) -> None:
    """Give the lists what the loss needs of the start model: log-probabilities, crops."""
    needs = find_needs(config)
    if "reference" in needs:
        emit("log", message=f"reference log-probabilities of {len(lists)} lists")
        lists.ref_logps_PG = _compute_reference(model, lists, processor, config)
    if "crop" in needs:
        emit("log", message=f"reference log-probabilities of {len(lists)} crops")
        crops = CroppedLists(lists, processor, config.seed)
        crops.ref_logps_PG = _compute_reference(model, crops, processor, config)
        lists.crops = crops


def report_obstacle(model: Any) -> None:
    """Say so when the model's answers cannot share their prompt: it costs time, nothing else."""
    if obstacle := find_obstacle(model):
        emit("log", message=f"answers cannot share their prompt, since {obstacle}; each is trained "
             "as a sequence of its own, image included")  # fmt: skip


def _compute_reference(
    model: Any, lists: RankedLists | CroppedLists, processor: Any, config: TrainConfig
) -> list[list[float]]:
    """In the same batches as a forward of training, in the file's order."""
    size = config.micro_batch_lists

    def batches() -> Iterator[TrainBatch]:
        for start in range(0, len(lists), size):
            members = [lists[i] for i in range(start, min(start + size, len(lists)))]
            for part in split_by_tokens(members, config.micro_batch_tokens):
                yield collate_lists(part, processor.tokenizer.pad_token_id)
            emit("progress", done=min(start + size, len(lists)), total=len(lists), unit="lists")

    return compute_reference_logps(model, batches(), model.device)


def build_trainer(
    model: Any,
    lists: RankedLists,
    validation: ValidationReward,
    processor: Any,
    config: TrainConfig,
    work: Path,
    measure_start: bool,
) -> ListTrainer:
    """A trainer that saves, evaluates and remembers the best checkpoint at the same steps."""
    num_steps = max(1, math.ceil(math.ceil(len(lists) / config.batch_lists) * config.epochs))
    every = min(config.eval_every_steps, num_steps)
    measured = len(validation) > 0
    arguments = TrainingArguments(
        output_dir=str(work),
        per_device_train_batch_size=config.micro_batch_lists,
        gradient_accumulation_steps=config.batch_lists // config.micro_batch_lists,
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.schedule,
        warmup_steps=math.ceil(config.warmup_share * num_steps),
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        adam_beta2=0.98,
        logging_steps=1,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        eval_strategy="steps" if measured else "no",
        eval_steps=every,
        eval_on_start=measured and measure_start,  # step 0 is a candidate: training may only harm
        load_best_model_at_end=measured,
        metric_for_best_model="eval_reward" if measured else None,
        greater_is_better=True,
        seed=config.seed,
        data_seed=config.seed,
        full_determinism=False,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        restore_callback_states_from_checkpoint=True,  # patience goes on where it was
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # DataParallel cannot split packed lists
    callbacks: list[TrainerCallback] = [Reporter(num_steps)]
    if measured:
        callbacks.append(EarlyStoppingCallback(config.patience))
    return ListTrainer(
        model=model,
        args=arguments,
        train_dataset=lists,
        eval_dataset=lists if measured else None,  # evaluate() answers its own prompts
        data_collator=Collator(processor.tokenizer.pad_token_id, config.micro_batch_tokens),
        list_config=config,
        validation=validation if measured else None,
        callbacks=callbacks,
    )


class Reporter(TrainerCallback):
    """Turns the Trainer's log into events for the parent."""

    def __init__(self, num_steps: int) -> None:
        self._num_steps = num_steps

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        del args, control, kwargs
        if logs and "loss" in logs:
            emit("progress", done=state.global_step, total=self._num_steps, unit="steps",
                 loss=logs["loss"])  # fmt: skip
        if logs and "eval_reward" in logs:
            emit("log", message=f"step {state.global_step}: validation reward "
                 f"{logs['eval_reward']:.4f}")  # fmt: skip


def read_history(log: list[dict[str, Any]]) -> tuple[list[TrainPoint], list[ValidationPoint]]:
    """The Trainer's log as typed points."""
    history = [
        TrainPoint(
            step=entry["step"],
            loss=entry["loss"],
            grad_norm=float(entry.get("grad_norm", 0.0)),
            learning_rate=entry["learning_rate"],
            metrics={name: entry[name] for name in LIST_METRICS if name in entry},
            tokens_per_second=entry["tokens_per_second"],
            peak_memory_gb=entry["peak_memory_gb"],
        )
        for entry in log
        if "loss" in entry
    ]
    validation = [
        ValidationPoint(
            step=entry["step"],
            mean_reward=entry["eval_reward"],
            per_task={
                name.removeprefix("eval_reward_"): value
                for name, value in entry.items()
                if name.startswith("eval_reward_")
            },
        )
        for entry in log
        if "eval_reward" in entry
    ]
    return history, validation


def choose_step(points: list[ValidationPoint]) -> int:
    """The step with the best validation reward, the earliest of equals."""
    return max(points, key=lambda point: (point.mean_reward, -point.step)).step


if __name__ == "__main__":
    main()
