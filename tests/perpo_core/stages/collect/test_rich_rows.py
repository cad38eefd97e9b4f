"""Rows with several images, turns, a system message, several truths, images inside them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from perpo_core.stages.collect.sources.rows import SampleRow
from perpo_core.stages.collect.sources.rows_source import iterate_samples
from perpo_core.store.keys import compute_sample_id
from tests.perpo_core.cases import encode_noise, make_row, write_source

IMAGE = {"type": "image", "text": None}
TWO = ["images/0.png", "images/1.png"]


def read(folder: Path, *rows: Any, **settings: Any) -> list[SampleRow]:
    source = write_source(folder, rows, num_images=3, **settings)
    return [row for row in iterate_samples(source) if isinstance(row, dict)]


def refuse(folder: Path, row: dict[str, Any]) -> str:
    with pytest.raises(ValueError, match=r"cases\.jsonl row 1: ") as caught:
        read(folder, row)
    sentence = str(caught.value)
    assert sentence.isascii() and "\n" not in sentence
    return sentence.partition("row 1: ")[2]


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def of_user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def two(**changes: Any) -> dict[str, Any]:
    return make_row(**({"image": None, "images": TWO} | changes))


# --- the chat ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("Which differs?", [IMAGE, IMAGE, text("Which differs?")]),
        ("<image>\n<image>\nWhich differs?", [IMAGE, IMAGE, text("Which differs?")]),
        ("Is <image> in <image> ?", [text("Is "), IMAGE, text(" in "), IMAGE, text(" ?")]),
        ("What is new?\n<image>\n<image>\n", [text("What is new?"), IMAGE, IMAGE]),
    ],
)
def test_images_take_their_places_in_the_question(tmp_path, prompt, parts):
    [row] = read(tmp_path, two(prompt=prompt))
    assert row["prompt"] == [of_user(*parts)]
    assert [image.stored.data for image in row["row_images"]] == [encode_noise(0), encode_noise(1)]


def test_one_image_with_a_marker_is_the_row_without(tmp_path):
    plain, marked = (
        read(tmp_path, make_row(prompt=prompt)) for prompt in ("Where?", "<image>\nWhere?")
    )
    assert plain[0]["sample_id"] == marked[0]["sample_id"]


def test_a_system_message_and_earlier_turns_stand_before_the_question(tmp_path):
    turns = [
        {"role": "user", "content": "<image> What is this?"},
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": [{"type": "text", "text": "Where?"}]},
    ]
    [row] = read(tmp_path, make_row(prompt=None, messages=turns, system="Answer with a box."))
    assert row["prompt"] == [
        {"role": "system", "content": [text("Answer with a box.")]},
        of_user(IMAGE, text("What is this?")),
        {"role": "assistant", "content": [text("A cat.")]},
        of_user(text("Where?")),
    ]
    inside = [{"role": "system", "content": "Answer with a box."}, *turns]
    [same] = read(tmp_path, make_row(prompt=None, messages=inside))
    assert same["prompt_id"] == row["prompt_id"]


def test_parts_of_messages_may_name_their_images(tmp_path):
    openai: dict[str, Any] = {"type": "image_url", "image_url": {"url": "images/1.png"}}
    parts = [{"type": "image", "image": "images/0.png"}, openai, text("Which differs?")]
    by_parts = make_row(image=None, prompt=None, messages=[of_user(*parts)])
    [row], [same] = read(tmp_path, by_parts), read(tmp_path, two(prompt="Which differs?"))
    assert row["sample_id"] == same["sample_id"]


# --- images that rows hold -----------------------------------------------------------------------


def test_a_data_url_is_the_file_it_holds(tmp_path):
    url = "data:image/png;base64," + base64.b64encode(encode_noise(0)).decode()
    [held], [named] = read(tmp_path, make_row(image=url)), read(tmp_path, make_row())
    assert held["sample_id"] == named["sample_id"]
    assert held["row_images"][0].file_hash == named["row_images"][0].file_hash


# --- which image boxes lie in --------------------------------------------------------------------


def test_a_box_lies_in_the_image_that_the_row_numbers(tmp_path):
    large = encode_noise(7, 400, 300)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "large.png").write_bytes(large)
    row = two(
        images=["images/0.png", "images/large.png"], box=[100, 75, 200, 150], width=400, height=300
    )
    [sample] = read(tmp_path, row | {"image_number": 2})
    assert sample["target"]["box"] == [0.25, 0.25, 0.5, 0.5] and sample["target"]["image"] == 1
    assert (sample["width"], sample["height"]) == (400, 300)
    assert "width and height say 400x300" in refuse(tmp_path, row)


# --- several truths ------------------------------------------------------------------------------


def test_an_answer_counts_against_the_closest_truth(tmp_path):
    [row] = read(tmp_path, make_row(box=[[4, 3, 20, 15], [20, 15, 40, 30]]))
    assert row["target"]["others"] == [{"box": [0.5, 0.5, 1.0, 1.0], "text": None, "count": None}]
    assert row["sample_id"] == compute_sample_id(row["prompt_id"], row["target"])
    each = read(tmp_path, make_row(box=[[4, 3, 20, 15], [20, 15, 40, 30]]), several_truths="each")
    assert [sample["row"] for sample in each] == [
        f"{tmp_path.name}/cases.jsonl:1.{n}" for n in (1, 2)
    ]
    assert [sample["target"]["box"] for sample in each] == [
        row["target"]["box"], row["target"]["others"][0]["box"],
    ]  # fmt: skip
    assert len({sample["prompt_id"] for sample in each}) == 1


@pytest.mark.parametrize(
    ("row", "truths"),
    [
        (make_row(task="ocr", box=None, answer=["7 310", "7310"]), ["7 310", "7310"]),
        (make_row(task="counting", box=None, answer=[3, "4"]), [3, 4]),
        (make_row(task="pointing", box=None, point=[[4, 3], [20, 15]]), [[0.1, 0.1], [0.5, 0.5]]),
    ],
)
def test_every_task_takes_a_list_of_truths(tmp_path, row, truths):
    row.pop("box_format")
    [sample] = read(tmp_path, row)
    target = sample["target"]
    found = [
        next(value for value in truth.values() if value is not None)
        for truth in ({key: target[key] for key in ("box", "text", "count")}, *target["others"])
    ]
    assert found == truths


# --- a row is as held out as the most held-out of its images -------------------------------------


def test_a_row_with_a_test_image_is_a_test_row_whatever_its_other_images_are(tmp_path):
    named = [
        make_row(image="images/1.png", split="test"), make_row(split="train"),
        two(prompt="Which differs?"), two(prompt="Which is older?", images=TWO[::-1]),
    ]  # fmt: skip
    rows = read(tmp_path, *named)
    assert [row["split"] for row in rows] == ["test", "train", "test", "test"]
    assert len({row["image_id"] for row in (rows[0], *rows[2:])}) == 1


# --- one sentence for everything that cannot be --------------------------------------------------

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "two ways": (make_row(images=TWO), "image and images both name images"),
    "no list": (two(images="images/0.png"), 'images "images/0.png" is no list of 1 to 64 paths'),
    "no path": (two(images=["images/0.png", 3]), "images 3 is not a text"),
    "too many": (two(images=["images/0.png"] * 65), "is no list of 1 to 64 paths"),
    "too few places": (two(prompt="<image> Where?"), "1 places for images (<image>) and the row 2"),
    "an address": (make_row(image="https://a.b/c.png"), "is an address, and nothing is fetched"),
    "no data": (make_row(image="data:image/png;base64,%%"), "is a data URL that holds none"),
    "no image": (make_row(image="data:text/plain,abc"), "does not begin with data:image/"),
    "no format": (make_row(image="data:image/a/../b;base64,aaaa"), "does not begin with data:"),
    "number": (two(image_number=3), "image_number 3 is not a whole number from 1 to the 2 images"),
    "both": (make_row(messages=[of_user(text("Where?"))]), "prompt beside messages"),
    "no messages": (make_row(prompt=None, messages="Where?"), 'messages "Where?" is not a list'),
    "no role": (make_row(prompt=None, messages=[{"content": "a"}]), "message 1: "),
    "tool": (
        make_row(prompt=None, messages=[{"role": "tool", "content": "a"}]),
        "has no role; it is one of system, user, assistant",
    ),
    "answered": (
        make_row(prompt=None, messages=[of_user(text("a")), {"role": "assistant", "content": "b"}]),
        "the messages are of user, assistant; ",
    ),
    "calls": (
        make_row(prompt=None, messages=[{"role": "user", "content": "a", "tool_calls": [1]}]),
        'message 1: "tool_calls" is not read',
    ),
    "audio": (
        make_row(prompt=None, messages=[of_user({"type": "audio"})]),
        'part {"type": "audio"} is no text',
    ),
    "image of the assistant": (
        make_row(prompt=None, messages=[{"role": "assistant", "content": [IMAGE]}]),
        "images are a user's",
    ),
    "nothing asked": (make_row(prompt="<image>"), "the question has no text"),
    "image in the system message": (
        make_row(system="See <image>"),
        "the system contains '<image>'",
    ),
    "two systems": (
        make_row(
            prompt=None,
            system="a",
            messages=[{"role": "system", "content": "b"}, of_user(text("c"))],
        ),
        "the messages are of system, system, user; ",
    ),
    "a bad truth of two": (make_row(box=[[4, 3, 20, 15], [1, 2]]), "box [1, 2] is not four"),
    "no truth of two": (make_row(task="ocr", box=None, answer=["a", None]), "answer is missing"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_one_sentence(tmp_path, case):
    row, words = BAD[case]
    assert words in refuse(tmp_path, row)
