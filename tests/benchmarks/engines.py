"""The trainings that are compared, each in a child process that works when it is told to.

packed              ours: a list is one sequence; beside the training step a reference pass, which a
                    run makes once for all lists before training
packed-cached-ref   the same with the reference log-probabilities at hand, as from the second epoch
separate            as the released PerPO code (github.com/ningerhhh/PerPO, e39a24a): a sequence an
                    answer, the image in each, logits of every token, a second model as reference
trl                 TRL's DPOTrainer on best-against-rest pairs, four pairs a batch, without the
                    gradient checkpointing that it turns on by default and that would cost it time

All run transformers.Trainer from raw images and words to AdamW, a list a step (TRL: as many whole
batches as hold a list's pairs), float32.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from perpo_core.stages.train.budget import count_packed
from perpo_core.stages.train.data import RankedList
from perpo_core.stages.train.list_policy import ListPolicy
from perpo_core.stages.train.loader import Collator
from perpo_core.stages.train.objectives import ListBatch
from perpo_core.stages.train.objectives.perpo import compute_perpo_loss
from perpo_core.stages.train.packing import PackableList
from perpo_core.stages.train.references import compute_rows
from perpo_core.stages.train.trainer import ListTrainer
from schemas.train_config import TrainConfig
from tests.benchmarks.llava import PAD, Lists, Shape, build_model, build_processor, make_example

CONFIG = TrainConfig(adapter="full", learning_rate=1e-5, vision_learning_rate=1e-5)
PAIRS = 4  # of TRL's batches
ARGUMENTS: dict[str, Any] = {
    "learning_rate": 1e-5, "lr_scheduler_type": "constant", "logging_steps": 1,
    "per_device_train_batch_size": 1, "train_sampling_strategy": "sequential",
    "save_strategy": "no", "report_to": "none", "disable_tqdm": True, "use_cpu": True,
    "dataloader_pin_memory": False, "remove_unused_columns": False,
}  # fmt: skip


@dataclass(frozen=True)
class Training:
    """A trainer, the lists of one of its steps, and the tokens that a list costs it."""

    trainer: Trainer
    lists_per_step: float
    tokens_per_list: int


class ListsWithReference(Dataset[RankedList]):
    """Lists and what the start model said of them."""

    def __init__(self, lists: Lists, ref_logps_PG: list[list[float]]) -> None:
        self._lists, self._ref_logps_PG = lists, ref_logps_PG

    def __len__(self) -> int:
        return len(self._ref_logps_PG)

    def __getitem__(self, index: int) -> RankedList:
        return replace(self._lists[index], ref_logps_G=self._ref_logps_PG[index])


class PackedTrainer(ListTrainer):
    """Repeats the reference pass beside the step: its values are known, its time is what counts."""

    repeat_reference = True
    train_dataset: ListsWithReference

    def get_train_dataloader(self) -> Any:
        """The lists in their order, as the other engines take them."""
        return DataLoader(self.train_dataset, collate_fn=self.data_collator)

    def training_step(
        self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Tensor:
        if self.repeat_reference:
            ranked = self.train_dataset[self.state.global_step]
            compute_rows(self.list_policy, [ranked], PAD)
        return super().training_step(model, inputs, *args, **kwargs)


def build_packed(shape: Shape, num_steps: int, work: Path, cached: bool = False) -> Training:
    model, processor = build_model(), build_processor()
    lists = Lists(num_steps, shape, processor)

    policy = ListPolicy(model)
    references = [compute_rows(policy, [lists[index]], PAD)[0] for index in range(num_steps)]
    trainer = PackedTrainer(
        model=policy,
        args=TrainingArguments(str(work), max_steps=num_steps, **ARGUMENTS),
        train_dataset=ListsWithReference(lists, references),
        data_collator=Collator(
            PAD, CONFIG.micro_batch_lists, CONFIG.micro_batch_tokens, count_packed
        ),
        list_config=CONFIG,
        selection=None,
    )
    trainer.repeat_reference = not cached
    return Training(trainer, 1, shape.packed_tokens)


def build_packed_cached(shape: Shape, num_steps: int, work: Path) -> Training:
    return build_packed(shape, num_steps, work, cached=True)


class SeparateTrainer(Trainer):
    """A row an answer, with a frozen copy of the model as reference."""

    def __init__(self, *, reference: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._reference = reference

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Tensor:
        del args, kwargs
        rewards_1G, num_scored = inputs["rewards"][None], int(inputs["num_scored"])
        logps_G = compute_full_logps(model, inputs["rows"], num_scored)
        with torch.no_grad():
            ref_logps_G = compute_full_logps(self._reference, inputs["rows"], num_scored)
        batch = ListBatch(
            logps_PG=logps_G[None],
            ref_logps_PG=ref_logps_G[None],
            rewards_PG=rewards_1G,
            mask_PG=torch.ones_like(rewards_1G).bool(),
            num_tokens_PG=torch.full_like(rewards_1G, num_scored),
        )
        return compute_perpo_loss(batch, CONFIG).sum()


def compute_full_logps(model: Any, rows: dict[str, Tensor], num_scored: int) -> Tensor:
    """Log-probability of the last tokens of every row, all of them together: [G]."""
    return compute_full_token_logps(model, rows, num_scored).sum(1)


def compute_full_token_logps(model: Any, rows: dict[str, Tensor], num_scored: int) -> Tensor:
    """Of each of the last tokens of every row, by logits of all tokens: [G, num_scored]."""
    logits_GTV = model(**rows).logits[:, :-1].float()  # as models of bfloat16 are trained
    targets_GT = rows["input_ids"][:, 1:]
    logps_GT = logits_GTV.log_softmax(-1).gather(2, targets_GT[..., None]).squeeze(2)
    return logps_GT[:, targets_GT.shape[1] - num_scored :]


def spread_list(lists: list[RankedList]) -> dict[str, Any]:
    """One list as rows of prompt and answer, the image in each."""
    (ranked,) = lists
    return {
        "rows": spread_rows(ranked.packable),
        "rewards": torch.tensor(ranked.rewards_G, dtype=torch.float64),
        "num_scored": len(ranked.packable.branches[0].ids),
    }


def spread_rows(packable: PackableList) -> dict[str, Tensor]:
    """A model's inputs, a row an answer; the answers are of equal length."""
    ids_GT = torch.tensor([[*packable.prefix_ids, *branch.ids] for branch in packable.branches])
    pixels = packable.vision["pixel_values"].repeat(len(ids_GT), 1, 1, 1)
    return {
        "input_ids": ids_GT, "attention_mask": torch.ones_like(ids_GT), "pixel_values": pixels,
    }  # fmt: skip


