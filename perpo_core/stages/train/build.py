"""From the train section of a configuration to a trainer."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from transformers import EarlyStoppingCallback, TrainerCallback, TrainingArguments

from perpo_core.stages.train.budget import choose_count
from perpo_core.stages.train.data import RankedLists
from perpo_core.stages.train.history import Reporter
from perpo_core.stages.train.list_policy import ListPolicy
from perpo_core.stages.train.loader import Collator
from perpo_core.stages.train.selection import SelectionReward
from perpo_core.stages.train.trainer import ListTrainer
from schemas.train_config import TrainConfig


def build_trainer(
    model: ListPolicy,
    lists: RankedLists,
    selection: SelectionReward,
    processor: Any,
    config: TrainConfig,
    work: Path,
    measure_start: bool,
) -> ListTrainer:
    """A trainer that saves, evaluates and remembers the best checkpoint at the same steps."""
    num_steps = max(1, math.ceil(math.ceil(len(lists) / config.batch_lists) * config.epochs))
    measured = len(selection) > 0
    callbacks: list[TrainerCallback] = [Reporter(num_steps, config.displacement_nats)]
    if measured:
        callbacks.append(EarlyStoppingCallback(config.patience))
    pad_id = processor.tokenizer.pad_token_id
    return ListTrainer(
        model=model,
        args=build_arguments(config, work, num_steps, measured, measure_start, model.layer_name),
        train_dataset=lists,
        eval_dataset=lists if measured else None,  # evaluate() answers its own prompts
        data_collator=Collator(
            pad_id,
            config.micro_batch_lists,
            config.micro_batch_tokens,
            choose_count(model.base),
        ),
        list_config=config,
        selection=selection if measured else None,
        callbacks=callbacks,
    )


def build_arguments(
    config: TrainConfig,
    work: Path,
    num_steps: int,
    measured: bool,
    measure_start: bool,
    layer_name: str,
) -> TrainingArguments:
    """The library's arguments; an optimiser step is one batch of its, whose parts are ours.

    `layer_name` is the class of the decoder's layers, each of which is sharded as one.
    """
    every = min(config.eval_every_steps, num_steps)
    arguments = TrainingArguments(
        output_dir=str(work),
        per_device_train_batch_size=config.batch_lists,
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.schedule,
        warmup_steps=math.ceil(config.warmup_share * num_steps),
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        adam_beta2=config.adam_beta2,
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
        report_to=list(config.trackers),
        disable_tqdm=True,
        restore_callback_states_from_checkpoint=True,  # patience goes on where it was
        use_cpu=not torch.cuda.is_available(),
        ddp_find_unused_parameters=True,  # a part without images leaves the projector alone
        dataloader_pin_memory=False,
        fsdp="full_shard" if config.sharding == "fsdp" else None,
        fsdp_config={"version": 2, "transformer_layer_cls_to_wrap": [layer_name]},
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # DataParallel cannot split packed lists
    return arguments
