"""Thoughts are drafts, tags say where the answer is, and a text without tags is left alone."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpo_core.perception.boxes import Frame
from perpo_core.perception.find_answer import UNCLOSED, find_answer, has_tags
from perpo_core.perception.judging import Item, Judge, Judgement
from perpo_core.perception.rewards import REWARDS, Reading, Target
from perpo_core.perception.rewards.counts import parse_count
from schemas.base import TaskName
from schemas.config import ScoreConfig

FOUND = [
    # what the model wrote, its answer
    ("<think>d</think>a", "a"),
    ("<think>\nd\n</think>\n\na", "\n\na"),
    ("<THINK>d</Think>a", "a"),
    ("<thinking>d</thinking>a", "a"),
    ("<thought>d</thought>a", "a"),
    ("<reasoning>d</reasoning>a", "a"),
    ("<seed:think>d</seed:think>a", "a"),
    ("<mm:think>d</mm:think>a", "a"),
    ("<|think|>d<|/think|>a", "a"),
    ("<|begin_of_thought|>d<|end_of_thought|>a", "a"),
    ("<|START_THINKING|>d<|END_THINKING|>a", "a"),
    ("<|channel>thought\nd<channel|>a", "a"),
    ("[THINK]d[/THINK]a", "a"),
    ("\u25c1think\u25b7d\u25c1/think\u25b7a", "a"),
    # the chat template wrote the opening tag
    ("d</think>a", "a"),
    ("d\u25c1/think\u25b7a", "a"),
    ("d<answer>d</answer>d</think>a", "a"),
    ("d</think>d</think>a", "a"),
    # again and again, and within each other
    ("<think>d</think>d<think>d</think>a", "a"),
    ("<think>d<think>d</think>d</think>a", "a"),
    ("<think>use <think> </think> tags: d</think>a", "a"),
    ("<think>\n<think>\nd</think>a", "a"),
    ("<think></think>a", "a"),
    ("a<think>d</think>", "a"),
    ("a<think>d</think> \n", "a"),
    ("a &lt;think&gt; < think", "a &lt;think&gt; < think"),
    # answer tags
    ("<think>d</think><answer>a</answer>", "a"),
    ("<think>d</think>d<answer>a</answer>d", "a"),
    ("<think>d</think><ANSWER>a</ANSWER>", "a"),
    ("<think><answer>d</answer></think><answer>a</answer>", "a"),
    ("<answer>a</answer>", "a"),
    ("<answer>d</answer><answer>a</answer>", "a"),
    ("<answer>a</answer><think>d</think>", "a"),
    ("<answer>a</answer><answer></answer>", "a"),
    ("<answer>d</answer><think>d</think><answer>a</answer>", "a"),
    ("<think>d</think><answer>a", "a"),
    ("<think>d</think>a</answer>", "a"),
    ("a</answer> d", "a"),
    ("<answer><think>d</think>a</answer>", "a"),
    ("<think>d</think>d<|begin_of_box|>a<|end_of_box|>d", "a"),
    ("<think>d</think><|begin_of_box|>a", "a"),
    ("<answer>d<|begin_of_box|>a<|end_of_box|>d</answer>", "a"),
    ("<answer><|begin_of_box|>a<|end_of_box|></answer>", "a"),
    ("<|begin_of_thought|>d<|end_of_thought|><|begin_of_solution|>a<|end_of_solution|>", "a"),
    # nothing in it
    ("<think>d</think>", ""),
    ("<think>d</think>\n", ""),
    ("d</think>", ""),
    ("<answer></answer>", ""),
    ("<think>d</think>d<answer> </answer>d", ""),
    ("<answer></answer>d", ""),
]

NOT_FOUND = [
    "<think>",
    "<think>d",
    "<Thinking>d",
    "\u25c1think\u25b7d",
    "[THINK]d",
    "d<think>d",
    "<think>d</think>d<think>d",
    "<think>d<think>d</think>d",
    "<think>d<answer>d</answer>",
    "<answer>d</answer><think>d",
]

NO_TAGS = [
    "", " a \n", "[40, 60, 120, 160]", "think>", "<thinker>", "<answers>", "<box>1 2 3 4</box>",
    "<|box_start|>", "[thinks]", "\u25c1\u25b7", "<ththink>", "<a:b:think>", "\ufeff\u200b",
    "<think", "< think >", "<p>answer</p>",
]  # fmt: skip

BOX: Target = {"box": [0.125, 0.25, 0.375, 2 / 3], "text": None, "count": None}


@pytest.mark.parametrize(("text", "answer"), FOUND)
def test_where_the_answer_is(text: str, answer: str) -> None:
    assert find_answer(text) == (answer, None)


@pytest.mark.parametrize("text", NOT_FOUND)
def test_thoughts_without_an_end_have_no_answer(text: str) -> None:
    assert find_answer(text) == (None, UNCLOSED)


@pytest.mark.parametrize("text", NO_TAGS)
def test_a_text_without_tags_is_its_own_answer(text: str) -> None:
    assert not has_tags(text) and find_answer(text) == (text, None)


@given(st.lists(st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "a", " ", "\n"])))
def test_what_is_found_has_no_tags_and_is_part_of_the_text(pieces: list[str]) -> None:
    text = "".join(pieces)
    answer, problem = find_answer(text)
    assert (answer is None) == (problem is not None)
    if answer is not None:
        assert answer in text and not has_tags(answer)
        assert find_answer(answer) == (answer, None)


@pytest.mark.parametrize(
    "piece", ["<think>", "<think> </think>", "</answer>", "<", "<a", "<|end_of_"]
)
def test_time_is_in_proportion(piece: str) -> None:
    def measure(length: int) -> float:
        text = (piece * length)[:length]
        started = time.process_time()
        find_answer(text)
        return time.process_time() - started

    assert measure(800_000) < 30 * max(measure(80_000), 0.01)


def score(text: str, task: TaskName, target: Target) -> Judgement:
    return Judge(ScoreConfig(), "pixels").judge(Item(text, task, target, Frame(320, 240)))


def test_a_draft_box_is_not_scored() -> None:
    right, wrong = "[40, 60, 120, 160]", "[200, 50, 280, 130]"
    rewards = [
        score(f"<think>not the one at {draft}</think><answer>{answer}</answer>", "grounding", BOX)
        for draft, answer in ((wrong, right), (right, wrong))
    ]
    assert [result.reward for result in rewards] == [pytest.approx(1.0), 0.0]
    unclosed = score(f"<think>it is at {right}", "grounding", BOX)
    assert (unclosed.reward, unclosed.error) == (None, UNCLOSED)
    assert score(f"<think>it is at {right}</think>", "grounding", BOX).reward is None


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("<think>2 here and 1 there.</think>3", 3),
        ("2 here and 1 there</think><answer>3</answer>", 3),
        ("<think>3</think>", None),
        ("<think>3", None),
        ("<answer></answer>3", None),
    ],
)
def test_a_draft_count_is_not_read(text: str, count: int | None) -> None:
    found, error = parse_count(text)
    assert found == count and (error is None) == (count is not None)
    target: Target = {"box": None, "text": None, "count": 3}
    assert score(text, "counting", target).reward == (1.0 if count == 3 else None)


@pytest.mark.parametrize(
    ("text", "truth", "reward"),
    [
        ("<think>7, 3 ...</think>\n\n7310", "7310", 1.0),
        ("<think>7310</think><answer>7310</answer>", "7310", 1.0),
        ("<think>7310</think><answer>73</answer>", "7310", 0.5),
        ("<think>a blank page</think><answer></answer>", "", 1.0),
        ("<think>a blank page</think>", "7310", 0.0),
        ("<think>7310", "7310", None),
        # A page about such tags: they are what is to be read.
        ("<think>7</think>", "<think>7</think>", 1.0),
        ("<answer>7", "<answer>7", 1.0),
        ("<p>7</p>", "<p>7</p>", 1.0),
    ],
)
@pytest.mark.parametrize("collapse_whitespace", [True, False])
def test_a_draft_text_is_not_compared(
    text: str, truth: str, reward: float | None, collapse_whitespace: bool
) -> None:
    target: Target = {"box": None, "text": truth, "count": None}
    reading = Reading(Frame(320, 240), "pixels", collapse_whitespace)
    assert REWARDS["edit_similarity"].compute(text, target, reading).reward == reward