def build_separate(shape: Shape, num_steps: int, work: Path) -> Training:
    trainer = SeparateTrainer(
        model=build_model(),
        reference=build_model().eval(),
        args=TrainingArguments(str(work), max_steps=num_steps, **ARGUMENTS),
        train_dataset=Lists(num_steps, shape, build_processor()),
        data_collator=spread_list,
    )
    return Training(trainer, 1, shape.group_size * shape.sequence_tokens)


def build_trl(shape: Shape, num_steps: int, work: Path) -> Training:
    from datasets import Dataset as Rows
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    rest = shape.group_size - 1
    batches = -(-rest // PAIRS)
    lists_per_step = batches * PAIRS / rest
    rows = [
        {"images": [example.image], "prompt": example.prompt, "chosen": f" {example.answers[0]}",
         "rejected": f" {answer}"}
        for example in (make_example(i, shape) for i in range(int(num_steps * lists_per_step) + 1))
        for answer in example.answers[1:]
    ]  # fmt: skip
    arguments = ARGUMENTS | {"per_device_train_batch_size": PAIRS}
    trainer = DPOTrainer(
        model=build_model(),
        ref_model=build_model(),
        args=DPOConfig(
            str(work), max_steps=num_steps, gradient_accumulation_steps=batches, max_length=None,
            bf16=False, gradient_checkpointing=False, **arguments,
        ),
        train_dataset=Rows.from_list(rows),
        processing_class=build_processor(),
    )  # fmt: skip
    return Training(trainer, lists_per_step, 2 * rest * shape.sequence_tokens)


ENGINES: dict[str, Callable[[Shape, int, Path], Training]] = {
    "packed": build_packed,
    "packed-cached-ref": build_packed_cached,
    "separate": build_separate,
    "trl": build_trl,
}


class Rounds(TrainerCallback):
    """Trains a round of steps whenever the parent says so, and answers with the seconds it took."""

    def __init__(self, connection: Connection, steps_per_round: int) -> None:
        self._connection, self._steps = connection, steps_per_round
        self._started_s = 0.0
        self.losses: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._wait(control)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self._steps == 0:
            self._connection.send(time.perf_counter() - self._started_s)
            self._wait(control)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        self.losses += [logs["loss"]] if "loss" in logs else []

    def _wait(self, control: Any) -> None:
        control.should_training_stop = not self._connection.recv()
        self._started_s = time.perf_counter()


def serve(
    connection: Connection, engine: str, shape: Shape, num_rounds: int, steps_per_round: int,
    threads: int, work: Path,
) -> None:  # fmt: skip
    """The child: says when it is ready, trains rounds, and ends with what they cost."""
    os.dup2(2, 1)  # the last line of stdout belongs to the parent
    torch.set_num_threads(threads)
    if engine == "trl":
        import trl  # noqa: F401  (its import is there at the start)
    start_bytes = read_memory("VmRSS")
    training = ENGINES[engine](shape, (num_rounds + 1) * steps_per_round, work)
    rounds = Rounds(connection, steps_per_round)
    training.trainer.add_callback(rounds)
    training.trainer.remove_callback(PrinterCallback)
    connection.send("ready")
    training.trainer.train()
    connection.send(
        {
            "start_bytes": start_bytes,
            "peak_bytes": read_memory("VmHWM"),
            "lists_per_round": steps_per_round * training.lists_per_step,
            "tokens_per_list": training.tokens_per_list,
            "losses": rounds.losses,
        }
    )


def read_memory(field: str) -> int:
    """Bytes of /proc/self/status: VmRSS is resident now, VmHWM was at most."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024
