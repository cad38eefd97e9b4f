"""Part attention: the ways in which packed lists can attend, side by side at real head sizes.

A row is a way on heads, lists and a dtype: the errors of outputs and gradients against one dense
mask in float64 on one row of lists, then time and memory of a forward and backward pass over
NUM_ROWS of them in one. Beside the ways of perpo_core.stages.train.attention_ways stands `dense`,
the same dense mask handed to torch's attention in the dtype itself.

What is said of the first call has a compilation in it, unless an earlier case had the same heads.
"""

from __future__ import annotations

import statistics
import time
from contextlib import nullcontext
from functools import lru_cache, partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from perpo_core.process.child import emit, load_job
from perpo_core.stages.train.attention_ways import WAYS, Attend, Heads, Way
from perpo_core.stages.train.packing import Layout, ListLengths
from tests.gpu_check.cases import Figures, judge, report_case, use_exact_float32
from tests.gpu_check.plan import PartJob
from tests.perpo_core.stages.train.dense_attention import (
    Inputs,
    attend_densely,
    build_mask,
    compare,
    make_inputs,
)
from tests.perpo_core.stages.train.flex_on_cpu import flex_on_cpu

# dtype, heads, key-value heads, numbers a head: Qwen2.5-VL-7B, LLaVA-1.5-7B, Qwen2-0.5B
KINDS = (
    (torch.bfloat16, 28, 4, 128),
    (torch.bfloat16, 32, 32, 128),
    (torch.bfloat16, 14, 2, 64),
    (torch.float32, 14, 2, 64),
)
LAYOUTS: dict[str, Layout] = {
    "G20-R20": (ListLengths(606, (20,) * 20),),
    "unequal": (ListLengths(606, (300, 17, 1, 120)), ListLengths(77, (5, 64))),
}
SMALL_LAYOUTS: dict[str, Layout] = {
    "G4-R5": (ListLengths(66, (5,) * 4),),
    "unequal": (ListLengths(66, (30, 7, 1, 12)), ListLengths(17, (5, 8))),
}
NUM_ROWS, SMALL_NUM_ROWS = 8, 2  # of a layout, one after another in the row that is timed
AnyWay = Way | Literal["dense"]
CUDA_WAYS: tuple[AnyWay, ...] = ("flex", "copying", "dense")
CPU_WAYS: tuple[AnyWay, ...] = ("merging", *CUDA_WAYS)
ATTENTION_ERROR = {torch.float32: 1e-5, torch.bfloat16: 3e-2}  # relative
MOST_CALLS, MEASURED_S = 20, 0.5  # whichever comes first


def main() -> None:
    job = load_job(PartJob)
    use_exact_float32()
    layouts, num_rows = (SMALL_LAYOUTS, SMALL_NUM_ROWS) if job.miniature else (LAYOUTS, NUM_ROWS)
    with flex_on_cpu() if job.miniature else nullcontext():
        for dtype, num_heads, num_shared, width in KINDS:
            heads = Heads(torch.device(job.device), dtype, num_heads, num_shared, width)
            for name, layout in layouts.items():
                for way in CPU_WAYS if job.miniature else CUDA_WAYS:
                    case = f"{num_heads}/{num_shared}x{width} {name} {show(dtype)} {way}"
                    report_case(case, partial(measure_way, way, heads, layout, num_rows))
    emit("result")


def show(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def measure_way(way: AnyWay, heads: Heads, layout: Layout, num_rows: int) -> Figures:
    """Errors on one row of lists, cost of `num_rows` of them in one."""
    attend = attend_by_mask if way == "dense" else WAYS[way]
    return compute_errors(attend, heads, layout) | measure_cost(attend, heads, layout * num_rows)


def compute_errors(attend: Attend, heads: Heads, layout: Layout) -> Figures:
    """Relative errors of outputs and of the worst gradient against a dense mask in float64."""
    inputs, grad = draw(heads, layout)
    out = attend(*inputs, layout, None).transpose(1, 2)
    q, k, v = exact_inputs = [x.detach().double().requires_grad_() for x in inputs]
    exact = attend_densely(q, k, v, layout, None)
    grads = torch.autograd.grad(out, inputs, grad)
    exact_grads = torch.autograd.grad(exact, exact_inputs, grad.double())
    errors = [compare(*pair) for pair in zip(grads, exact_grads, strict=True)]
    limit = ATTENTION_ERROR[heads.dtype]
    passed = all(each <= limit for each in (compare(out, exact), *errors))
    return {
        "result": judge(passed), "output_error": compare(out, exact),
        "gradient_error": max(errors), "error_tolerance": limit,
    }  # fmt: skip


def measure_cost(attend: Attend, heads: Heads, layout: Layout) -> Figures:
    """Median time and the most memory of a forward and backward pass, over what its inputs take."""
    inputs, grad = draw(heads, layout)

    def step() -> float:
        started_s = time.perf_counter()
        out = attend(*inputs, layout, None).transpose(1, 2)
        torch.autograd.grad(out, inputs, grad)
        if heads.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started_s

    first_s = step()
    held_bytes = start_counting(heads.device)
    seconds: list[float] = []
    while len(seconds) < MOST_CALLS and sum(seconds) < MEASURED_S:
        seconds.append(step())
    return {
        "tokens": sum(lengths.total for lengths in layout),
        "step_ms": round(1000 * statistics.median(seconds), 3),
        "first_s": round(first_s, 1),
        "peak_mib": None if held_bytes is None
        else round((torch.cuda.max_memory_allocated() - held_bytes) / 2**20),
    }  # fmt: skip


def draw(heads: Heads, layout: Layout) -> tuple[Inputs, Tensor]:
    """Inputs, and a gradient of outputs [1, N, H, D]."""
    sizes = (heads.num_heads, heads.num_shared)
    return make_inputs(layout, *sizes, heads.dtype, heads.width, str(heads.device))


def start_counting(device: torch.device) -> int | None:
    """Bytes that tensors hold on a card, from where their peak is counted; None on a CPU."""
    if device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


@lru_cache(2)
def build_mask_on(layout: Layout, device: torch.device) -> Tensor:
    return build_mask(layout).to(device)


def attend_by_mask(
    q_1HND: Tensor, k_1KND: Tensor, v_1KND: Tensor, layout: Layout, scaling: float | None
) -> Tensor:
    """One dense mask, built once a row as FlexAttention's is."""
    shared = q_1HND.shape[1] // k_1KND.shape[1]
    k, v = (x.repeat_interleave(shared, 1) for x in (k_1KND, v_1KND))
    mask = build_mask_on(layout, q_1HND.device)
    return scaled_dot_product_attention(q_1HND, k, v, attn_mask=mask, scale=scaling)


if __name__ == "__main__":
    main()
