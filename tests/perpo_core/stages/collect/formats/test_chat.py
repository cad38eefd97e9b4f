"""LLaVA's conversations, OpenAI's messages, ms-swift's objects."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from schemas.sources import LlavaSource, MessagesSource
from tests.perpo_core.cases import encode_noise
from tests.perpo_core.records import (
    collect,
    convert,
    list_ids,
    write_json,
    write_lines,
    write_noise,
    write_table,
)


def say(*texts: str, **more: Any) -> dict[str, Any]:
    """A LLaVA record whose turns are the human's and gpt's."""
    who = ["human", "gpt"]
    turns = [{"from": who[n % 2], "value": text} for n, text in enumerate(texts)]
    return {"id": "1", "image": "0.png", "conversations": turns} | more


def talk(*texts: str, **more: Any) -> dict[str, Any]:
    who = ["user", "assistant"]
    turns = [{"role": who[n % 2], "content": text} for n, text in enumerate(texts)]
    return {"messages": turns} | more


def read_llava(folder: Path, *records: Any, **settings: Any) -> LlavaSource:
    write_noise(folder, "0.png", "1.png")
    return LlavaSource(files=[write_json(folder / "llava.json", list(records))], **settings)


def read_messages(folder: Path, *records: Any, **settings: Any) -> MessagesSource:
    write_noise(folder, "0.png", "1.png")
    return MessagesSource(files=[write_lines(folder / "chat.jsonl", records)], **settings)


def test_the_last_answer_is_the_truth_of_what_precedes_it(tmp_path: Path) -> None:
    record = say("<image>\nHow many?", "2", "And dogs?", "1", split="val", task="counting")
    [row] = convert(read_llava(tmp_path, record))
    assert (row["answer"], row["split"], row["image"]) == ("1", "validation", "0.png")
    assert [turn["role"] for turn in row["messages"]] == ["user", "assistant", "user"]
    [sample] = collect(read_llava(tmp_path, record, selection_share=0.0))
    parts = [part["text"] for turn in sample["prompt"] for part in turn["content"]]
    assert parts == [None, "How many?", "2", "And dogs?"]


def test_each_answer_may_be_a_row(tmp_path: Path) -> None:
    record = say("How many?", "2", "And dogs?", "1")
    rows = convert(read_llava(tmp_path, record, turns="each", task="counting"))
    assert [row["answer"] for row in rows] == ["2", "1"]
    assert rows[0]["prompt"] == "How many?"


def test_a_system_turn_and_several_images(tmp_path: Path) -> None:
    turns = [
        {"from": "system", "value": "Be short."},
        {"from": "human", "value": "<image>\n<image>\nSame?"},
        {"from": "gpt", "value": "no"},
    ]
    record = {"image": ["0.png", "1.png"], "conversations": turns}
    source = read_llava(tmp_path, record, task="ocr")
    [sample] = collect(source)
    assert [turn["role"] for turn in sample["prompt"]] == ["system", "user"]
    assert len(sample["images"]) == 2
    own = {"images": ["0.png", "1.png"], "system": "Be short."}
    other = read_messages(tmp_path, talk("<image><image>Same?", "no", **own), task="ocr")
    assert list_ids(other) == list_ids(source)


@pytest.mark.parametrize(
    ("box_format", "answer", "key", "box"),
    [
        ("norm1", "[0.1, 0.2, 0.5, 0.9]", "box_norm", [0.1, 0.2, 0.5, 0.9]),
        ("norm1000", "<box>(100,200),(500,900)</box>", "box_norm", [0.1, 0.2, 0.5, 0.9]),
        ("pixels", "It is at [4, 6, 20, 27].", "box", [4, 6, 20, 27]),
        ("norm1_padded", "[0.1, 0.225, 0.5, 0.75]", "box_norm", [0.1, 0.1333, 0.5, 0.8333]),
    ],
)
def test_an_answer_may_write_a_box(
    box_format: Any, answer: str, key: str, box: list[float], tmp_path: Path
) -> None:
    record = say("Where is it?", answer, width=40, height=30)
    source = read_llava(tmp_path, record, task="grounding", box_format=box_format)
    assert convert(source)[0][key] == pytest.approx(box, abs=1e-4)
    assert len(collect(source)) == 1


def test_an_answer_of_detection_may_write_any_number_of_boxes(tmp_path: Path) -> None:
    record = say("All dogs?", "[0.1, 0.2, 0.5, 0.9], [0.5, 0.5, 1.0, 1.0]")
    nothing = say("All cats?", "[]")
    source = read_llava(tmp_path, record, nothing, task="detection")
    boxes = [row["boxes_norm"] for row in convert(source)]
    assert boxes == [[[0.1, 0.2, 0.5, 0.9], [0.5, 0.5, 1.0, 1.0]], []]
    assert len(collect(source)) == 2


def test_openai_messages_with_images_in_them(tmp_path: Path) -> None:
    url = "data:image/png;base64," + base64.b64encode(encode_noise(0)).decode()
    parts = [
        {"type": "image_url", "image_url": {"url": url, "detail": "high"}},
        {"type": "text", "text": "How many?"},
    ]
    turns = [
        {"role": "system", "content": "Count."},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": [{"type": "text", "text": "3"}]},
    ]
    source = read_messages(tmp_path, {"messages": turns}, task="counting")
    [sample] = collect(source)
    assert sample["target"]["count"] == 3
    plain = {
        "messages": talk("How many?", "3")["messages"],
        "images": ["0.png"],
        "system": "Count.",
    }
    assert list_ids(read_messages(tmp_path, plain, task="counting")) == [sample["sample_id"]]


def test_ms_swift_objects(tmp_path: Path) -> None:
    objects = {"ref": ["sheep"], "bbox": [[4, 6, 20, 27]]}
    record = talk("<image>Find the <ref-object>.", "<bbox>", images=["0.png"], objects=objects)
    [row] = convert(read_messages(tmp_path, record, task="grounding"))
    assert (row["prompt"], row["box"]) == ("<image>Find the sheep.", [4, 6, 20, 27])
    norm = objects | {"bbox": [[0.1, 0.2, 0.5, 0.9]], "bbox_type": "norm1", "image_id": [1]}
    second = record | {"objects": norm, "images": ["0.png", "1.png"]}
    second["messages"] = talk("<image><image>Find the <ref-object>.", "<bbox>")["messages"]
    [row] = convert(read_messages(tmp_path, second, task="grounding"))
    assert (row["box_norm"], row["image_number"]) == ([0.1, 0.2, 0.5, 0.9], 2)
    assert len(collect(read_messages(tmp_path, second, task="grounding"))) == 1


def test_ms_swift_points_and_many_boxes(tmp_path: Path) -> None:
    click = talk("Open it", "click('<bbox>')", images=["0.png"], objects={"bbox": [[15, 6]]})
    [row] = convert(read_messages(tmp_path, click, task="pointing"))
    assert row["point"] == [15, 6]
    boxes = [[4, 6, 20, 27], [1, 2, 3, 4]]
    both = talk("All sheep", "<bbox><bbox>", images=["0.png"], objects={"bbox": boxes})
    [row] = convert(read_messages(tmp_path, both, task="detection"))
    assert row["boxes"] == boxes


def test_an_absolute_path_into_the_folder_of_images_is_one_of_it(tmp_path: Path) -> None:
    record = talk("How many?", "3", images=[str(tmp_path / "0.png")])
    [row] = convert(read_messages(tmp_path, record, task="counting"))
    assert row["image"] == "0.png"


def test_conversations_in_parquet_with_images_embedded(tmp_path: Path) -> None:
    record = say("<image>\nRead.", "text") | {"image": {"bytes": encode_noise(0), "path": "x"}}
    file = write_table(tmp_path / "train-00000-of-00001.parquet", [record])
    source = LlavaSource(files=[file], task="ocr", splits={"train-*": "train"})
    plain = read_llava(tmp_path, say("<image>\nRead.", "text"), task="ocr")
    assert list_ids(source) == list_ids(plain)
    assert collect(source)[0]["split"] == "train"


def test_keys_of_a_record_are_checked_as_those_of_a_row(tmp_path: Path) -> None:
    record = talk("Read.", "text", images=["0.png"], rejected_response="test")
    with pytest.raises(
        ValueError, match=r"chat.jsonl row 1: rejected_response cannot be expressed"
    ):
        collect(read_messages(tmp_path, record, task="ocr"))
    assert (
        len(collect(read_messages(tmp_path, record, task="ocr", ignore=["rejected_response"]))) == 1
    )
