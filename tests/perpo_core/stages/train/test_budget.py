"""A forward pass computes no more tokens than its budget, whatever the model family can share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpo_core.stages.train import families
from perpo_core.stages.train.budget import (
    choose_count,
    count_apart,
    count_packed,
    split_by_tokens,
)
from perpo_core.stages.train.data import RankedList, collate_lists
from perpo_core.stages.train.list_policy import ListPolicy
from perpo_core.stages.train.loader import Collator
from perpo_core.stages.train.packing import Branch, PackableList
from tests.perpo_core.tiny_families import PAD, build_tiny, build_tiny_lists

ANSWERS = [[3, 1, 4], [2], [5, 3, 3, 1, 7]]


def build_list(prefix: int, *answers: int) -> RankedList:
    branches = [Branch([2] * length) for length in answers]
    return RankedList("", PackableList([1] * prefix, branches), [0.0] * len(answers))


def count_computed(model: Any, lists: list[RankedList]) -> int:
    """Token positions that the decoder's first layer sees in one forward pass."""
    seen = []

    def note(module: Any, args: Any, kwargs: Any) -> None:
        hidden = args[0] if args else kwargs["hidden_states"]
        seen.append(hidden.shape[0] * hidden.shape[1])

    hook = model.get_decoder().layers[0].register_forward_pre_hook(note, with_kwargs=True)
    ListPolicy(model)(collate_lists(lists, PAD))
    hook.remove()
    return sum(seen)


@pytest.mark.parametrize("shares", [True, False])
@pytest.mark.parametrize("name", ["idefics3", "qwen2_5_vl"])
def test_what_is_counted_is_what_is_computed(name, shares, monkeypatch):
    model = build_tiny(name)
    if not shares:
        monkeypatch.delitem(families.NUMBERINGS, name)
    packables = build_tiny_lists(name, model, ANSWERS)
    lists = [RankedList("", each, [0.0] * len(each.branches)) for each in packables]
    count = choose_count(model)
    assert count is (count_packed if shares else count_apart)
    assert count(packables) == count_computed(model, lists)
    crops = [replace(ranked, crop=ranked) for ranked in lists]
    assert 2 * count(packables) == count_computed(model, crops)
    for budget in (1, count(packables[:1]), count(packables[:2]), count(packables)):
        for part in split_by_tokens(lists, budget, count):
            assert len(part) == 1 or count_computed(model, part) <= budget


def test_a_list_that_shares_nothing_costs_its_prompt_once_an_answer():
    """Of 20 answers of 8 tokens after 2,500: 2,660 tokens packed, 50,160 as they are computed."""
    ranked = build_list(2500, *[8] * 20)
    assert count_packed([ranked.packable]) == 2660
    assert count_apart([ranked.packable]) == 50_160


@pytest.mark.parametrize(
    ("max_tokens", "sizes"), [(1000, [3]), (9, [1, 2]), (7, [1, 1, 1]), (1, [1, 1, 1])]
)
def test_packed_lists_add_up(max_tokens, sizes):
    """Lists of 8, 4 and 5 tokens."""
    lists = [build_list(1, length - 1) for length in (8, 4, 5)]
    parts = split_by_tokens(lists, max_tokens, count_packed)
    assert [len(part) for part in parts] == sizes
    assert [ranked for part in parts for ranked in part] == lists


@pytest.mark.parametrize(
    ("max_tokens", "sizes"), [(54, [3]), (53, [2, 1]), (20, [2, 1]), (19, [1, 1, 1])]
)
def test_rows_apart_are_as_long_as_the_longest(max_tokens, sizes):
    """2 rows of 5, 2 of 5, and 2 of 9: together 6 of 9."""
    lists = [build_list(4, 1, 1), build_list(3, 2, 1), build_list(8, 1, 1)]
    parts = split_by_tokens(lists, max_tokens, count_apart)
    assert [len(part) for part in parts] == sizes


@pytest.mark.parametrize(("max_tokens", "sizes"), [(28, [2]), (27, [1, 1]), (18, [1, 1])])
def test_crops_count_too(max_tokens, sizes):
    """Lists of 8 and 10 tokens, of which the first has a crop of 4 and the second one of 6."""
    crops = [build_list(2, 2), build_list(2, 4)]
    lists = [
        replace(build_list(1, length - 1), crop=crop)
        for length, crop in zip((8, 10), crops, strict=True)
    ]
    parts = split_by_tokens(lists, max_tokens, count_packed)
    assert [len(part) for part in parts] == sizes


@given(
    st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=8),
    st.integers(1, 60),
    st.sampled_from([count_packed, count_apart]),
)
def test_no_pass_is_over_its_budget_and_no_list_is_lost(shapes, budget, count):
    lists = [build_list(prefix, *answers or [1]) for prefix, *answers in shapes]
    parts = split_by_tokens(lists, budget, count)
    assert [ranked for part in parts for ranked in part] == lists
    for part, following in zip(parts, [*parts[1:], []], strict=True):
        assert len(part) == 1 or count([ranked.packable for ranked in part]) <= budget
        if following:  # and no pass is smaller than it need be
            assert count([ranked.packable for ranked in [*part, following[0]]]) > budget


def test_the_collator_counts_as_the_model_computes():
    lists = [build_list(100, 5, 5, 5, 5) for _ in range(4)]  # 120 tokens packed, 420 apart
    sizes = {
        count: [part["batch"].num_lists for part in Collator(PAD, 4, 840, count)(lists)["parts"]]
        for count in (count_packed, count_apart)
    }
    assert sizes == {count_packed: [4], count_apart: [2, 2]}
