"""What the trainer logs of an optimiser step: metrics of its lists, speed and memory.

Sums stay on the device until the step is logged, so that no forward pass waits for them. The clock
runs while the step is made, its images decoded and its weights moved; it stands still while the
policy is measured on the selection split and while a checkpoint is written.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from perpo_core.stages.train.data import TrainBatch
from perpo_core.stages.train.objectives import ListBatch
from perpo_core.stages.train.objectives.combine import find_needs, list_parts
from perpo_core.stages.train.objectives.metrics import (
    LIST_METRICS,
    WITHOUT_REFERENCE,
    compute_list_metrics,
)
from perpo_core.stages.train.ranks import gather
from schemas.train_config import TrainConfig

LOSS_PART = "loss/"  # and the name of the objective or term, where the loss has several
GIGA = 1e9  # a GB is 10^9 bytes


class StepMeters(TrainerCallback):
    """Adds up what the forward passes of a step show; `read` gives the step's numbers."""

    _sums: Tensor | float
    _num_lists: int
    _num_tokens: int

    def __init__(self, config: TrainConfig) -> None:
        self._beta = config.beta
        has_reference = "reference" in find_needs(config)
        self._list_names = tuple(LIST_METRICS) if has_reference else WITHOUT_REFERENCE
        parts = list_parts(config)
        self._part_names = parts if len(parts) > 1 else []
        self._names = [*self._list_names, *(f"{LOSS_PART}{name}" for name in self._part_names)]
        self._clear()

    def add(self, lists: ListBatch, batch: TrainBatch, parts_P: Mapping[str, Tensor]) -> None:
        """Count the lists of one forward pass; `parts_P` is what their losses add up from."""
        metrics = compute_list_metrics(lists, self._beta)
        sums = [metrics[name] for name in self._list_names]
        sums += [parts_P[name].detach().sum() for name in self._part_names]
        self._sums = self._sums + torch.stack(sums)
        self._num_lists += batch.num_lists
        self._num_tokens += count_tokens(batch)

    def read(self) -> dict[str, float]:
        """Means over the lists added since the last reading, and what they cost; starts anew.

        Every process of a training calls it; lists and tokens are those of all.
        """
        seconds = time.monotonic() - self._started
        shares = gather((self._list_sums(), self._num_lists, self._num_tokens))
        num_lists = sum(number for _, number, _ in shares)
        totals = [sum(values) for values in zip(*(sums for sums, _, _ in shares), strict=True)]
        means = [total / max(num_lists, 1) for total in totals]
        numbers = dict(zip(self._names, means, strict=True)) if num_lists else {}
        numbers["tokens_per_second"] = sum(number for *_, number in shares) / max(seconds, 1e-9)
        numbers["peak_memory_gb"] = read_peak_memory_bytes() / GIGA
        self._clear()
        return numbers

    def _list_sums(self) -> list[float]:
        none = [0.0] * len(self._names)
        return self._sums.tolist() if isinstance(self._sums, Tensor) else none

    def _clear(self) -> None:
        self._sums = 0.0
        self._num_lists = self._num_tokens = 0
        self._restart()

    def _restart(self, *args: Any, **kwargs: Any) -> None:
        """The Trainer logs a step, then measures, then saves; the next step begins after that."""
        self._started = time.monotonic()

    on_train_begin = on_evaluate = on_save = _restart


def count_tokens(batch: TrainBatch) -> int:
    """Packed tokens of a batch, those of its crops too."""
    num_tokens = batch.packed.input_ids_N.numel()
    return num_tokens + (count_tokens(batch.crop) if batch.crop is not None else 0)


def read_peak_memory_bytes() -> int:
    """The most that tensors held on the GPU so far; on a CPU, that the process held in memory.

    Not getrusage's ru_maxrss, which a child process begins with its parent's size.
    """
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
