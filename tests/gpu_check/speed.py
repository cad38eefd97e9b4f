"""Part speed: training steps of a LLaVA in bfloat16 with LoRA, packed lists against separate ones.

Both run the same ListTrainer on the same lists, the reference at hand; only the forward differs:
perpo's packed one, or a row an answer with the image in each and logits of every token, as the
released PerPO code has it (tests.benchmarks.engines). A forward pass takes as many lists as
`micro_batch_tokens` allow, of either's tokens. Images are processed before the clock starts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PrinterCallback, TrainerCallback
from transformers.trainer_utils import SaveStrategy

from perpo_core.process.child import emit, load_job
from perpo_core.stages.train.attention_ways import choose_way
from perpo_core.stages.train.budget import count_apart, count_packed
from perpo_core.stages.train.build import build_arguments
from perpo_core.stages.train.data import RankedList, TrainBatch
from perpo_core.stages.train.list_policy import ListPolicy
from perpo_core.stages.train.loader import Collator
from perpo_core.stages.train.meters import read_peak_memory_bytes
from perpo_core.stages.train.model import choose_trained
from perpo_core.stages.train.packing import PackableList
from perpo_core.stages.train.trainer import ListTrainer
from schemas.train_config import TrainConfig
from tests.benchmarks.engines import compute_full_token_logps, spread_rows
from tests.benchmarks.llava import PAD, Lists, Shape, build_processor
from tests.gpu_check.cases import Figures, report_case
from tests.gpu_check.flops import count_flops
from tests.gpu_check.models import MINIATURES, SIZES, build_model
from tests.gpu_check.plan import PartJob

SHAPES = (Shape(20, 20), Shape(5, 300))
SMALL_SHAPES = (Shape(4, 20), Shape(2, 60))
BATCH_LISTS, SMALL_BATCH_LISTS = 8, 2  # an optimiser step
RANK, SMALL_RANK = 128, 8
WARM_UP_STEPS = 1
MOST_STEPS, SMALL_MOST_STEPS = 12, 1  # that are counted
MEASURED_S = 8.0  # after which no step begins that is counted
SAME_LOSS = 0.02  # relative, of the first step: speed means nothing unless the work is the same


class SeparatePolicy(ListPolicy):
    """The same policy on a row an answer."""

    def _compute(self, batch: TrainBatch) -> tuple[Tensor, None]:
        """[M], of lists that are all of one shape; no degree is told."""
        rows = [spread_rows(self._take(packable)) for packable in batch.packed.lists]
        inputs = {
            name: torch.cat([each[name] for each in rows]).to(self.device) for name in rows[0]
        }
        num_scored = len(batch.packed.lists[0].branches[0].ids)
        return compute_full_token_logps(self.base, inputs, num_scored).flatten(), None

    def _take(self, packable: PackableList) -> PackableList:
        """Its image on the device, where it is repeated."""
        vision = {name: value.to(self.device) for name, value in packable.vision.items()}
        return replace(packable, vision=vision)


METHODS: dict[str, type[ListPolicy]] = {"packed": ListPolicy, "separate": SeparatePolicy}


class ReadyLists(Dataset[RankedList]):
    """The same few lists again and again."""

    def __init__(self, lists: Sequence[RankedList], length: int) -> None:
        self._lists, self._length = lists, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> RankedList:
        return self._lists[index % len(self._lists)]


class Stopwatch(TrainerCallback):
    """Times the steps after the warm-up, and ends the training when there are enough."""

    def __init__(self, most_steps: int) -> None:
        self.seconds: list[float] = []
        self._most_steps = most_steps
        self._num_steps, self._last_s = 0, 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now_s = time.perf_counter()
        self._num_steps += 1
        if self._num_steps > WARM_UP_STEPS:
            self.seconds.append(now_s - self._last_s)
        self._last_s = now_s
        if len(self.seconds) == self._most_steps or sum(self.seconds) > MEASURED_S:
            control.should_training_stop = True


def main() -> None:
    job = load_job(PartJob)
    size = (MINIATURES if job.miniature else SIZES)[job.size]
    config = TrainConfig(
        lora_rank=SMALL_RANK if job.miniature else RANK,
        batch_lists=SMALL_BATCH_LISTS if job.miniature else BATCH_LISTS,
        gradient_checkpointing=size.gradient_checkpointing,
        schedule="constant",
        trackers=[],
    )
    trained = choose_trained(build_model(job.size, job.miniature, job.device), config)
    # What matters most first: the first of these rows stay if the last ones break.
    for shape in SMALL_SHAPES if job.miniature else SHAPES:
        losses: list[float] = []
        for method in METHODS:
            case = f"{job.size} {shape.name} {method}"
            report_case(case, partial(measure, trained, method, shape, config, job, losses))
    emit("result")


def measure(
    trained: ListPolicy,
    method: str,
    shape: Shape,
    config: TrainConfig,
    job: PartJob,
    losses: list[float],
) -> Figures:
    """Lists and tokens a second, share of peak, and peak memory of one method.

    `losses` are the first ones of the methods on this shape, in turn.
    """
    policy = METHODS[method](trained.policy, trained.autocast)
    start_anew(policy)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    watch = Stopwatch(SMALL_MOST_STEPS if job.miniature else MOST_STEPS)
    trainer = build_trainer(policy, method, shape, config, job.folder)
    trainer.add_callback(watch)
    trainer.train()
    lists_per_s = config.batch_lists * len(watch.seconds) / sum(watch.seconds)
    packed = method == "packed"
    tokens = shape.packed_tokens if packed else shape.group_size * shape.sequence_tokens
    flops_per_s = lists_per_s * count_flops(policy, shape, packed)
    losses.append(trainer.state.log_history[0]["loss"])
    return {
        "result": "measured" if abs(losses[-1] / losses[0] - 1) <= SAME_LOSS else "failed",
        "lists_per_s": round(lists_per_s, 4),
        "tokens_per_s": round(lists_per_s * tokens),
        "share_of_peak": round(flops_per_s / job.peak_flops, 4) if job.peak_flops else None,
        "peak_gib": round(read_peak_memory_bytes() / 2**30, 2),
        "steps": len(watch.seconds),
        "gradient_checkpointing": config.gradient_checkpointing,
        "loss": losses[-1],
        "way": choose_way(policy.heads).way if packed else None,
    }


@torch.no_grad()
def start_anew(policy: ListPolicy) -> None:
    """Adapters that change nothing, as at the start of a training, and no gradients."""
    policy.zero_grad(set_to_none=True)
    for name, weight in policy.named_parameters():
        if ".lora_B." in name:
            weight.zero_()


def build_trainer(
    policy: ListPolicy, method: str, shape: Shape, config: TrainConfig, folder: Path
) -> ListTrainer:
    """As perpo_core.stages.train.build makes it, without selection and checkpoints."""
    num_steps = WARM_UP_STEPS + MOST_STEPS
    arguments = build_arguments(config, folder, num_steps, False, False, policy.layer_name)
    arguments.save_strategy = SaveStrategy.NO
    count = count_apart if method == "separate" else count_packed
    made = Lists(config.batch_lists, shape, build_processor())
    trainer = ListTrainer(
        model=policy,
        args=arguments,
        train_dataset=ReadyLists(
            [made[index] for index in range(len(made))], num_steps * config.batch_lists
        ),
        data_collator=Collator(PAD, config.micro_batch_lists, config.micro_batch_tokens, count),
        list_config=config,
        selection=None,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


if __name__ == "__main__":
    main()
