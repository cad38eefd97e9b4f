"""What every objective and term declares of itself, checked for each of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses import FakeTensorMode

from perpo_core.stages.train.objectives import OBJECTIVES, ListBatch
from perpo_core.stages.train.objectives.base import Invariance
from perpo_core.stages.train.objectives.combine import find_needs_of_settings
from perpo_core.stages.train.settings import READ_BY, list_unread
from schemas.train_config import TrainConfig
from tests.perpo_core.stages.train.objectives.cases import (
    EXAMPLES,
    LOSSES,
    Case,
    build_batch,
    build_case,
    compute,
    compute_gradients,
    draw_cases,
    list_configs,
    move_batch,
)

CONFIGS = [(name, config) for name in LOSSES for config in list_configs(name)]

# Every change is exact, or so mild that float64 keeps all orders and ties.
CHANGES: dict[Invariance, Callable[[Case, int], Case]] = {
    "reward_shift": lambda case, n: replace(
        case, rewards=[reward + n - 5 for reward in case.rewards]
    ),
    "reward_affine": lambda case, n: replace(
        case, rewards=[n / 4 * reward + n - 5 for reward in case.rewards]
    ),
    "reward_order": lambda case, n: replace(
        case, rewards=[math.exp(n / 4 * reward) for reward in case.rewards]
    ),
    "reference_shift": lambda case, n: replace(case, refs=[ref - n / 4 for ref in case.refs]),
}


def list_invariances(name: str) -> set[Invariance]:
    """As declared; what leaves order and ties alone includes affine changes, and these shifts."""
    declared: set[Invariance] = set(LOSSES[name].invariances)
    if "reward_order" in declared:
        declared.add("reward_affine")
    return declared | {"reward_shift"} if "reward_affine" in declared else declared


DECLARED = [(*pair, change) for pair in CONFIGS for change in sorted(list_invariances(pair[0]))]
UNDECLARED = [
    (name, change) for name in LOSSES for change in sorted(set(CHANGES) - list_invariances(name))
]


@pytest.mark.parametrize(("name", "config"), CONFIGS)
@EXAMPLES
@given(case=draw_cases(), data=st.data())
def test_the_order_of_a_list_changes_nothing(name, config, case, data):
    order = data.draw(st.permutations(range(len(case.logps))))
    moved = compute(name, case.reorder(order), config)
    assert moved == pytest.approx(compute(name, case, config), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("name", "config"), CONFIGS)
@EXAMPLES
@given(cases=st.lists(draw_cases(), min_size=2, max_size=3))
def test_neither_padding_nor_company_changes_anything(name, config, cases):
    together = LOSSES[name].compute_loss_P(build_batch(cases), config).tolist()
    alone = [compute(name, case, config) for case in cases]
    assert together == pytest.approx(alone, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("name", "config", "invariance"), DECLARED)
@EXAMPLES
@given(case=draw_cases(), n=st.integers(1, 12))
def test_declared_invariances_hold(name, config, invariance, case, n):
    moved = compute(name, CHANGES[invariance](case, n), config)
    assert moved == pytest.approx(compute(name, case, config), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("name", "invariance"), UNDECLARED)
def test_what_is_not_declared_does_not_hold(name, invariance):
    case = replace(build_case([-0.5, -1.25, 0.25], [0.9, 0.5, 0.0]), refs=[-1.0, -2.0, -4.0])
    config = list_configs(name)[-1]
    moved = compute(name, CHANGES[invariance](case, 8), config)
    assert moved != pytest.approx(compute(name, case, config), rel=1e-3)


OTHER_VALUE = {
    "gamma": 1.5, "pairs": "all", "rpo_eta": 0.7, "rpo_nll": "cumulative", "mrpo_clip": 0.6,
    "tis_pairs": "gap", "tis_low": -0.1, "tis_high": 0.2, "tis_scale": 0.3, "smoothing": "column",
    "smoothing_slope": 7.0, "clip": "separate", "clip_range": 0.2, "kl_weight": 0.5,
}  # fmt: skip


@pytest.mark.parametrize("setting", OTHER_VALUE)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_setting_is_read_by_whom_it_is_declared_to_be(name, setting):
    """Who reads it gives another loss; nobody else does, whose key leaves it out."""
    case = replace(build_case([-0.5, -1.25, 0.25], [0.9, 0.5, 0.0]), refs=[-1.0, -2.0, -4.0])
    config = list_configs(name)[-1 if setting == "gamma" else 0]
    other = config.model_copy(update={setting: OTHER_VALUE[setting]})
    if (setting, name) == ("pairs", "mdpo"):
        pytest.skip("the configuration refuses other pairs for mdpo")
    is_read = compute(name, case, config) != compute(name, case, other)
    assert is_read == (name in READ_BY[setting])
    assert (setting in list_unread(config)) != is_read


def test_every_setting_that_only_some_read_is_tested() -> None:
    # What smoothing_PG and degree_logits_PVD hold: test_smoothing.py, test_versions.py.
    by_the_stage = {"smoothing_column", "degree_weight", "degrees", "degree_learning_rate"}
    assert set(READ_BY) == set(OTHER_VALUE) | by_the_stage


def test_every_invariance_is_tested() -> None:
    assert set(CHANGES) == set(get_args(Invariance))


@pytest.mark.parametrize(("name", "config"), CONFIGS)
@pytest.mark.parametrize(
    ("rewards", "mask", "defined"),
    [
        ([0.5, 0.5, 0.5], [True, True, True], "alike"),
        ([0.1, 0.5, 0.9], [True, False, False], "alike"),
        ([0.5, 0.9, 0.5], [True, False, True], "alike"),
        ([0.1, 0.5, 0.9], [False, False, False], "never"),
    ],
    ids=["all tied", "singleton", "tied beside a hole", "all masked"],
)
def test_undefined_lists_have_no_loss_and_no_gradient(name, config, rewards, mask, defined):
    batch = build_batch([build_case([1.0, -2.0, 3.0], rewards, mask)])
    loss = LOSSES[name].compute_loss_P(batch, config).sum()
    gradients = compute_gradients(loss, batch.logps_PG, batch.crop_logps_PG)
    if LOSSES[name].ties == defined:
        assert loss.item() != 0
    else:
        assert loss.item() == 0
        assert not torch.stack(gradients).any()


@pytest.mark.parametrize(("name", "config"), CONFIGS)
def test_answers_that_tie_for_the_best_are_never_compared(name, config):
    """The loss has no joint curvature in two answers that never meet."""
    batch = build_batch([build_case([0.5, -0.25, -1.0], [0.9, 0.9, 0.1])])

    def evaluate(logps_PG: torch.Tensor) -> torch.Tensor:
        return LOSSES[name].compute_loss_P(replace(batch, logps_PG=logps_PG), config).sum()

    hessian = torch.autograd.functional.hessian(evaluate, batch.logps_PG.detach())
    assert abs(hessian[0, 0, 0, 1]) < 1e-15


@pytest.mark.parametrize(("name", "config"), CONFIGS)
@EXAMPLES
@given(case=draw_cases())
def test_what_is_not_needed_is_not_read(name, config, case):
    whole = build_batch([case])
    loss_P = LOSSES[name].compute_loss_P(keep_needed(whole, name, config), config)
    assert loss_P.tolist() == LOSSES[name].compute_loss_P(whole, config).tolist()


def keep_needed(batch: ListBatch, name: str, config: TrainConfig) -> ListBatch:
    needs = LOSSES[name].needs | (find_needs_of_settings(config) if name in OBJECTIVES else set())
    if "crop" not in needs:
        batch = replace(batch, crop_logps_PG=None, ref_crop_logps_PG=None)
    if "degrees" not in needs:
        batch = replace(batch, degree_logits_PVD=None, degrees_PV=None)
    if "extra_references" not in needs:
        batch = replace(batch, extra_ref_logps_KPG=None)
    if "closeness" not in needs:
        batch = replace(batch, closeness_PG=None)
    if "popularity" not in needs:
        batch = replace(batch, popularity_PG=None)
    if "sampler" not in needs:
        batch = replace(batch, sampler_logps_PG=None)
    if "smoothing" not in needs:
        batch = replace(batch, smoothing_PG=None)
    if "reference" not in needs:
        batch = replace(batch, ref_logps_PG=torch.full_like(batch.ref_logps_PG, torch.nan))
    return batch


@pytest.mark.parametrize(("name", "config"), CONFIGS)
def test_crops_of_answers_that_are_not_best_are_not_read(name, config):
    case = build_case([0.5, -0.25, -1.0], [0.9, 0.9, 0.1])
    moved = replace(case, crops=[*case.crops[:2], math.nan], ref_crops=[*case.ref_crops[:2], 9.0])
    assert compute(name, moved, config) == compute(name, case, config)


@pytest.mark.parametrize(("name", "config"), CONFIGS)
def test_everything_is_computed_where_the_batch_is(name, config):
    """Fake tensors of another device meet no real ones, as those of an accelerator do not."""
    case = build_case([0.5, -0.25, -1.0], [0.9, 0.9, 0.1])
    with FakeTensorMode():
        loss_P = LOSSES[name].compute_loss_P(move_batch(build_batch([case]), "meta"), config)
    assert loss_P.device.type == "meta"
