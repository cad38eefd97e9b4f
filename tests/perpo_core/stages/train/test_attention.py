"""The packed attention against one dense mask over everything: outputs and gradients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from perpo_core.stages.train import attention
from perpo_core.stages.train.attention import attend_packed
from perpo_core.stages.train.attention_ways import WAYS, Choice
from perpo_core.stages.train.packing import ListLengths
from tests.perpo_core.stages.train.dense_attention import (
    Layer,
    Layout,
    attend_densely,
    build_mask,
    compare,
    make_inputs,
)
from tests.perpo_core.stages.train.flex_on_cpu import flex_on_cpu

LAYOUTS: dict[str, Layout] = {
    "equal answers": (ListLengths(9, (3, 3, 3)),),
    "unequal answers": (ListLengths(5, (4, 1, 7)),),
    "one answer": (ListLengths(6, (4,)),),
    "a prefix of one token": (ListLengths(1, (2, 5)),),
    "one token each": (ListLengths(1, (1, 1)), ListLengths(1, (1,))),
    "several lists": (ListLengths(4, (2, 3)), ListLengths(7, (1,)), ListLengths(3, (5, 5))),
    "blocks of a kernel": (ListLengths(300, (130, 1, 20)), ListLengths(5, (2,))),
}
SCALING = 0.3


@pytest.fixture(params=WAYS)
def way(request, monkeypatch) -> Iterator[None]:
    """Each way in turn, whatever would be chosen; on other devices than the CPU it is not merging.

    FlexAttention's part is torch's definition of it.
    """
    monkeypatch.setattr(attention, "choose_way", lambda heads: Choice(request.param))
    with flex_on_cpu():
        yield


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("num_heads", "num_shared"), [(4, 4), (4, 2), (6, 1)])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-13), (torch.float32, 1e-5), (torch.bfloat16, 3e-2)],
)
def test_it_equals_a_dense_mask(num_heads, num_shared, layout, dtype, tolerance):
    inputs, grad = make_inputs(layout, num_heads, num_shared, dtype)
    layer = Layer(num_heads, num_shared)
    out, _ = attend_packed(layer, *inputs, None, packed_layout=layout, scaling=SCALING)
    q, k, v = exact_inputs = [x.detach().double().requires_grad_() for x in inputs]
    exact = attend_densely(q, k, v, layout, SCALING)
    assert out.dtype == dtype and out.is_contiguous()
    assert compare(out, exact) < tolerance
    grads = torch.autograd.grad(out, inputs, grad)
    exact_grads = torch.autograd.grad(exact, exact_inputs, grad.double())
    for mine, theirs in zip(grads, exact_grads, strict=True):
        assert compare(mine, theirs) < tolerance


def test_gradients_by_finite_differences():
    layout = (ListLengths(2, (3, 1)), ListLengths(3, (2, 2)))
    inputs, _ = make_inputs(layout, 2, 1, torch.float64)
    layer = Layer(2, 1)
    assert torch.autograd.gradcheck(
        lambda q, k, v: attend_packed(layer, q, k, v, None, packed_layout=layout)[0], inputs
    )


def test_the_mask_shows_the_prefix_and_the_own_answer_only():
    assert build_mask((ListLengths(2, (2, 1)), ListLengths(1, (1,)))).int().tolist() == [
        [1, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0],
        [1, 1, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 1, 1],
    ]


def test_without_a_layout_it_is_plain_causal_attention():
    layout = (ListLengths(9, ()),)
    inputs, _ = make_inputs(layout, 4, 2, torch.float64)
    out, _ = attend_packed(Layer(4, 2), *inputs, None, scaling=SCALING)
    assert torch.allclose(out, attend_densely(*inputs, layout, SCALING))
