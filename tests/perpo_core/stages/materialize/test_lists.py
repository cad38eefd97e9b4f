"""Lists: every reason, hand-worked ranks and thinning, and independence of the order of arrival."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpo_core.stages.materialize import lists
from perpo_core.stages.materialize.lists import Answer, ListOutcome, build_list, spread_evenly
from schemas.config import ListsConfig

ANY_GAP = ListsConfig(min_gap={})


def answer(index: int, reward: float | None, text: str | None = None, **more: Any) -> Answer:
    fields: dict[str, Any] = {"finish_reason": "stop", "logp": -1.0, "token_ids": [index]} | more
    own_text = f"answer {index}" if text is None else text
    return Answer(
        index=index, candidate_hash=f"hash {index}", text=own_text, reward=reward, **fields
    )


def build(rewards: list[float], **config: Any) -> ListOutcome:
    answers = [answer(index, reward) for index, reward in enumerate(rewards)]
    return build_list(answers, "grounding", ListsConfig(**({"min_gap": {}} | config)))


def list_indices(outcome: ListOutcome) -> list[int]:
    assert outcome.ranked is not None
    return [answer.index for answer in outcome.ranked.answers]


def test_best_first_ties_by_index_and_dense_ranks() -> None:
    outcome = build([0.5, 0.9, 0.1, 0.5])
    assert list_indices(outcome) == [1, 0, 3, 2]
    assert outcome.ranked is not None
    assert outcome.ranked.ranks == (0, 1, 1, 2)
    assert outcome.ranked.gap == pytest.approx(0.8)
    assert outcome.dropped == ()


def test_candidates_leave_with_their_reason() -> None:
    answers = [
        answer(0, 0.9, "a"),
        answer(1, None, "b", error="no four numbers in the answer"),
        answer(2, 0.8, "c", finish_reason="length"),
        answer(3, 0.9, "a"),
        answer(4, 0.2, "d"),
    ]
    outcome = build_list(answers, "grounding", ANY_GAP)
    assert list_indices(outcome) == [0, 4]
    assert [(d.index, d.reason, d.detail) for d in outcome.dropped] == [
        (1, "no reward", "no four numbers in the answer"),
        (2, "cut off by length", ""),
        (3, "duplicate text", "same as 0"),
    ]


def test_answers_that_left_are_named_where_there_is_no_list_too() -> None:
    answers = [answer(0, 0.9, "a"), answer(1, 0.9, "a"), answer(2, None, "b")]
    outcome = build_list(answers, "grounding", ANY_GAP)
    assert outcome.reason == "fewer than two answers left"
    assert [(d.index, d.reason, d.detail) for d in outcome.dropped] == [
        (2, "no reward", ""),  # and nobody said why
        (1, "duplicate text", "same as 0"),
    ]


def test_duplicates_can_stay() -> None:
    answers = [answer(0, 0.9, "a"), answer(1, 0.9, "a"), answer(2, 0.1, "b")]
    config = ListsConfig(min_gap={}, drop_duplicates=False)
    assert list_indices(build_list(answers, "ocr", config)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("rewards", "min_gap", "reason", "detail"),
    [
        ([], 0.0, "fewer than two answers left", "0 left"),
        ([0.5], 0.0, "fewer than two answers left", "1 left"),
        ([0.5, 0.5, 0.5], 0.0, "all rewards equal", "all 0.5"),
        ([0.9, 0.2], 0.8, "gap below threshold", "0.7 < 0.8"),
        ([1.0, 0.2], 0.8, None, ""),
        ([0.84, 0.8], 0.04, None, ""),  # 0.03999999999999992 in floating point
    ],
)
def test_when_there_is_no_list(
    rewards: list[float], min_gap: float, reason: str | None, detail: str
) -> None:
    outcome = build(rewards, min_gap={"grounding": min_gap})
    assert (outcome.reason, outcome.detail) == (reason, detail)
    assert (outcome.ranked is None) == (reason is not None)


def test_thinning_keeps_best_and_worst_and_says_who_left() -> None:
    outcome = build([0.9, 0.8, 0.7, 0.6, 0.5], list_size=3)
    assert list_indices(outcome) == [0, 2, 4]
    assert [(d.index, d.reason, d.detail) for d in outcome.dropped] == [
        (1, "thinned to list_size", ""),
        (3, "thinned to list_size", ""),
    ]
    assert outcome.ranked is not None and outcome.ranked.ranks == (0, 1, 2)


@pytest.mark.parametrize(
    ("num_ranked", "list_size", "positions"),
    [(9, 3, [0, 4, 8]), (6, 3, [0, 3, 5]), (5, 4, [0, 1, 3, 4]), (3, 3, [0, 1, 2]), (1, 2, [0])],
)
def test_positions_by_hand(num_ranked: int, list_size: int, positions: list[int]) -> None:
    """Halves are rounded up: of six answers the middle one is the fourth."""
    assert spread_evenly(num_ranked, list_size) == positions


@given(st.integers(0, 300), st.integers(2, 40))
def test_evenly_spaced_positions(num_ranked: int, list_size: int) -> None:
    positions = spread_evenly(num_ranked, list_size)
    assert len(positions) == min(num_ranked, list_size)
    assert positions == sorted(set(positions))
    if num_ranked >= 2:
        assert positions[0] == 0 and positions[-1] == num_ranked - 1
        steps = {b - a for a, b in pairwise(positions)}
        assert max(steps) - min(steps) <= 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from([None, 0.0, 0.25, 0.5, 1.0]),
            st.sampled_from("abcdef"),
            st.sampled_from(["stop", "stop", "length"]),
        ),
        max_size=12,
    ),
    st.randoms(use_true_random=False),
    st.integers(2, 6),
)
def test_order_of_arrival_does_not_matter_and_no_answer_vanishes(
    rows: list[tuple[float | None, str, str]], random: Any, list_size: int
) -> None:
    answers = [
        answer(index, reward, text, finish_reason=reason)
        for index, (reward, text, reason) in enumerate(rows)
    ]
    config = ListsConfig(min_gap={"ocr": 0.5}, list_size=list_size)
    outcome = build_list(answers, "ocr", config)
    shuffled = list(answers)
    random.shuffle(shuffled)
    assert build_list(shuffled, "ocr", config) == outcome
    gone = [dropped.index for dropped in outcome.dropped]
    assert len(gone) == len(set(gone))
    if outcome.ranked is not None:
        kept = [answer.index for answer in outcome.ranked.answers]
        assert sorted(gone + kept) == list(range(len(rows)))
        rewards = [answer.reward for answer in outcome.ranked.answers]
        assert rewards == sorted(rewards, reverse=True)  # type: ignore[type-var]


def test_widest_gaps_first_and_equal_ones_by_id() -> None:
    gaps = {"d": 0.5, "c": 0.9, "b": 0.5, "a": 0.1}
    assert lists.select_widest(gaps, 2) == {"c", "b"}
    assert lists.select_widest(gaps, None) == set(gaps)


def test_no_list_names_reasons_and_a_setting() -> None:
    message = lists.explain_no_lists({"gap below threshold": 7, "all rewards equal": 3})
    assert message == (
        "no list was kept of 10 samples (gap below threshold: 7, all rewards equal: 3); "
        "look at lists.min_gap"
    )
    assert "no train sample" in lists.explain_no_lists({})


@pytest.mark.parametrize(
    ("reason", "settings"),
    [
        (lists.TOO_FEW, "generate.max_tokens (cut-off answers) or score.on_unparsed"),
        (lists.ALL_EQUAL, "generate.temperature, generate.num_candidates or policy.box_format"),
        (lists.SMALL_GAP, "lists.min_gap"),
        (lists.OVER_MAX, "lists.max_lists"),
        ("a prompt too long", "policy.max_model_len and source.max_image_side"),
    ],
)
def test_every_reason_has_its_setting(reason: str, settings: str) -> None:
    assert lists.explain_no_lists({reason: 2, "something rarer": 1}).endswith(f"look at {settings}")


def test_of_equally_many_the_first_name_leads() -> None:
    """Whatever came first: two runs say the same."""
    names = ["fewer than two answers left", "all rewards equal"]
    assert lists.explain_no_lists(dict.fromkeys(names, 2)).endswith("policy.box_format")
    assert list(lists.count_reasons([*names, *names[:1]]).items()) == [
        ("all rewards equal", 1),
        ("fewer than two answers left", 2),
    ]
