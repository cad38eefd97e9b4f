"""The objective and its terms together."""

from __future__ import annotations

import pytest
from hypothesis import given

from perpo_core.stages.train.objectives import OBJECTIVES, TERMS
from perpo_core.stages.train.objectives.combine import (
    compute_loss_P,
    compute_loss_parts,
    find_needs,
    list_parts,
)
from tests.perpo_core.stages.train.objectives.cases import (
    EXAMPLES,
    build_batch,
    build_case,
    build_config,
    compute,
    draw_cases,
)

MIXABLE = sorted(set(OBJECTIVES) - {"mdpo"})  # mdpo has its terms already
BY_COLUMN = {"smoothing": "column", "smoothing_column": "doubt"}
WEIGHTS = {"nll_weight": 0.5, "conditional_weight": 2.0, "anchor_weight": 0.25,
           "degree_weight": 3.0}  # fmt: skip


@pytest.mark.parametrize("objective", MIXABLE)
@EXAMPLES
@given(case=draw_cases())
def test_terms_add_to_any_objective(objective, case):
    config = build_config(objective, **WEIGHTS)
    parts = [weight * compute(name, case, config) for name, weight in WEIGHTS.items()]
    together = compute_loss_P(build_batch([case]), config).item()
    assert together == pytest.approx(compute(objective, case, config) + sum(parts), rel=1e-12)
    assert set(WEIGHTS) == set(TERMS)


@EXAMPLES
@given(case=draw_cases())
def test_mdpo_is_dpo_with_its_terms_at_weight_1(case):
    batch = build_batch([case])
    parts = build_config("dpo", conditional_weight=1, anchor_weight=1)
    mdpo = compute_loss_P(batch, build_config("mdpo")).item()
    assert mdpo == pytest.approx(compute_loss_P(batch, parts).item(), rel=1e-12)


@pytest.mark.parametrize(
    ("weights", "names"),
    [
        ({}, ["dpo"]),
        ({"anchor_weight": 0.5}, ["dpo", "anchor"]),
        ({"nll_weight": 0.5, "conditional_weight": 2.0}, ["dpo", "nll", "conditional"]),
        ({"degree_weight": 0.5}, ["dpo", "degree"]),
    ],
)
def test_the_parts_of_a_loss_go_by_their_names(weights, names):
    config = build_config("dpo", **weights)
    case = build_case([0.3, -0.1], [0.9, 0.5])
    parts_P = compute_loss_parts(build_batch([case]), config)
    assert list(parts_P) == list_parts(config) == names
    for name, part_P in parts_P.items():
        weight = weights.get(f"{name}_weight", 1)
        loss = compute(f"{name}_weight" if weight != 1 else name, case, config)
        assert part_P.item() == pytest.approx(weight * loss)


@pytest.mark.parametrize(
    ("objective", "weights", "needs"),
    [
        ("perpo", {}, {"reference"}),
        ("sft", {}, set()),
        ("sft", {"nll_weight": 1}, set()),
        ("sft", {"anchor_weight": 1}, {"reference"}),
        ("perpo", {"conditional_weight": 0.1}, {"reference", "crop"}),
        ("mdpo", {}, {"reference", "crop"}),
        ("mrpo", {}, {"reference", "extra_references"}),
        ("sft", {"degree_weight": 0.1}, {"degrees"}),
        ("tis_dpo", {"degree_weight": 0.1}, {"reference", "tokens", "degrees"}),
        ("dpo", {"pairs": "hardest"}, {"reference"}),
        ("dpo", {"pairs": "nearest"}, {"reference", "closeness"}),
        ("rpo", {"pairs": "popular", "nll_weight": 1}, {"reference", "popularity"}),
        ("perpo", {"pairs": "nearest"}, {"reference"}),
        ("rosepo", {"smoothing_slope": 1}, {"reference"}),
        ("rosepo", BY_COLUMN | {"pairs": "popular"}, {"reference", "smoothing", "popularity"}),
        ("dpo", BY_COLUMN, {"reference"}),
        ("p3o", {"pairs": "nearest"}, {"reference", "sampler"}),
    ],
)
def test_what_a_configuration_needs(objective, weights, needs):
    assert find_needs(build_config(objective, **weights)) == needs
