"""What a JSON Lines row may not say: twice, nearly, invisibly, or what is expressed nowhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from perpo_core.perception.boxes import Frame
from perpo_core.perception.rewards import Reading
from perpo_core.perception.rewards.base import Target
from perpo_core.perception.rewards.count_accuracy import compute_count_accuracy
from perpo_core.perception.rewards.edit_similarity import compute_edit_similarity
from perpo_core.stages.collect.sources.jsonl_keys import INEXPRESSIBLE, KNOWN
from perpo_core.stages.collect.sources.rows import SampleRow
from perpo_core.stages.collect.sources.rows_source import iterate_samples
from tests.perpo_core.cases import HEIGHT, WIDTH, make_row, write_source


def _read(folder: Path, *rows: Any) -> list[SampleRow]:
    return [row for row in iterate_samples(write_source(folder, rows)) if isinstance(row, dict)]


def _refuse(folder: Path, row: Any) -> str:
    """The sentence, which names file and row."""
    with pytest.raises(ValueError, match=r"cases\.jsonl row 1: ") as caught:
        list(iterate_samples(write_source(folder, [row])))
    sentence = str(caught.value)
    assert sentence.isascii() and "\n" not in sentence
    return sentence.partition("row 1: ")[2]


def _ocr(**changes: Any) -> dict[str, Any]:
    return make_row(**({"task": "ocr", "box": None, "answer": "abc"} | changes))


def _count(**changes: Any) -> dict[str, Any]:
    return make_row(**({"task": "counting", "box": None, "answer": 3} | changes))


def _norm(**changes: Any) -> dict[str, Any]:
    return make_row(**({"box": None, "box_format": None, "box_norm": [0, 0.1, 0.5, 0.6]} | changes))


# --- twice -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ('"answer": 7', 'key "answer" twice, 3 and 7'),
        ('"answer": 3', 'key "answer" twice, 3 and 3'),
        ('"mine": {"a": 1, "b": {"c": 1, "c": 2}}', 'key "c" twice, 1 and 2'),
        ('"mine": [{"a": 1, "\\u0061": 2}]', 'key "a" twice, 1 and 2'),
    ],
)
def test_a_doubled_key_is_refused_at_any_depth(tmp_path: Path, extra: str, words: str) -> None:
    line = json.dumps(_count())[:-1] + f", {extra}}}"
    assert _refuse(tmp_path, line) == f"{words}; keep one"


def test_the_same_box_twice_is_one_box_and_two_boxes_are_refused(tmp_path: Path) -> None:
    rounded = make_row(box_norm=[0.1, 0.1, 0.5, 0.5], answer=[4, 3, 20, 15])
    assert len(_read(tmp_path, rounded)) == 1
    sentence = _refuse(tmp_path, make_row(box_norm=[0.1, 0.1, 0.5, 0.6]))
    assert "box [4, 3, 20, 15] and box_norm [0.1, 0.1, 0.5, 0.6] are not the same box" in sentence
    assert "box_norm [0.1, 0.5] is not four" in _refuse(tmp_path, make_row(box_norm=[0.1, 0.5]))


@pytest.mark.parametrize(
    "answer", ["[0.10, 0.10, 0.50, 0.50]", "<box>(100,100),(500,500)</box>", [4, 3, 20, 15]]
)
def test_an_answer_that_writes_the_box_is_no_second_truth(tmp_path: Path, answer: Any) -> None:
    assert len(_read(tmp_path, make_row(answer=answer))) == 1


@pytest.mark.parametrize("answer", ["the cat", "[0.1, 0.1, 0.9, 0.9]", 3, [4, 3, 20]])
def test_another_answer_beside_the_box_is_refused(tmp_path: Path, answer: Any) -> None:
    assert "beside the box of a grounding row is not that box" in _refuse(
        tmp_path, make_row(answer=answer)
    )


# --- what changes what is asked or true ----------------------------------------------------------


def test_box_format_beside_box_norm_is_refused(tmp_path: Path) -> None:
    for name in ("xywh", "xyxy_pixels"):
        assert _refuse(tmp_path, _norm(box_format=name)).startswith("box_format beside box_norm: ")
    assert len(_read(tmp_path, _norm())) == 1


@pytest.mark.parametrize("key", INEXPRESSIBLE)
def test_what_cannot_be_expressed_is_refused_by_name(tmp_path: Path, key: str) -> None:
    value = "a text" if key.startswith("system") else ["a", "b"]
    sentence = _refuse(tmp_path, _count(**{key: value}))
    assert sentence == f"{key} cannot be expressed: {INEXPRESSIBLE[key]}"
    assert _refuse(tmp_path, _count(**{key.title(): value})).startswith(f"{key.title()} cannot be ")
    empty: list[Any] = ["", [], {}]
    for nothing in empty:
        assert len(_read(tmp_path, _count(**{key: nothing}))) == 1


def test_the_page_about_rows_names_every_key() -> None:
    page = (Path(__file__).parents[4] / "docs" / "data.md").read_text()
    assert [key for key in (*KNOWN, *INEXPRESSIBLE) if f"`{key}`" not in page] == []


def test_a_row_of_another_format_is_told_so_before_what_it_lacks(tmp_path: Path) -> None:
    row = {"image": "images/0.png", "conversations": [{"from": "human", "value": "<image>Where?"}]}
    assert _refuse(tmp_path, row).startswith("conversations cannot be expressed: ")


def test_keys_of_ones_own_stay_allowed(tmp_path: Path) -> None:
    own = {
        "category": "cat", "kind": "single", "expression": "the cat", "bbox": [1, 2, 3, 4],
        "label": 3, "history": "scanned in 2020", "objects": "cats", "score": float("nan"),
        "nested": {"image": 1, "Answer": 2}, "page": 3, "license": 4, "weight": 1e400,
    }  # fmt: skip
    assert len(_read(tmp_path, make_row(**own), _count(**own))) == 2


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (_ocr(box=[4, 3, 20, 15]), "box beside task ocr is not read"),
        (_count(box_norm=[0, 0, 1, 1]), "box_norm beside task counting is not read"),
    ],
)
def test_a_box_in_another_task_is_refused(tmp_path: Path, row: Any, words: str) -> None:
    assert words in _refuse(tmp_path, row)


@pytest.mark.parametrize("stated", [{"width": 80}, {"height": 80}, {"width": "40"}])
def test_one_stated_side_is_held_against_the_image(tmp_path: Path, stated: dict[str, Any]) -> None:
    row = make_row(**({"width": None, "height": None} | stated))
    assert f"says {json.dumps(next(iter(stated.values())))} but the image is 40x30" in _refuse(
        tmp_path, row
    )
    assert len(_read(tmp_path, make_row(height=None), make_row(width=None, box=[1, 1, 9, 9]))) == 2


def test_box_norm_survives_scaling_and_no_turning(tmp_path: Path) -> None:
    assert len(_read(tmp_path, _norm(width=10 * WIDTH, height=10 * HEIGHT))) == 1
    assert "of another shape" in _refuse(tmp_path, _norm(width=HEIGHT, height=WIDTH))


# --- nearly -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("Answer", "answer"), ("ANSWER ", "answer"), ("\uff41nswer", "answer"),
        ("answer\u200b", "answer"), ("boxNorm", "box_norm"), ("Box-Format", "box_format"),
        ("Split", "split"),
    ],
)  # fmt: skip
def test_a_key_that_is_nearly_known_is_refused(tmp_path: Path, key: str, known: str) -> None:
    sentence = _refuse(tmp_path, _count(**{key: "x"}))
    assert sentence == f'key {json.dumps(key)} is not read; write "{known}"'


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (_count(image=None, image_path="images/0.png"), '"image_path": write it as "image"'),
        (_count(image=None, file_name="images/0.png"), '"file_name": write it as "image"'),
        (_count(image=None, imgae="images/0.png"), '"imgae": write it as "image"'),
        (_count(prompt=None, question="Where?"), '"question": write it as "prompt"'),
        (_count(task=None, type="ocr"), '"type": write it as "task"'),
        (_count(answer=None, label=3), '"label": write it as "answer"'),
        (_ocr(answer=None, text="abc"), '"text": write it as "answer"'),
        (_ocr(answer=None, awnser="abc"), '"awnser": write it as "answer"'),
        (make_row(box=None, bbox=[4, 3, 20, 15]), '"bbox": write it as "box"'),
        (make_row(box=None, answer="[4, 3, 20, 15]"), '"answer": write it as "box"'),
    ],
)
def test_the_key_that_was_meant_is_named_where_a_key_is_missing(
    tmp_path: Path, row: Any, words: str
) -> None:
    sentence = _refuse(tmp_path, row)
    assert words in sentence and ("missing" in sentence or "needs box" in sentence)


# --- invisibly ----------------------------------------------------------------------------------

INVISIBLE = {
    "zero width space": "\u200b", "byte order mark": "\ufeff", "soft hyphen": "\u00ad",
    "variation selectors": "\ufe0f\U000e0101", "control characters": "\x00\x1b\x7f",
    "Hangul fillers": "\u115f\u3164\uffa0", "braille's blank": "\u2800", "spaces": " \t\n",
    "wide spaces": "\u3000\u2003\u00a0", "joiners": "\u034f\u2060\u200d", "tags": "\U000e0041",
    "bidi marks": "\u202e\u2069\u061c", "line separator": "\u2028", "all": "\u200b \ufe0f\u2800",
}  # fmt: skip


@pytest.mark.parametrize("name", INVISIBLE)
def test_a_truth_and_a_prompt_must_be_seen(tmp_path: Path, name: str) -> None:
    text = INVISIBLE[name]
    sentence = _refuse(tmp_path, _ocr(answer=text))
    assert sentence.startswith(f"the answer has no visible character: {json.dumps(text)}")
    assert 'write "" for a blank page' in sentence
    assert _refuse(tmp_path, _ocr(prompt=text)).startswith("the prompt has no visible character")
    assert len(_read(tmp_path, _ocr(answer=text + "x", prompt="?" + text))) == 1


@pytest.mark.parametrize(
    "text", ["\u0660", "\u0600", "\u0301", "\U0001f600", "\ue000", "\u0915", "-"]
)
def test_whatever_is_drawn_is_a_truth(tmp_path: Path, text: str) -> None:
    assert len(_read(tmp_path, _ocr(answer=text))) == 1


# --- nothing ------------------------------------------------------------------------------------


def test_a_blank_page_is_a_truth_and_only_silence_reads_it(tmp_path: Path) -> None:
    [row] = _read(tmp_path, _ocr(answer=""))
    assert row["target"] == {"box": None, "text": "", "count": None}
    target = cast(Target, row["target"])
    rewards = [_reward(compute_edit_similarity, text, target) for text in ("", "Chapter 1", " ")]
    assert rewards == [1.0, 0.0, 1.0]
    assert 'answer is missing; give the text, "" for a blank page' in _refuse(
        tmp_path, _ocr(answer=None)
    )
    assert "answer is missing" in _refuse(tmp_path, json.dumps(_ocr() | {"answer": None}))


def test_nothing_to_count_is_a_truth(tmp_path: Path) -> None:
    [row] = _read(tmp_path, _count(answer=0))
    target = cast(Target, row["target"])
    rewards = [_reward(compute_count_accuracy, text, target) for text in ("0", "1", "12")]
    assert rewards == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("box", [None, [], [None] * 4, [0, 0, 0, 0], [-1, -1, -1, -1]])
def test_an_absent_object_has_no_box(tmp_path: Path, box: Any) -> None:
    sentence = _refuse(tmp_path, json.dumps(make_row() | {"box": box}))
    assert f"box {'is ' if not box or box == [None] * 4 else ''}{json.dumps(box)}" in sentence
    assert "an object that is not there has no box and no IoU; ask for it in a counting" in sentence


def _reward(compute: Any, text: str, target: Target) -> float:
    result = compute(text, target, Reading(Frame(WIDTH, HEIGHT), "norm1"))
    assert result.reward is not None
    return result.reward


@pytest.mark.parametrize("key", ["source", "licence"])
def test_a_note_that_is_no_number_is_refused(tmp_path: Path, key: str) -> None:
    assert f"{key} NaN is no text" in _refuse(tmp_path, make_row(**{key: float("nan")}))
    [row] = _read(tmp_path, make_row(**{key: 5}))
    assert row[key] == "5"
