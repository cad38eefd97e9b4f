"""What the parts conclude: each can fail, and its figures are those that were worked by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

from perpo_core.stages.train.attention_ways import WAYS, Heads
from perpo_core.stages.train.data import collate_lists
from perpo_core.stages.train.list_policy import ListPolicy, compute_list_batch
from perpo_core.stages.train.model import choose_trained
from perpo_core.stages.train.packing import Layout
from schemas.train_config import TrainConfig
from tests.benchmarks.llava import PAD, PREFIX_TOKENS, Lists, Shape, build_processor
from tests.gpu_check import attention, flops, memory, objectives, parity, speed
from tests.gpu_check.models import build_model
from tests.perpo_core.stages.train.dense_attention import build_mask
from tests.perpo_core.stages.train.flex_on_cpu import flex_on_cpu

MIB = 1 << 20


@pytest.fixture
def leaking(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer's attention that leaves out its prefix's first token."""

    def attend_less(q: Any, k: Any, v: Any, layout: Layout, scaling: Any) -> Any:
        mask_NN, start = build_mask(layout), 0
        for lengths in layout:
            mask_NN[start + lengths.prefix : start + lengths.total, start] = False
            start += lengths.total
        k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
        return scaled_dot_product_attention(q, k, v, attn_mask=mask_NN, scale=scaling)

    monkeypatch.setitem(WAYS, "merging", attend_less)


@pytest.mark.parametrize("dtype", parity.DTYPES, ids=parity.show)
def test_parity_holds(dtype: torch.dtype) -> None:
    assert parity.compare_family("llava", dtype, "cpu")["result"] == "passed"


@pytest.mark.usefixtures("leaking")
@pytest.mark.parametrize("dtype", parity.DTYPES, ids=parity.show)
def test_parity_fails_where_a_token_is_not_seen(dtype: torch.dtype) -> None:
    for name in ("llava", "qwen2_vl"):
        assert parity.compare_family(name, dtype, "cpu")["result"] == "failed"


@pytest.mark.parametrize("dtype", parity.DTYPES, ids=parity.show)
@pytest.mark.parametrize("layout", attention.SMALL_LAYOUTS.values(), ids=attention.SMALL_LAYOUTS)
def test_every_way_of_attention_passes_and_is_measured(layout: Layout, dtype: torch.dtype) -> None:
    kind = Heads(torch.device("cpu"), dtype, 14, 2, 64)
    with flex_on_cpu():
        rows = {way: attention.measure_way(way, kind, layout, 2) for way in attention.CPU_WAYS}
    assert {row["result"] for row in rows.values()} == {"passed"}
    assert all(row["step_ms"] > 0 for row in rows.values())


@pytest.mark.usefixtures("leaking")
@pytest.mark.parametrize("dtype", parity.DTYPES, ids=parity.show)
def test_a_way_fails_where_a_token_is_not_seen(dtype: torch.dtype) -> None:
    kind = Heads(torch.device("cpu"), dtype, 4, 2, 64)
    layout = attention.SMALL_LAYOUTS["unequal"]
    assert attention.measure_way("merging", kind, layout, 1)["result"] == "failed"
    assert attention.measure_way("copying", kind, layout, 1)["result"] == "passed"


def build_row(**changes: Any) -> dict[str, Any]:
    row = {"result": "measured", "losses": [0.7, 0.5], "weight_change": 0.1, "device": "cpu"}
    return row | changes


@pytest.mark.parametrize(
    ("mine", "theirs", "result"),
    [
        ({}, {}, "passed"),
        ({"losses": [0.7, 0.5009]}, {}, "passed"),
        ({"losses": [0.7, 0.51]}, {}, "failed"),
        ({"losses": [math.nan, 0.5]}, {"losses": [math.nan, 0.5]}, "failed"),
        ({"weight_change": 0.0}, {}, "failed"),
        ({"device": "cuda"}, {}, "failed"),  # asked for the CPU
        ({"result": "failed", "note": "it broke"}, {}, "failed"),
        ({}, {"result": "failed", "note": "it broke"}, "failed"),
    ],
)
def test_an_objective_passes_by_loss_movement_and_place(
    mine: dict[str, Any], theirs: dict[str, Any], result: str
) -> None:
    assert (
        objectives.compare_rows(build_row(**mine), build_row(**theirs), "cpu")["result"] == result
    )


@pytest.mark.parametrize(
    ("before", "peak", "after", "left", "result"),
    [
        (500, 900, 510, 0, "passed"),
        (500, 900, 600, 0, "failed"),  # still held
        (500, 510, 500, 0, "failed"),  # nothing was ever held: nothing is shown
        (500, 900, 500, 1, "failed"),
    ],
)
def test_memory_passes_when_what_was_held_is_free(
    before: int, peak: int, after: int, left: int, result: str
) -> None:
    assert memory.describe(before * MIB, peak * MIB, after * MIB, left)["result"] == result


# Floating-point operations


@pytest.mark.parametrize(
    ("card", "peak"),
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A10", 125e12),
        ("NVIDIA GeForce RTX 4090", 165e12),
        ("Tesla T4", None),
        ("CPU, 2 cores", None),
    ],
)
def test_peaks_by_name(card: str, peak: float | None) -> None:
    assert flops.find_peak(card) == peak


@pytest.mark.parametrize("method", speed.METHODS)
def test_operations_are_those_that_torch_counts(method: str) -> None:
    """Of matrix products and convolutions: torch counts masked pairs of attention too."""
    torch.manual_seed(0)
    config = TrainConfig(lora_rank=8, trackers=[])
    trained = choose_trained(build_model("0.5B", True, "cpu"), config)
    policy: ListPolicy = speed.METHODS[method](trained.policy, trained.autocast)
    shape = Shape(3, 20)
    batch = collate_lists([Lists(1, shape, build_processor())[0]], PAD)
    with FlopCounterMode(display=False) as counter:
        policy(batch)[0].sum().backward()
    counted = sum(
        number
        for kernel, number in counter.get_flop_counts()["Global"].items()
        if "attention" not in str(kernel)
    )
    text, tower = policy.base.get_decoder().config, policy.base.config.vision_config
    pairs = count_attention(text, tower, shape, method == "packed")
    assert flops.count_flops(policy, shape, method == "packed") - pairs == pytest.approx(
        counted, rel=0.05
    )


def test_the_methods_find_the_same_log_probabilities() -> None:
    """Each as training reads them: what is compared for speed does the same work."""
    trained = choose_trained(
        build_model("0.5B", True, "cpu"), TrainConfig(lora_rank=8, trackers=[])
    )
    lists = Lists(2, Shape(3, 20), build_processor())
    batch = collate_lists([lists[0], lists[1]], PAD)
    packed, separate = (
        compute_list_batch(kind(trained.policy, trained.autocast), batch).logps_PG.detach()
        for kind in speed.METHODS.values()
    )
    assert packed.shape == (2, 3)
    torch.testing.assert_close(separate, packed, rtol=speed.SAME_LOSS, atol=0)


def count_attention(text: Any, tower: Any, shape: Shape, packed: bool) -> float:
    """What count_flops adds for attention, from the sums themselves."""
    whole = sum(range(1, PREFIX_TOKENS + shape.answer_tokens + 1))
    prefix = sum(range(1, PREFIX_TOKENS + 1))
    pairs = shape.group_size * (whole - prefix) + prefix if packed else shape.group_size * whole
    images = 1 if packed else shape.group_size
    seen = 577**2 * tower.num_hidden_layers * tower.hidden_size * images
    return 12.0 * pairs * text.hidden_size * text.num_hidden_layers + 4.0 * seen
