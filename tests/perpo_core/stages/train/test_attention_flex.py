"""FlexAttention's mask of a row: the blocks, once a batch, one kernel for rows of any layout."""

from __future__ import annotations

import random
import shutil

import pytest
import torch
from torch._dynamo.exc import FailOnRecompileLimitHit
from torch._dynamo.utils import counters
from torch.nn.attention.flex_attention import create_block_mask

from perpo_core.stages.train import attention, attention_flex
from perpo_core.stages.train.attention_flex import attend_by_flex, build_block_mask
from perpo_core.stages.train.attention_ways import Choice
from perpo_core.stages.train.data import RankedList, collate_lists
from perpo_core.stages.train.list_policy import ListPolicy, compute_list_batch
from perpo_core.stages.train.packing import Layout, ListLengths
from tests.perpo_core.stages.train.dense_attention import (
    attend_densely,
    build_mask,
    compare,
    make_inputs,
)
from tests.perpo_core.stages.train.flex_on_cpu import flex_on_cpu
from tests.perpo_core.tiny_families import PAD, build_tiny, build_tiny_lists

CPU = torch.device("cpu")
LENGTHS = (1, 5, 60, 128, 300)
ROWS: dict[str, Layout] = {
    "twenty short answers": (ListLengths(300, (20,) * 20),),
    "long answers, two lists": (ListLengths(200, (70, 1, 200)), ListLengths(77, (5, 64))),
    "exactly a block": (ListLengths(100, (20, 8)),),
    "one token": (ListLengths(1, ()),),
}


def draw_rows(count: int) -> list[Layout]:
    rng = random.Random(0)

    def draw_list() -> ListLengths:
        return ListLengths(
            rng.choice(LENGTHS), tuple(rng.choices(LENGTHS[:4], k=rng.randint(1, 6)))
        )

    return [tuple(draw_list() for _ in range(rng.randint(1, 4))) for _ in range(count)]


@pytest.mark.parametrize("layout", [*ROWS.values(), *draw_rows(20)])
def test_the_blocks_are_those_that_torch_finds_in_the_dense_mask(layout):
    mask_NN, mine = build_mask(layout), build_block_mask(layout, CPU)
    exact = create_block_mask(
        lambda batch, head, q, k: mask_NN[q, k], 1, 1, len(mask_NN), len(mask_NN), "cpu"
    )
    assert torch.equal(mine.to_dense(), exact.to_dense())
    assert (mine.shape, mine.BLOCK_SIZE) == (exact.shape, exact.BLOCK_SIZE)
    ours, theirs = (list_full_blocks(mask) for mask in (mine, exact))
    assert ours <= theirs
    if len(layout) == 1 and layout[0].answers[:1] == (20,):
        assert ours == theirs  # full blocks are what makes it fast


def list_full_blocks(mask) -> set[tuple[int, int]]:
    pairs = zip(mask.full_kv_num_blocks[0, 0], mask.full_kv_indices[0, 0], strict=True)
    return {(row, block) for row, (n, ids) in enumerate(pairs) for block in ids[:n].tolist()}


def test_a_mask_is_built_once_a_batch(monkeypatch):
    """Not for every layer, nor for those that are computed again."""
    monkeypatch.setattr(attention, "choose_way", lambda heads: Choice("flex"))
    model = build_tiny("llava")
    model.gradient_checkpointing_enable()
    model.train()
    packables = build_tiny_lists("llava", model, [[3, 1], [2]])
    lists = [RankedList("a", packables[0], [0.1, 0.2]), RankedList("b", packables[1], [0.3])]
    build_block_mask.cache_clear()
    with flex_on_cpu():
        batch = compute_list_batch(ListPolicy(model), collate_lists(lists, PAD))
        batch.logps_PG.sum().backward()
        assert build_block_mask.cache_info().misses == 1
        assert build_block_mask.cache_info().hits == 3  # 2 layers, forward and again
        compute_list_batch(ListPolicy(model), collate_lists(lists[:1], PAD))
    assert build_block_mask.cache_info().misses == 2


def test_rows_of_other_layouts_are_no_other_kernels():
    """A compilation takes seconds. There is one with gradients and one without, for a row of one
    block and for any other, and the first of all, which takes its numbers for constant.
    """
    torch._dynamo.reset()
    counters.clear()
    with flex_on_cpu():
        for number, layout in enumerate(draw_rows(30)):
            inputs, grad = make_inputs(layout, 4, 2, torch.float32, 16)
            autocast = torch.autocast("cpu", torch.bfloat16, enabled=number % 2 > 0)
            with torch.set_grad_enabled(number % 3 > 0), autocast:
                out = attend_by_flex(*inputs, layout, 0.25)
            if out.requires_grad:
                torch.autograd.grad(out.transpose(1, 2), inputs, grad)
    assert counters["stats"]["unique_graphs"] <= 5


def test_more_kernels_than_torch_allows_are_an_error(monkeypatch):
    """And not, as torch has it, attention without the kernel from then on."""
    torch._dynamo.reset()
    monkeypatch.setattr(attention_flex, "MOST_COMPILATIONS", 1)
    attention_flex.compile_flex.cache_clear()
    layout = (ListLengths(3, (2,)),)
    try:
        with flex_on_cpu():
            attend_by_flex(*make_inputs(layout, 4, 2, torch.float32)[0], layout, None)
            with pytest.raises(FailOnRecompileLimitHit):
                attend_by_flex(*make_inputs(layout, 4, 2, torch.float64)[0], layout, None)
    finally:
        attention_flex.compile_flex.cache_clear()
        torch._dynamo.reset()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch's compiler for the CPU needs g++")
@pytest.mark.parametrize("layout", ROWS.values(), ids=ROWS)
@torch.no_grad()
def test_a_fused_kernel_that_skips_blocks_equals_the_dense_mask(layout):
    """torch's own for the CPU, compiled as on CUDA; it has the forward only."""
    q, k, v = (x.detach() for x in make_inputs(layout, 4, 2, torch.float32, 16)[0])
    out = attend_by_flex(q, k, v, layout, 0.25).transpose(1, 2)
    exact = attend_densely(q.double(), k.double(), v.double(), layout, 0.25)
    assert compare(out, exact) < 1e-6


@pytest.mark.gpu  # the compiled backward exists for CUDA only
@pytest.mark.parametrize(("num_heads", "num_shared", "width"), [(14, 2, 64), (28, 4, 128)])
@pytest.mark.parametrize("layout", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_on_cuda_it_equals_the_dense_mask(num_heads, num_shared, width, layout, dtype, limit):
    inputs, grad = make_inputs(layout, num_heads, num_shared, dtype, width, "cuda")
    out = attend_by_flex(*inputs, layout, None).transpose(1, 2)
    q, k, v = exact_inputs = [x.detach().double().requires_grad_() for x in inputs]
    exact = attend_densely(q, k, v, layout, None)
    assert compare(out, exact) < limit
    grads = torch.autograd.grad(out, inputs, grad)
    for pair in zip(grads, torch.autograd.grad(exact, exact_inputs, grad.double()), strict=True):
        assert compare(*pair) < limit
