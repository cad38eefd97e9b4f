"""Diversity of training answers: by hand, against a slow reference, whatever the order of rows."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpo_core.rounds.diversity import compute_diversity, compute_spread
from schemas.arrow import CANDIDATES, SCORES

Answers = list[tuple[str, float | None]]
"""(text, reward) of one prompt's answers."""
REWARDS = st.sampled_from([None, 0.0, 0.1, 0.25, 0.5, 1.0]) | st.floats(-1, 1)
PROMPTS = st.lists(
    st.tuples(
        st.sampled_from(["grounding", "ocr"]),
        st.lists(st.tuples(st.sampled_from("abcd"), REWARDS), min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=6,
)


def build_shard(prompts: list[tuple[str, Answers]], first: int = 0) -> tuple[pa.Table, pa.Table]:
    """(candidates, scores), a sample a prompt."""
    numbered = [
        (f"p{number}", task, index, text, reward)
        for number, (task, answers) in enumerate(prompts, first)
        for index, (text, reward) in enumerate(answers)
    ]
    candidates = [{"prompt_id": p, "index": i, "text": text} for p, _, i, text, _ in numbered]
    scores = [
        {"sample_id": f"s{p}", "prompt_id": p, "index": i, "task": task, "reward": reward}
        for p, task, i, _, reward in numbered
    ]
    return (
        pa.Table.from_pylist(candidates, schema=CANDIDATES),
        pa.Table.from_pylist(scores, schema=SCORES),
    )


def compute_slowly(prompts: list[tuple[str, Answers]], task: str) -> dict[str, Any]:
    """From the definitions, a sample and a pair at a time."""
    mine = [answers for of, answers in prompts if of == task]
    judged = [[r for _, r in answers if r is not None] for answers in mine]
    judged = [rewards for rewards in judged if len(rewards) > 1]
    differences = [
        float(np.mean([abs(a - b) for a, b in itertools.combinations(rewards, 2)]))
        for rewards in judged
    ]
    gaps = [max(rewards) - min(rewards) for rewards in judged]
    return {
        "num_samples": len(mine),
        "num_answers": np.mean([len(answers) for answers in mine]),
        "num_different": np.mean([len({text for text, _ in answers}) for answers in mine]),
        "num_judged": len(judged),
        "equal_share": np.mean([gap == 0 for gap in gaps]) if gaps else None,
        "reward_gap": np.mean(gaps) if gaps else None,
        "reward_difference": np.mean(differences) if differences else None,
    }


def test_by_hand() -> None:
    prompts: list[tuple[str, Answers]] = [
        ("grounding", [("a", 1.0), ("a", 1.0), ("b", 0.0), ("c", 0.0)]),  # gap 1, difference 4/6
        ("grounding", [("a", 0.2), ("b", 0.5), ("c", 0.9)]),  # gap 0.7, difference 1.4/3
        ("grounding", [("a", 0.5), ("b", 0.5)]),  # equal
        ("grounding", [("a", 0.5), ("b", None)]),  # one judged answer has no pair
        ("ocr", [("x", None), ("y", None)]),
    ]
    found = compute_diversity([build_shard(prompts)])
    assert found["grounding"].model_dump() == pytest.approx({
        "num_samples": 4, "num_answers": 11 / 4, "num_different": 10 / 4, "num_judged": 3,
        "equal_share": 1 / 3, "reward_gap": 1.7 / 3, "reward_difference": (4 / 6 + 1.4 / 3) / 3,
    })  # fmt: skip
    assert found["ocr"].model_dump() == {
        "num_samples": 1, "num_answers": 2, "num_different": 2, "num_judged": 0,
        "equal_share": None, "reward_gap": None, "reward_difference": None,
    }  # fmt: skip
    assert list(found) == ["grounding", "ocr"]


def test_equal_rewards_differ_by_nothing_at_all() -> None:
    """0.1 + 0.1 - 0.1 - 0.1 must not become a rounding error."""
    rewards = np.full(7, 0.1)
    gaps, differences = compute_spread(rewards, np.zeros(7, dtype=np.int64))
    assert gaps.tolist() == differences.tolist() == [0.0]


def test_two_samples_of_one_prompt_count_each() -> None:
    candidates, scores = build_shard([("grounding", [("a", 1.0), ("b", 0.0)])])
    other = scores.set_column(0, SCORES.field("sample_id"), pa.array(["other"] * 2))
    found = compute_diversity([(candidates, pa.concat_tables([scores, other]))])["grounding"]
    assert (found.num_samples, found.num_answers, found.num_different) == (2, 2, 2)
    assert found.reward_gap == found.reward_difference == 1


@settings(deadline=None)
@given(prompts=PROMPTS, cut=st.integers(0, 6), order=st.randoms(use_true_random=False))
def test_as_the_definitions_say_in_any_order_and_however_sharded(
    prompts: list[tuple[str, Answers]], cut: int, order: Any
) -> None:
    shards = [build_shard(prompts[:cut]), build_shard(prompts[cut:], first=cut)]
    shuffled = []
    for candidates, scores in shards:
        rows = [list(range(table.num_rows)) for table in (candidates, scores)]
        for numbers in rows:
            order.shuffle(numbers)
        shuffled.append(
            (
                candidates.take(pa.array(rows[0], pa.int64())),
                scores.take(pa.array(rows[1], pa.int64())),
            )
        )
    found = compute_diversity(shuffled)
    assert set(found) == {task for task, _ in prompts}
    for task, diversity in found.items():
        expected = compute_slowly(prompts, task)
        assert diversity.model_dump() == pytest.approx(expected, abs=1e-12)
