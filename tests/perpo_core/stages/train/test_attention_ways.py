"""Which way packed lists attend: by what works here; where copies are made, the reason is said."""

from __future__ import annotations

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from perpo_core.stages.train import attention, attention_flex, attention_ways
from perpo_core.stages.train.attention import attend_packed
from perpo_core.stages.train.attention_lists import attend_by_copying
from perpo_core.stages.train.attention_ways import (
    TRIAL,
    Choice,
    Heads,
    choose_way,
    find_trouble,
    try_flex,
)
from perpo_core.stages.train.data import RankedList, collate_lists
from perpo_core.stages.train.list_policy import ListPolicy
from perpo_core.stages.train.packing import ListLengths
from tests.perpo_core.stages.train.dense_attention import Layer, make_inputs
from tests.perpo_core.stages.train.flex_on_cpu import flex_on_cpu
from tests.perpo_core.tiny_families import FAMILIES, PAD, build_tiny, build_tiny_lists

NO_CUDA = not torch.cuda.is_available()


def build_heads(device: str = "cpu", dtype: torch.dtype = torch.float32) -> Heads:
    return Heads(torch.device(device), dtype, 4, 2, 16)


@pytest.fixture(autouse=True)
def fresh() -> None:
    choose_way.cache_clear()


def test_a_cpu_merges():
    choice = choose_way(build_heads())
    assert choice == Choice("merging")
    assert choice.describe() == (
        "answers attend to their prompt where it lies (torch's CPU kernels, merged)"
    )


def test_cuda_takes_flex_attention_where_its_trial_goes_well(monkeypatch):
    monkeypatch.setattr(attention_ways, "find_trouble", lambda heads: "")
    choice = choose_way(build_heads("cuda"))
    assert choice == Choice("flex")
    assert choice.describe() == "answers attend to their prompt where it lies (FlexAttention)"


@pytest.mark.skipif(not NO_CUDA, reason="on a machine with CUDA, the trial goes well")
def test_cuda_copies_where_the_trial_fails_and_says_why():
    choice = choose_way(build_heads("cuda"))
    assert choice.way == "copying"
    assert choice.reason.startswith("FlexAttention fails on cuda (")
    assert "CUDA" in choice.reason.partition("(")[2]
    assert choice.describe().startswith(
        "every answer attends to a copy of its prompt's keys and values, since FlexAttention fails"
    )


def test_other_devices_copy():
    assert choose_way(build_heads("mps")) == Choice(
        "copying", "torch does not train FlexAttention on mps"
    )


@pytest.mark.gpu  # whether the kernel works there is what it asks
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_card_takes_flex_attention(dtype):
    heads = Heads(torch.device("cuda", 0), dtype, 28, 4, 128)
    assert choose_way(heads) == Choice("flex")


# The trial


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_trial_finds_nothing_where_flex_attention_is_right(dtype):
    with flex_on_cpu():
        assert find_trouble(build_heads(dtype=dtype)) == ""


def test_the_trial_tells_what_torch_says():
    reason = find_trouble(build_heads())
    assert reason.startswith("FlexAttention fails on cpu (")
    assert "FlexAttention does not support backward on CPU" in reason


def test_the_trial_goes_without_gradients_too(monkeypatch):
    """As reference log-probabilities are computed: that is another compilation."""

    def attend(*inputs):
        if not torch.is_grad_enabled():
            raise RuntimeError("no such kernel\nand much more")
        return attend_by_copying(*inputs)

    monkeypatch.setattr(attention_ways, "attend_by_flex", attend)
    assert find_trouble(build_heads()) == (
        "FlexAttention fails on cpu (RuntimeError: no such kernel)"
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_trial_notices_an_answer_that_sees_its_neighbour(dtype, monkeypatch):
    def see_more(layout):
        first_N, end_N, own_N = find_bounds(layout)
        return first_N, end_N, own_N - (own_N > 0).int()

    find_bounds = attention_flex.find_bounds
    monkeypatch.setattr(attention_flex, "find_bounds", see_more)
    attention_flex.build_block_mask.cache_clear()
    try:
        with flex_on_cpu():
            reason = find_trouble(build_heads(dtype=dtype))
    finally:
        attention_flex.build_block_mask.cache_clear()
    assert reason.startswith("FlexAttention is wrong on cpu, by 0.")


def test_a_trial_amid_a_step_leaves_no_trace(monkeypatch):
    """Of random numbers, and of tensors that a layer which is computed again counts; nor is it
    rounded as the step is.
    """
    tried: list[float] = []

    def choose(heads: Heads) -> Choice:
        if not tried:
            tried.append(try_flex(build_heads(), TRIAL[0]))
        return Choice("flex")

    monkeypatch.setattr(attention, "choose_way", choose)
    layout = (ListLengths(5, (3, 2)),)
    (q, k, v), grad = make_inputs(layout, 4, 2, torch.float32, 16)

    def attend(q, k, v):
        return attend_packed(Layer(4, 2), q, k, v, None, packed_layout=layout)[0]

    state = torch.get_rng_state()
    with flex_on_cpu(), torch.autocast("cpu", torch.bfloat16):
        out = checkpoint(attend, q, k, v, use_reentrant=False)
        torch.autograd.grad(out, (q, k, v), grad.to(out.dtype))
    assert len(tried) == 1 and tried[0] < 1e-5
    assert torch.equal(torch.get_rng_state(), state)


# What a policy asks


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("autocast", [False, True])
def test_a_policy_knows_what_its_layers_ask(name, autocast, monkeypatch):
    """So that what is said before training is what training meets."""
    model = build_tiny(name, torch.float32)
    policy = ListPolicy(model, autocast)
    asked = set()

    def choose(heads: Heads) -> Choice:
        asked.add(heads)
        return choose_way(heads)

    monkeypatch.setattr(attention, "choose_way", choose)
    packables = build_tiny_lists(name, model, [[3, 1], [2]])
    lists = [RankedList(str(i), each, [0.1, 0.2][: 2 - i]) for i, each in enumerate(packables)]
    policy(collate_lists(lists, PAD))
    assert asked == {policy.heads}
    assert policy.heads.dtype == (torch.bfloat16 if autocast else torch.float32)
