"""Judging: one reward, mixtures of several, several truths, and keys that stay what they were."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpo_core.configuration.load import ConfigError, load_config
from perpo_core.perception.boxes import Frame
from perpo_core.perception.judging import Item, Judge, Judgement, describe_judging
from perpo_core.perception.rewards import Target
from perpo_core.perception.tasks import TASKS
from perpo_core.store.keys import compute_hash
from schemas.config import ScoreConfig

FRAME = Frame(100, 100)
BOX: Target = {"box": [0.0, 0.0, 0.5, 0.5], "text": None, "count": None}
FOUR: Target = {"box": None, "text": None, "count": 4}


def build_judge(**score: Any) -> Judge:
    return Judge(ScoreConfig.model_validate(score), "norm1")


def count(text: str, target: Target = FOUR, **table: Any) -> Judgement:
    return build_judge(counting=table).judge(Item(text, "counting", target, FRAME))


BOTH = {"count_accuracy": 2.0, "exact_match": 0.5}


@pytest.mark.parametrize(
    ("text", "table", "total"),
    [
        ("3", {"reward": BOTH}, 1.5),
        ("4", {"reward": BOTH}, 2.5),
        ("4", {"reward": BOTH, "clip": [0, 1]}, 1.0),
        ("0", {"reward": BOTH, "clip": [0.5, 3]}, 0.5),
        ("2", {"reward": BOTH, "threshold": 1.2}, 0.0),
        ("3", {"reward": BOTH, "threshold": 1.5}, 1.5),  # not below it
        ("2", {"reward": BOTH, "threshold": 1.2, "clip": [0.5, 3]}, 0.5),
        ("2", {"reward": {"exact_match": -1.0, "count_accuracy": 1.0}}, 0.5),
        ("4", {"reward": {"exact_match": -1.0, "count_accuracy": 1.0}}, 0.0),
        ("4", {"reward": {"exact_match": 0.0, "count_accuracy": 1.0}}, 1.0),
        ("4", {"reward": "exact_match"}, 1.0),
    ],
)
def test_totals_worked_by_hand(text: str, table: dict[str, Any], total: float) -> None:
    judgement = count(text, **table)
    assert judgement.reward == judgement.value == pytest.approx(total)
    assert judgement.error is None


def test_every_part_is_kept_by_name() -> None:
    judgement = count("3", reward={"count_accuracy": 2.0, "exact_match": 0.0})
    assert judgement.rewards == {"count_accuracy": 0.75, "exact_match": 0.0}
    assert (judgement.reward, judgement.parsed) == (1.5, 3)


@pytest.mark.parametrize(
    ("table", "value"),
    [
        ({"reward": BOTH}, 0.0),
        ({"reward": {"count_accuracy": 1.0, "exact_match": -2.0}}, -2.0),
        ({"reward": {"count_accuracy": 1.0, "exact_match": -2.0}, "clip": [-0.5, 1]}, -0.5),
        ({"reward": BOTH, "clip": [0.5, 2]}, 0.0),
    ],
)
def test_a_part_that_fails_costs_the_total_which_is_then_no_better_than_the_lowest(
    table: dict[str, Any], value: float
) -> None:
    judgement = count("many", **table)
    assert judgement.reward is None and judgement.value == value
    assert judgement.error == "count_accuracy: no number in the answer"
    assert count("many", reward="exact_match").error == "no number in the answer"


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ('{reward={exact_mach=2}}', "unknown key score.counting.reward.exact_mach; did you mean "
         "score.counting.reward.exact_match?"),
        ("{reward={iou=1}}", "unknown key score.counting.reward.iou; known here: count_accuracy, "),
        ("{reward={exact_match=0}}", "score.counting.reward = {exact_match = 0.0} has no weight "
         "but 0, so that all answers would be worth the same; give one, for example "
         "{count_accuracy = 1.0}"),
        ("{reward={}}", "score.counting.reward = {} has no weight but 0"),
        ('{reward="iou"}', 'score.counting.reward = "iou" is not allowed; allowed: '),
        ("{reward=3}", "score.counting.reward = 3 is not allowed; allowed: a reward or a table of "
         "REWARD = a number >= -100 and <= 100"),
        ("{reward={exact_match=1000}}", "score.counting.reward.exact_match = 1000 is not allowed"),
        ("{clip=[0, 1]}", "score.counting.reward is missing"),
        ("{rewards={}, reward={exact_match=1}}", "unknown key score.counting.rewards"),
        ('{reward="exact_match", options={exact_match={a=1}}}', "score.counting.options.exact_match"
         ": exact_match has no options; remove it"),
        ('{reward="exact_match", options={iou={a=1}}}', "unknown key score.counting.options.iou; "
         "known here: exact_match"),
        ('{reward="exact_match", clip=[1, 0]}', "score.counting: clip [1, 0] has to be [lowest, "
         "highest]; correct it"),
        ('{reward="exact_match", clip=[1]}', "score.counting.clip"),
        ('{reward="exact_match", clip=[2, 3]}', "score.counting.clip: every total would be 2"),
        ('{reward="exact_match", threshold=2}', "score.counting.threshold = 2 parts no totals, "
         "which go from 0 to 1; give one between them"),
        ('{reward="exact_match", threshold=0}', "score.counting.threshold = 0 parts no totals"),
        ('{reward="exact_match", clip=[0, 0.01]}', "lists.min_gap.counting = 0.04 is more than two "
         "totals of counting can differ by, 0.01; lower it"),
    ],
)  # fmt: skip
def test_tables_that_mean_nothing_are_refused_in_a_sentence(setting: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(None, [f"score.counting={setting}"])
    assert sentence in str(refused.value)


def test_weights_may_be_set_one_by_one() -> None:
    config = load_config(None, [f"score.counting.reward.{name}=1" for name in BOTH])
    judgement = Judge(config.score, "norm1").judge(Item("4", "counting", FOUR, FRAME))
    assert judgement.reward == 2.0


def test_the_best_of_the_accepted_truths_counts() -> None:
    several: Target = {**FOUR, "others": [{"box": None, "text": None, "count": 8}]}
    texts = ("4", "8", "6", "many")
    assert [count(text, several, reward="count_accuracy").reward for text in texts] == [
        1.0, 1.0, 0.75, None,
    ]  # fmt: skip


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.integers(0, 9))
def test_the_order_of_accepted_truths_does_not_matter(truths: list[int], stated: int) -> None:
    def measure(counts: list[int]) -> float | None:
        first, *others = ({"box": None, "text": None, "count": number} for number in counts)
        target: Any = {**first, "others": others}
        return count(str(stated), target, reward="count_accuracy").reward

    assert measure(truths) == measure(truths[::-1])
    assert measure(truths) == max(measure([truth]) or 0.0 for truth in truths)


def test_answers_of_many_tasks_come_back_in_their_order_with_the_measure_of_each() -> None:
    judge = build_judge(counting={"reward": "exact_match"})
    items = [
        Item("3", "counting", FOUR, FRAME),
        Item("[0, 0, 0.5, 0.25]", "grounding", BOX, FRAME),
        Item("many", "counting", FOUR, FRAME),
        Item("4", "counting", FOUR, FRAME),
    ]
    judgements = judge.judge_many(items, with_measure=True)
    assert [judgement.reward for judgement in judgements] == [0.0, 0.5, None, 1.0]
    assert [judgement.measure for judgement in judgements] == [0.75, 0.5, None, 1.0]
    assert {judgement.measure for judgement in judge.judge_many(items)} == {None}


@pytest.mark.parametrize("task", TASKS)
def test_what_a_task_reports_is_measured_by_a_reward_of_its_own(task: str) -> None:
    assert TASKS[task].measure in TASKS[task].rewards


# What keys held before rewards could be mixed; they name scores and checkpoints in stores.
@pytest.mark.parametrize(
    ("settings", "digest"),
    [
        ([], "0cea15f3b01e98bbfa390c93827886b47cb536c414233316e4a7b46bd5912c53"),
        (
            ["score.pointing=pointing"],
            "f3b3c66f5a01dc39df9c11084b0debfe5d41f352f7833bad85af572cbc05f35a",
        ),
        (
            ["score.counting=exact_match", "score.on_unparsed=drop"],
            "d39633e69be7aa05be2db8b2ef8a7df298a7e581c916880825ec52fb26b07413",
        ),
        (
            ["policy.box_format=pixels_resized", "policy.max_pixels=1000000"],
            "6b62a47064f0ed59b63f6d357c887cc421a3a99bba51ed8f04a9e339dc7ccdf8",
        ),
    ],
)
def test_keys_of_a_single_reward_stay_what_they_were(settings: list[str], digest: str) -> None:
    assert compute_hash(describe_judging(load_config(None, settings), 3)) == digest


def test_all_of_a_mixture_is_part_of_the_key() -> None:
    tables: list[dict[str, Any]] = [
        {"reward": "exact_match"}, {"reward": BOTH}, {"reward": BOTH, "clip": [0, 1]},
        {"reward": BOTH, "threshold": 0.5}, {"reward": {**BOTH, "exact_match": 1.0}},
    ]  # fmt: skip
    configs = [
        load_config(None, []).model_copy(
            update={"score": ScoreConfig.model_validate({"counting": table})}
        )
        for table in tables
    ]
    hashes = {compute_hash(describe_judging(config, 3)) for config in configs}
    assert len(hashes) == len(tables)
