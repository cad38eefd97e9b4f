"""Packed attention list by list: by merging on a CPU, by copying on any device.

An answer's attention over (prefix, itself) is put together from two partial ones by their
log-sum-exp, as in Ring Attention (arXiv 2310.01889): all answers of a list are one block of queries
over the prefix, whose keys and values are not copied. That needs kernels that return the
log-sum-exp and whose backward takes the one of the whole; torch has them for the CPU.

The last resort gives each answer a copy of the prefix's keys and values, and torch's own attention:
it runs wherever torch does, at the cost of those copies.

Axes: H heads (K key-value heads), N tokens of the row or of a list, P of a prefix, S of all answers
of a list, G answers, R tokens of the longest answer, D numbers a head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.attention.bias import causal_lower_right
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence

from perpo_core.stages.train.packing import Layout, ListLengths

# q_1HSD of a list's answers, k_1KND and v_1KND of the list, scaling -> [1, H, S, D]
AttendAnswers = Callable[[Tensor, Tensor, Tensor, ListLengths, float | None], Tensor]
_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def attend_by_merging(
    q_1HND: Tensor, k_1KND: Tensor, v_1KND: Tensor, layout: Layout, scaling: float | None
) -> Tensor:
    """Attention of a row of packed lists, on a CPU: [1, H, N, D]."""
    return _attend_lists(q_1HND, k_1KND, v_1KND, layout, scaling, _MergedAttention.apply)


def attend_by_copying(
    q_1HND: Tensor, k_1KND: Tensor, v_1KND: Tensor, layout: Layout, scaling: float | None
) -> Tensor:
    """Attention of a row of packed lists, on any device: [1, H, N, D]."""
    return _attend_lists(q_1HND, k_1KND, v_1KND, layout, scaling, _attend_copies)


def _attend_lists(
    q_1HND: Tensor,
    k_1KND: Tensor,
    v_1KND: Tensor,
    layout: Layout,
    scaling: float | None,
    attend_answers: AttendAnswers,
) -> Tensor:
    sizes = [lengths.total for lengths in layout]
    parts = zip(q_1HND.split(sizes, 2), k_1KND.split(sizes, 2), v_1KND.split(sizes, 2), strict=True)
    outs = [
        _attend_list(q, k, v, lengths, scaling, attend_answers)
        for (q, k, v), lengths in zip(parts, layout, strict=True)
    ]
    return torch.cat(outs, 2)


def _attend_list(
    q_1HND: Tensor,
    k_1KND: Tensor,
    v_1KND: Tensor,
    lengths: ListLengths,
    scaling: float | None,
    attend_answers: AttendAnswers,
) -> Tensor:
    cut = lengths.prefix
    prefix_1HPD = scaled_dot_product_attention(
        q_1HND[:, :, :cut], k_1KND[:, :, :cut], v_1KND[:, :, :cut],
        is_causal=True, scale=scaling, enable_gqa=q_1HND.shape[1] != k_1KND.shape[1],
    )  # fmt: skip
    answers_1HSD = attend_answers(q_1HND[:, :, cut:], k_1KND, v_1KND, lengths, scaling)
    return torch.cat([prefix_1HPD, answers_1HSD], 2)


def _attend_copies(
    q_1HSD: Tensor, k_1KND: Tensor, v_1KND: Tensor, lengths: ListLengths, scaling: float | None
) -> Tensor:
    """Attention of a list's answers, each with a copy of the prefix: [1, H, S, D]."""
    q_GHRD = split_answers(q_1HSD, lengths.answers)
    k_GKMD, v_GKMD = (
        torch.cat(
            [
                x_1KND[:, :, : lengths.prefix].expand(len(q_GHRD), -1, -1, -1),
                split_answers(x_1KND[:, :, lengths.prefix :], lengths.answers),
            ],
            2,
        )
        for x_1KND in (k_1KND, v_1KND)
    )
    out_GHRD = scaled_dot_product_attention(
        q_GHRD, k_GKMD, v_GKMD,
        attn_mask=causal_lower_right(q_GHRD.shape[2], k_GKMD.shape[2]),
        scale=scaling, enable_gqa=q_1HSD.shape[1] != k_1KND.shape[1],
    )  # fmt: skip
    return join_answers(out_GHRD, lengths.answers)


