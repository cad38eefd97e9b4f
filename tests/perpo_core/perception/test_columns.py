"""Answers judged all at once are judged as one by one: to the last bit, reasons and parsed too."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from perpo_core.perception.boxes import BOX_FORMATS, Frame
from perpo_core.perception.boxes.columns import parse_box_columns
from perpo_core.perception.column_judging import JUDGED, ColumnJudge
from perpo_core.perception.judging import Judge
from perpo_core.perception.rewards import REWARDS, Item, Question, Target
from perpo_core.perception.rewards.box_columns import write_floats
from perpo_core.perception.rewards.text_columns import collapse_spaces, write_strings
from perpo_core.perception.tasks.grounding import GROUNDING
from schemas.base import BoxFormatName
from schemas.config import ScoreConfig
from tests.perpo_core.perception import answers, families

BOX_FORMAT_NAMES = get_args(BoxFormatName)
FRAMES = [Frame(400, 200, 448, 224), Frame(37, 1999, 56, 1988), Frame(1, 1, 28, 28)]
FULL_WIDTH = str.maketrans("0123456789.,[]", "".join(map(chr, (
    *range(0xFF10, 0xFF1A), 0xFF0E, 0xFF0C, 0xFF3B, 0xFF3D
))))  # fmt: skip


def build_target(**truth: Any) -> Target:
    return {"box": None, "text": None, "count": None, **truth}  # type: ignore[typeddict-item]


def judge_one_by_one(
    score: ScoreConfig, box_format: str, texts: Sequence[str], questions: Sequence[Question],
    numbers: Sequence[int],
) -> pa.Table:  # fmt: skip
    """The slow reference: what stored scores have always been made of."""
    asked = [questions[number] for number in numbers]
    items = [Item(t, q.task, q.target, q.frame) for t, q in zip(texts, asked, strict=True)]
    rows = []
    for judgement in Judge(score, box_format).judge_many(items):
        counts = score.on_unparsed == "zero" or judgement.reward is not None
        parsed = judgement.parsed
        rows.append({
            "reward": judgement.value if counts else None,
            "rewards": list(judgement.rewards.items()) if counts else [],
            "parsed": None if parsed is None else json.dumps(parsed, ensure_ascii=False),
            "error": judgement.error,
        })  # fmt: skip
    return pa.Table.from_pylist(rows, schema=JUDGED)


def check_same(
    score: dict[str, Any], box_format: str, texts: Sequence[str], questions: Sequence[Question],
    numbers: Sequence[int],
) -> None:  # fmt: skip
    config = ScoreConfig.model_validate(score)
    expected = judge_one_by_one(config, box_format, texts, questions, numbers).to_pylist()
    judge = ColumnJudge(config, box_format)
    table = judge.judge(pa.array(texts, pa.string()), questions, np.array(numbers, np.int64))
    assert table.schema.equals(JUDGED)
    for text, one, other in zip(texts, expected, table.to_pylist(), strict=True):
        assert repr(one) == repr(other), text  # repr tells -0.0 from 0.0


def digits(low: int, high: int) -> st.SearchStrategy[str]:
    return st.integers(low, high).map(str)


NUMBERS = st.one_of(
    digits(0, 1000),
    st.integers(0, 1000).map(lambda n: f"{n / 1000:.2f}"),
    st.integers(0, 10**6).map(lambda n: repr(n / 10**6)),
    st.sampled_from(
        ["0", "0.0", "-0", "-0.0", "1", "1.0", "007", "0.00001", "-0.25", "-12", "1.5"]
    ),
    st.sampled_from(["+3", "4.", ".5", "1e2", "2.5e-01", "20e2", "10%", "1/2", "1.2.3", "0x10"]),
    st.sampled_from(["nan", "null", "", "\uff13", "3\u00b2", "\u0663", "1 2", "9" * 400, "-"]),
    digits(1001, 10**7),
)
WRAPS = st.sampled_from([
    ("", ""), ("[", "]"), ("(", ")"), ("{", "}"), ("[[", "]]"), ("[", ""), ("", "]"),
    (" [ ", " ] "),
    ("[\n\t", "\r\n]\n"), ("The cat is at [", "]."), ("2 cats: [", "]"), ("<box>", "</box>"),
    ('```json\n[{"bbox_2d": [', '], "label": "cup 3"}]\n```'), ('{"bbox": [', "]}"),
    ("<think>[1, 2, 3, 4]</think>[", "]"), ("<think>[", "]"), ("[think] (", ")"),
    ("(", ")</think>"), ("[", "] or [1, 2, 3, 4]"), ("[", "] \u200b"), ("x-[", "]-"),
    ('{"box_2d": [', ']} or {"x1": 1, "y1": 2, "x2": 3, "y2": 4}'),
    ('[{"bbox_2d": (', "), (5, 6)}]"),
    ("<answer>(", ")</answer>"), ("(null, none) (", ")"), ("null, none: (", ")"),
    ("(", ") or (1, 2)"), ("(", "),(5, 6)"), ("a\x1fb(", ")"), ("\u00e9 [", "]"),
])  # fmt: skip
LISTS = st.builds(
    lambda numbers, comma, wrap: wrap[0] + comma.join(numbers) + wrap[1],
    st.lists(NUMBERS, min_size=4, max_size=4) | st.lists(NUMBERS, max_size=6),
    st.sampled_from([", ", ",", " , ", ",\n", ", , ", " ", "><"]),
    WRAPS,
)
OTHERS = st.sampled_from(
    answers.BOXES + [text for texts in families.READ.values() for text in texts]
)
TOKENS = st.builds(
    lambda numbers, token, around: "".join(map(token.format, numbers)).join(around),
    st.lists(st.integers(0, 1100), min_size=3, max_size=6),
    st.sampled_from(
        ["<loc{:04d}>", "<loc_{}>", "<bin_{}>", "<loc{:04d}> ", "<patch_index_{:04d}>"]
    ),
    st.sampled_from([("", ""), ("a 2 ", "."), ("<loc_1>;", " <s>"), ("[", "]"), ("<LOC0001>", "")]),
)  # fmt: skip


@st.composite
def written_boxes(draw: st.DrawFn) -> str:
    """As the box formats write them, so that boxes come of it."""
    corners = sorted(draw(st.lists(st.floats(-0.2, 1.2), min_size=2, max_size=2)))
    others = draw(st.lists(st.floats(-0.2, 1.2), min_size=2, max_size=2))
    box = corners[0], others[0], corners[1], others[1]
    return BOX_FORMATS[draw(st.sampled_from(BOX_FORMAT_NAMES))].write(
        box, draw(st.sampled_from(FRAMES))
    )


TEXTS = st.one_of(
    LISTS, written_boxes(), OTHERS, TOKENS, LISTS.map(lambda text: text.translate(FULL_WIDTH)),
    st.text(max_size=20), st.sampled_from(["", " ", "\n", "[]", "none"]),
)  # fmt: skip
SIDES = st.floats(0, 1, allow_subnormal=False)


@st.composite
def true_boxes(draw: st.DrawFn) -> list[float]:
    x1, x2 = sorted(draw(st.lists(SIDES, min_size=2, max_size=2, unique=True)))
    y1, y2 = sorted(draw(st.lists(SIDES, min_size=2, max_size=2, unique=True)))
    return [x1, y1, x2, y2]


@pytest.mark.parametrize("box_format", BOX_FORMAT_NAMES)
@settings(max_examples=100, deadline=None)
@given(
    texts=st.lists(TEXTS, min_size=1, max_size=12),
    truths=st.lists(true_boxes(), min_size=4, max_size=4),
    reward=st.sampled_from(GROUNDING.rewards),
    on_unparsed=st.sampled_from(["zero", "drop"]),
    data=st.data(),
)
def test_boxes_are_judged_as_one_by_one(
    box_format: str, texts: list[str], truths: list[list[float]], reward: str, on_unparsed: str,
    data: st.DataObject,
) -> None:  # fmt: skip
    first, second, third, other = truths
    questions = [
        Question("grounding", build_target(box=first), FRAMES[0]),
        Question("grounding", build_target(box=second), FRAMES[1]),
        Question("grounding", build_target(box=third, others=[build_target(box=other)]), FRAMES[2]),
    ]
    numbers = data.draw(st.lists(st.integers(0, 2), min_size=len(texts), max_size=len(texts)))
    score = {"grounding": reward, "on_unparsed": on_unparsed}
    check_same(score, box_format, texts, questions, numbers)


def list_edges(box_format: str) -> list[str]:
    """Numbers at the ends of what a format allows: of the canvas, of 0-1, of an area."""
    edges = ["[0, 0, 1, 1]", "[0, 0, 1, 1.01]", "[-1, 0, 1, 1]", "[0, 1, 0, 1]", "[1, 1, 0, 0]"]
    for frame in FRAMES:
        width, height = BOX_FORMATS[box_format].compute_canvas(frame)
        for x, y in ((1.5 * width, 1.5 * height), (width, height), (1.51 * width, height)):
            edges += [f"[{-0.5 * width}, {-0.5 * height}, {x}, {y}]", f"[{x}, {y}, {x}, {y}]"]
            edges += [f"[0, 0, {x}, {y}]", f"[{width}, {height}, {x}, {y}]", f"[3, {y}, {x}, 4]"]
    return edges


@pytest.mark.parametrize("box_format", BOX_FORMAT_NAMES)
@pytest.mark.parametrize("reward", GROUNDING.rewards)
def test_edges_and_families_are_judged_as_one_by_one(box_format: str, reward: str) -> None:
    texts = list_edges(box_format) + families.READ[box_format]
    questions = [
        Question("grounding", build_target(box=[0.1, 0.0, 0.7, 1.0]), frame) for frame in FRAMES
    ]
    for number in range(len(FRAMES)):
        check_same({"grounding": reward}, box_format, texts, questions, [number] * len(texts))


WORDS = st.lists(
    st.sampled_from([
        "total:", "12", "a", '"', "\\", "[3]", "<b>", " ", "\n", "\r\n", "\t", "\x0b", "\x1c",
        "\x7f", "\x00", "\u00e9", "e\u0301", "\u3000", "\ufeff", "</think>", "<think>", "[think]",
        "<answer>",
    ]),
    max_size=14,
)  # fmt: skip
PAGES = st.one_of(
    WORDS.map("".join), WORDS.map(" ".join), st.text(st.characters(max_codepoint=127), max_size=40),
    st.text(max_size=10), st.integers(0, 120).map(lambda n: "page " * 40 + "x" * n),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(
    texts=st.lists(PAGES, min_size=1, max_size=8),
    truths=st.lists(PAGES, min_size=3, max_size=3),
    collapse=st.booleans(),
    data=st.data(),
)
@example([" a  b ", "", " ", "a b", '"', "a\\", "x"], ["a b", "", "<think>"], True, None)
def test_pages_are_judged_as_one_by_one(
    texts: list[str], truths: list[str], collapse: bool, data: st.DataObject | None
) -> None:
    questions = [Question("ocr", build_target(text=truth), FRAMES[0]) for truth in truths]
    several = [build_target(text=text) for text in truths]
    questions.append(Question("ocr", build_target(text="a", others=several), FRAMES[0]))
    drawn = st.lists(st.integers(0, 3), min_size=len(texts), max_size=len(texts))
    numbers = data.draw(drawn) if data else [n % 4 for n in range(len(texts))]
    check_same({"collapse_whitespace": collapse}, "norm1", texts, questions, numbers)


MIXTURES: list[dict[str, Any]] = [
    {"reward": {"iou": 1.0, "giou": -0.3, "format": 0.1}},
    {"reward": {"iou": 2.0, "format": 0.1}, "clip": [0.1, 1.5], "threshold": 0.4},
    {"reward": {"ciou": 1.0, "length_penalty": 0.5, "iou_power": 0.0}, "threshold": -0.2},
]


@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("on_unparsed", ["zero", "drop"])
@settings(max_examples=60, deadline=None)
@given(texts=st.lists(TEXTS | PAGES, min_size=1, max_size=12), data=st.data())
def test_mixtures_of_several_tasks_are_judged_as_one_by_one(
    mixture: dict[str, Any], on_unparsed: str, texts: list[str], data: st.DataObject
) -> None:
    questions = [
        Question("ocr", build_target(text="total 12"), FRAMES[0]),
        Question("grounding", build_target(box=[0.1, 0.1, 0.7, 0.9]), FRAMES[1]),
        Question("counting", build_target(count=3), FRAMES[2]),
        Question("grounding", build_target(box=[0.0, 0.0, 1.0, 1.0]), FRAMES[0]),
    ]
    numbers = data.draw(st.lists(st.integers(0, 3), min_size=len(texts), max_size=len(texts)))
    score = {"grounding": mixture, "on_unparsed": on_unparsed}
    check_same(score, "norm1000", texts, questions, numbers)


@pytest.mark.parametrize("box_format", BOX_FORMAT_NAMES)
def test_what_a_family_writes_is_read_at_once(box_format: str) -> None:
    """Else nothing here is fast. Molmo's points, Kosmos-2's and MiniGPT-v2's tokens are not."""
    text = BOX_FORMATS[box_format].write((0.25, 0.25, 0.5, 0.75), FRAMES[0])
    texts = pa.array([text, f"It is here: {text}."])
    stated = parse_box_columns(texts, np.array([0, 0]), FRAMES[:1], box_format)
    is_slow = box_format in ("points_percent", "patch32", "norm100")
    assert stated.rows_K.tolist() == ([] if is_slow else [0, 1])
    assert stated.errors_K == [None] * len(stated.rows_K)


