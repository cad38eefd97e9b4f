"""Part parity: on this device, packed lists give what separate sequences give.

A case is a family's tiny model: log-probabilities and gradients of packed lists against the
family's own forward, an answer at a time. Attention alone, at real head sizes, is the next part.

In float32 the difference may be FLOAT32_SHARE of the largest value. In bfloat16 it may be NOISE
times what rounding alone does to the separate sequences, which is measured: the same model in
float32.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from perpo_core.process.child import emit, load_job
from perpo_core.stages.train.attention_ways import choose_way
from perpo_core.stages.train.data import RankedList, collate_lists
from perpo_core.stages.train.list_policy import ListPolicy, compute_list_batch
from perpo_core.stages.train.packing import PackableList
from tests.gpu_check.cases import Figures, judge, report_case, use_exact_float32
from tests.gpu_check.plan import PartJob
from tests.perpo_core.stages.train.separately import compute_grads, compute_reference
from tests.perpo_core.tiny_families import FAMILIES, PAD, build_tiny, build_tiny_lists

FLOAT32_SHARE = 1e-4
NOISE = 3.0
ANSWERS = [[3, 1, 4], [2], [5, 3, 3, 1, 7]]
REWARDS = [[0.8, 0.1, 0.3], [0.5], [1.0, 0.4, 0.2, 0.9, 0.1]]
DTYPES = (torch.float32, torch.bfloat16)


def main() -> None:
    job = load_job(PartJob)
    use_exact_float32()
    for dtype in DTYPES:
        for name in FAMILIES:
            report_case(f"{name} {show(dtype)}", partial(compare_family, name, dtype, job.device))
    emit("result")


def show(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def compare_family(name: str, dtype: torch.dtype, device: str) -> Figures:
    """Largest differences of log-probabilities (nats) and gradients, packed against separate."""
    model = build_tiny(name, dtype)
    packables = build_tiny_lists(name, model, ANSWERS)
    model.to(device)
    packed, separate = compute_both(model, rank(packables))
    allowed = [FLOAT32_SHARE * exact.abs().max().item() for exact in separate]
    if dtype != torch.float32:
        wide = copy.deepcopy(model).float()
        _, exact = compute_both(wide, rank([widen(packable) for packable in packables]))
        allowed = [NOISE * find_gap(*pair) for pair in zip(separate, exact, strict=True)]
    gaps = [find_gap(*pair) for pair in zip(packed, separate, strict=True)]
    return {
        "result": judge(all(gap <= limit for gap, limit in zip(gaps, allowed, strict=True))),
        "logps_difference": gaps[0], "logps_tolerance": allowed[0],
        "gradient_difference": gaps[1], "gradient_tolerance": allowed[1],
        "way": choose_way(ListPolicy(model).heads).way,
    }  # fmt: skip


def compute_both(model: Any, lists: Sequence[RankedList]) -> tuple[list[Tensor], list[Tensor]]:
    """([logps_PG, gradients] packed, the same of separate sequences), float32 on the CPU."""
    packed = compute_list_batch(ListPolicy(model), collate_lists(lists, PAD).to(model.device))
    separate = compute_reference(model, lists, packed)
    return tuple(
        [batch.logps_PG.detach().float().cpu(), compute_grads(model, batch).float().cpu()]
        for batch in (packed, separate)
    )  # type: ignore[return-value]


def find_gap(a: Tensor, b: Tensor) -> float:
    """Largest absolute difference; not a number where either has one, which fails every limit."""
    return (a - b).abs().max().item()


def rank(packables: Sequence[PackableList]) -> list[RankedList]:
    return [
        RankedList(str(number), packable, rewards)
        for number, (packable, rewards) in enumerate(zip(packables, REWARDS, strict=True))
    ]


def widen(packable: PackableList) -> PackableList:
    """Pixels in float32."""
    vision = {
        name: value.float() if value.is_floating_point() else value
        for name, value in packable.vision.items()
    }
    return replace(packable, vision=vision)


if __name__ == "__main__":
    main()