class _MergedAttention(torch.autograd.Function):
    """softmax over (prefix, own) = the two partial softmaxes weighed by exp(lse_part - lse).

    A part's backward kernel needs no more than the output and log-sum-exp of the whole: exp(score -
    lse) is then the whole's probability, and sum(grad * out) the whole's row correction.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, lengths: ListLengths, scaling: float | None
    ) -> Tensor:
        out, lse = _flash(_fold(q, k), *_prefix(k, v, lengths), scale=scaling)
        out, lse = out.reshape(q.shape), lse.reshape(q.shape[:3])
        own, own_lse = _flash(
            split_answers(q, lengths.answers), *_own(q, k, v, lengths), 0.0, True, scale=scaling
        )
        own = join_answers(own, lengths.answers)
        own_lse = join_answers(own_lse[..., None], lengths.answers).squeeze(-1)
        total_lse = torch.logaddexp(lse, own_lse)
        out = (
            out * (lse - total_lse).exp()[..., None] + own * (own_lse - total_lse).exp()[..., None]
        )
        out = out.to(q.dtype)
        ctx.save_for_backward(q, k, v, out, total_lse)
        ctx.lengths, ctx.scaling = lengths, scaling
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, lse = ctx.saved_tensors
        answers = ctx.lengths.answers
        dq, dk, dv = _flash_backward(
            _fold(grad, k), _fold(q, k), *_prefix(k, v, ctx.lengths), _fold(out, k),
            lse.reshape(1, k.shape[1], -1), 0.0, False, scale=ctx.scaling,
        )  # fmt: skip
        own_dq, own_dk, own_dv = _flash_backward(
            split_answers(grad, answers), split_answers(q, answers), *_own(q, k, v, ctx.lengths),
            split_answers(out, answers), split_answers(lse[..., None], answers).squeeze(-1),
            0.0, True, scale=ctx.scaling,
        )  # fmt: skip
        dq = dq.reshape(q.shape) + join_answers(own_dq, answers)
        own_dk, own_dv = (
            join_answers(x, answers).unflatten(1, (k.shape[1], -1)).sum(2) for x in (own_dk, own_dv)
        )
        return dq, torch.cat([dk, own_dk], 2), torch.cat([dv, own_dv], 2), None, None


def _fold(x_1HSD: Tensor, k_1KND: Tensor) -> Tensor:
    """The queries of all heads that share a key-value head as one block: [1, K, H/K * S, D]."""
    return x_1HSD.reshape(1, k_1KND.shape[1], -1, x_1HSD.shape[-1])


def _prefix(k_1KND: Tensor, v_1KND: Tensor, lengths: ListLengths) -> tuple[Tensor, Tensor]:
    return k_1KND[:, :, : lengths.prefix], v_1KND[:, :, : lengths.prefix]


def _own(q: Tensor, k: Tensor, v: Tensor, lengths: ListLengths) -> tuple[Tensor, ...]:
    """Keys and values of each answer itself, a head for every query head: twice [G, H, R, D]."""
    return tuple(
        split_answers(
            x[:, :, lengths.prefix :].repeat_interleave(q.shape[1] // k.shape[1], 1),
            lengths.answers,
        )
        for x in (k, v)
    )


def split_answers(x_1HSD: Tensor, lengths: Sequence[int]) -> Tensor:
    """[1, H, S, D] -> [G, H, R, D], an answer a row; rows of shorter answers end in zeros."""
    if len(set(lengths)) == 1:
        return x_1HSD[0].unflatten(1, (len(lengths), -1)).transpose(0, 1)
    answers = x_1HSD[0].transpose(0, 1).split(list(lengths))
    return pad_sequence(answers, batch_first=True).transpose(1, 2)


def join_answers(x_GHRD: Tensor, lengths: Sequence[int]) -> Tensor:
    """The inverse of split_answers: [G, H, R, D] -> [1, H, S, D]."""
    if len(set(lengths)) == 1:
        return x_GHRD.transpose(0, 1).flatten(1, 2)[None]
    return torch.cat([x[:, :length] for x, length in zip(x_GHRD, lengths, strict=True)], 1)[None]