@given(st.lists(st.floats(0, 1) | st.sampled_from([-0.0, 0.0, 1.0, 1e-4, 9.999e-5, 5e-324])))
def test_numbers_are_written_as_python_writes_them(values: list[float]) -> None:
    assert write_floats(np.array(values, np.float64)).to_pylist() == list(map(repr, values))


ASCII = st.text(st.sampled_from('ab "\\\n\t\r\x0b\x0c'), max_size=12)


@given(st.lists(ASCII, max_size=6), st.integers(0, 3))
def test_spaces_collapse_and_texts_are_quoted(texts: list[str], start: int) -> None:
    """Also where the column is a piece of another."""
    collapsed = collapse_spaces(pa.array(texts, pa.string()).slice(start))
    expected = [" ".join(text.split()) for text in texts[start:]]
    assert collapsed.to_pylist() == expected
    assert write_strings(collapsed).to_pylist() == [json.dumps(text) for text in expected]


def test_a_reward_without_columns_sees_equal_answers_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one question; and every one of them gets its row."""
    reward, seen = REWARDS["count_accuracy"], []

    def compute(text: str, target: Target, reading: Any) -> Any:
        seen.append(text)
        return reward.compute(text, target, reading)

    changed = type(reward)("count_accuracy", compute)
    monkeypatch.setitem(REWARDS, "count_accuracy", changed)
    questions = [Question("counting", build_target(count=n), FRAMES[0]) for n in (3, 4)]
    texts = pa.array(["3", "4", "3", "3", "4"])
    table = ColumnJudge(ScoreConfig(), "norm1").judge(texts, questions, np.array([0, 0, 0, 1, 0]))
    assert seen == ["3", "4", "3"]
    assert table["reward"].to_pylist() == pytest.approx([1.0, 2 / 3, 1.0, 0.75, 2 / 3])


def test_plain_boxes_are_judged_many_times_as_fast() -> None:
    """Eleven thousand answers a second, one by one; forty times that here, ten demanded."""
    texts = [f"[0.{n % 97:02d}, 0.{n % 89:02d}, 0.99, 1.00]" for n in range(4000)]
    questions = [Question("grounding", build_target(box=[0.2, 0.2, 0.6, 0.6]), FRAMES[0])]
    numbers = [0] * len(texts)
    judge, column = ColumnJudge(ScoreConfig(), "norm1"), pa.array(texts)

    def measure(work: Any) -> float:
        started_s = time.process_time()
        work()
        return time.process_time() - started_s

    judge.judge(column.slice(0, 10), questions, np.array([0] * 10))  # imports what it needs
    slow_s = measure(
        lambda: judge_one_by_one(ScoreConfig(), "norm1", texts[:400], questions, numbers[:400])
    )
    fast_s = measure(lambda: judge.judge(column, questions, np.array(numbers)))
    assert math.isfinite(slow_s) and fast_s < slow_s  # ten times the answers in less time
