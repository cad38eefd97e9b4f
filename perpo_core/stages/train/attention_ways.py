"""How packed lists attend on a machine: chosen by what is there, and said in the log of a training.

    merging   on a CPU: torch's kernels, merged by their log-sum-exp
    flex      on CUDA: torch's FlexAttention, compiled; a trial on two small rows comes first
    copying   the last resort, anywhere: each answer with a copy of its prefix's keys and values

FlexAttention is chosen before varlen FlashAttention and a merge of ours: its backward is torch's
own and without atomic sums, it takes float32 and every head size from 16, and torch's definition
of the same operator is tried in float64 on a CPU. FlashAttention would need private kernels of the
backward, takes 16 bits only, and nothing of it runs without a card.

The trial compiles what training needs, with gradients and without, for rows of any length, and
compares it with copying: no driver, compiler or card is trusted by its name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from perpo_core.stages.train.attention_flex import attend_by_flex
from perpo_core.stages.train.attention_lists import attend_by_copying, attend_by_merging
from perpo_core.stages.train.packing import Layout, ListLengths

Way = Literal["merging", "flex", "copying"]
# q_1HND, k_1KND, v_1KND, layout, scaling -> [1, H, N, D]
Attend = Callable[[Tensor, Tensor, Tensor, Layout, float | None], Tensor]
WAYS: dict[Way, Attend] = {
    "merging": attend_by_merging,
    "flex": attend_by_flex,
    "copying": attend_by_copying,
}
# Two rows of unlike numbers of tokens and blocks, so that the compiler takes both as variable.
TRIAL: tuple[Layout, ...] = (
    (ListLengths(200, (70, 1, 30)), ListLengths(40, (20,))),
    (ListLengths(1, (130,)), ListLengths(390, (3, 40))),
)
TRIAL_ERROR = (
    0.05  # relative; rounding to bfloat16 leaves 0.01, one key of a prefix more or less 0.1
)


@dataclass(frozen=True)
class Heads:
    """What a layer asks of its attention."""

    device: torch.device
    dtype: torch.dtype
    num_heads: int
    num_shared: int
    """Key-value heads."""
    width: int
    """Numbers a head."""

    @classmethod
    def of(cls, q_1HND: Tensor, k_1KND: Tensor) -> Heads:
        """Those of a call."""
        return cls(q_1HND.device, q_1HND.dtype, q_1HND.shape[1], k_1KND.shape[1], k_1KND.shape[3])


@dataclass(frozen=True)
class Choice:
    """A way, and the sentence's part why no better one."""

    way: Way
    reason: str = ""

    def describe(self) -> str:
        """For the log of a training."""
        if self.way == "copying":
            return (
                "every answer attends to a copy of its prompt's keys and values, since "
                f"{self.reason}; it costs memory and time, nothing else"
            )
        kernels = "FlexAttention" if self.way == "flex" else "torch's CPU kernels, merged"
        return f"answers attend to their prompt where it lies ({kernels})"


@cache
def choose_way(heads: Heads) -> Choice:
    """The best way that works for these heads on their device."""
    kind = heads.device.type
    if kind == "cpu":
        return Choice("merging")
    if kind != "cuda":
        return Choice("copying", f"torch does not train FlexAttention on {kind}")
    reason = find_trouble(heads)
    return Choice("copying", reason) if reason else Choice("flex")


def find_trouble(heads: Heads) -> str:
    """Why FlexAttention cannot be used for these heads; empty when it can."""
    try:
        errors = [try_flex(heads, layout) for layout in TRIAL]
        errors.append(try_flex(heads, TRIAL[-1], training=False))
    except Exception as error:  # whatever compiler, driver and card come up with
        return f"FlexAttention fails on {heads.device} ({describe_cause(error)})"
    if not max(errors) <= TRIAL_ERROR:  # NaN as well
        return f"FlexAttention is wrong on {heads.device}, by {max(errors):.2g} of its values"
    return ""


def describe_cause(error: BaseException) -> str:
    """The first line of what lies under the compiler's own errors."""
    while error.__cause__:
        error = error.__cause__
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def try_flex(heads: Heads, layout: Layout, training: bool = True) -> float:
    """Largest relative error of outputs and, in training, gradients against copying.

    The trial may come amid a step: it keeps out of its random numbers, its autocast and the tensors
    that a checkpointed layer counts.
    """
    generator = torch.Generator(heads.device).manual_seed(0)
    num_tokens = sum(lengths.total for lengths in layout)

    def draw(num_heads: int) -> Tensor:
        shape = (1, num_heads, num_tokens, heads.width)
        return torch.randn(shape, generator=generator, device=heads.device, dtype=heads.dtype)

    inputs = [draw(heads.num_heads), draw(heads.num_shared), draw(heads.num_shared)]
    grad = draw(heads.num_heads)
    with (
        torch.set_grad_enabled(training),
        torch.autocast(heads.device.type, enabled=False),
        saved_tensors_hooks(_keep, _keep),
    ):
        mine, theirs = (
            _compute(attend, inputs, grad, layout) for attend in (attend_by_flex, attend_by_copying)
        )
    return max(
        ((a.double() - b.double()).norm() / b.double().norm()).item()
        for a, b in zip(mine, theirs, strict=True)
    )


def _compute(attend: Attend, inputs: list[Tensor], grad: Tensor, layout: Layout) -> list[Tensor]:
    """Output and, where they are on, gradients."""
    q, k, v = leaves = [x.detach().requires_grad_() for x in inputs]
    out = attend(q, k, v, layout, None)
    return [out.detach(), *(torch.autograd.grad(out, leaves, grad) if out.requires_grad else ())]


def _keep(saved: Any) -> Any:
    return saved
