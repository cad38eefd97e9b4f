"""What other trainers demand of a row, written down from their code at a commit, held against rows.

Their loaders are in no lock file here. Each check below says in a few lines what the named code
does with a row and where it would refuse, skip or misread one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from PIL import Image

from perpo_core.export.lists import Asked, export_lists
from perpo_core.export.lists.formats import load_format
from schemas.exports import ListFormatName
from tests.perpo_core.export.mixed_lists import build_mixed_run

Row = dict[str, Any]
Check = Callable[[Row, Path], None]


def check_llamafactory(row: Row, folder: Path) -> None:
    """hiyouga/LlamaFactory f816ae4 data/converter.py, 76a35a8 data/mm_plugin.py."""
    [info] = json.loads((folder / "dataset_info.json").read_text()).values()
    assert (folder / info["file_name"]).is_file()
    assert info["formatting"] == "sharegpt" and info["ranking"] is True
    columns = info["columns"]
    assert set(columns) <= {"messages", "system", "tools", "images", "chosen", "rejected"}
    turns = row[columns["messages"]]
    assert len(turns) % 2 == 1, "a pair's prompt ends with the user"
    assert [t["from"] for t in turns] == ["human", "gpt"] * (len(turns) // 2) + ["human"]
    for answer in (row[columns["chosen"]], row[columns["rejected"]]):
        assert isinstance(answer, dict) and answer["from"] == "gpt"
        said = [turn["value"] for turn in turns] + [answer["value"]]
        assert sum(text.count("<image>") for text in said) == len(row[columns["images"]])
        assert sum(text.count(mark) for text in said for mark in ("<video>", "<audio>")) == 0
    assert isinstance(row[columns["system"]], str)  # example[system] of every row
    check_files(row[columns["images"]], folder)


def check_swift(row: Row, folder: Path) -> None:
    """modelscope/ms-swift a374875 swift/dataset/preprocessor/core.py, 030e65c vision_utils.py."""
    renamed = {"system", "system_prompt", "conversation", "conversations", "image"}
    assert not renamed & set(row), "columns that are renamed into others"
    for message in row["messages"]:
        assert set(message) == {"role", "content"} and message["content"] is not None
        assert message["role"] in {"system", "user", "assistant", "tool", "tool_call"}
    last = row["messages"][-1]
    assert last["role"] == "assistant"
    assert isinstance(row["rejected_response"], str) and row["rejected_response"] != last["content"]
    said = [message["content"] for message in row["messages"]]
    assert sum(text.count("<image>") for text in said) == len(row["images"])
    check_files(row["images"], folder)  # below ROOT_IMAGE_DIR


def check_nemo(row: Row, folder: Path) -> None:
    """NVIDIA-NeMo/RL 566c178 preference_dataset.py, e1c91e6 processors.py, 032482d
    llm_message_utils.py."""
    assert "task_name" not in row, "the column that the loader adds"
    first, second = row["completions"]  # exactly two, and no tie
    assert first["rank"] < second["rank"]
    for completion in (first, second):
        [message] = completion["completion"]
        assert message["role"] == "assistant" and isinstance(message["content"], str)
    assert row["context"][-1]["role"] == "user"
    images = [
        part["image"]
        for message in row["context"]
        for part in message["content"]
        if part["type"] == "image"
    ]
    assert images and all(
        set(part) == {"type", part["type"]} for m in row["context"] for part in m["content"]
    )
    check_files(images, folder)


def check_openrlhf(row: Row, folder: Path) -> None:
    """OpenRLHF/OpenRLHF 0008ea1 datasets/reward_dataset.py: the chat goes through a template."""
    for chat in (row["prompt"] + row["chosen"], row["prompt"] + row["rejected"]):
        assert all(set(message) == {"role", "content"} for message in chat)
        assert all(isinstance(message["content"], str) for message in chat)
        assert [message["role"] for message in chat[-2:]] == ["user", "assistant"]
    assert "margin" not in row, "which would weigh the loss of its reward models"
    check_files(row["images"], folder)


OPENAI_TEXT = {
    "type": "object", "additionalProperties": False, "required": ["type", "text"],
    "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
}  # fmt: skip
OPENAI_IMAGE = {
    "type": "object", "additionalProperties": False, "required": ["type", "image_url"],
    "properties": {"type": {"const": "image_url"}, "image_url": {
        "type": "object", "required": ["url"],
        "properties": {"url": {"pattern": "^data:image/(png|jpeg|webp);base64,[A-Za-z0-9+/=]+$"}}}},
}  # fmt: skip
OPENAI_ANSWER = {
    "type": "array", "minItems": 1, "maxItems": 1, "items": {
        "type": "object", "additionalProperties": False, "required": ["role", "content"],
        "properties": {"role": {"const": "assistant"}, "content": {"type": "string"}}},
}  # fmt: skip
OPENAI = {
    "type": "object", "additionalProperties": False,
    "required": ["input", "preferred_output", "non_preferred_output"],
    "properties": {
        "input": {"type": "object", "required": ["messages"], "properties": {"messages": {
            "type": "array", "items": {"anyOf": [
                {"properties": {"role": {"enum": ["system", "assistant"]},
                                "content": {"type": "string"}}},
                {"properties": {"role": {"const": "user"}, "content": {
                    "type": "array", "items": {"anyOf": [OPENAI_TEXT, OPENAI_IMAGE]}}}}]}}}},
        "preferred_output": OPENAI_ANSWER, "non_preferred_output": OPENAI_ANSWER,
    },
}  # fmt: skip


def check_openai(row: Row, folder: Path) -> None:
    """OpenAI's API description 2.3.0, FineTunePreferenceRequestInput."""
    jsonschema.validate(row, OPENAI)


def check_llava(row: Row, folder: Path) -> None:
    """LLaVA-VL/LLaVA-NeXT 0a40a16 llava/train/train_dpo.py and train.py."""
    files = row["image"] if isinstance(row["image"], list) else [row["image"]]
    check_files(files, folder)
    roles = [turn["from"] for turn in row["conversations"]]
    assert roles == ["human", "gpt"] * (len(roles) // 2)
    said = "".join(turn["value"] for turn in row["conversations"])
    assert said.count("<image>\n") == said.count("<image>") == len(files)
    for key in ("answer", "chosen", "rejected"):
        assert isinstance(row[key], str)
    assert ("prompt" in row) == (len(files) == 1 and len(roles) == 2)
    assert "<image>" not in row.get("prompt", "")  # it puts one there itself


def check_perpo(row: Row, folder: Path) -> None:
    """ningerhhh/PerPO e39a24a: assets/data.json and the loader of train_perpo_lora.py."""
    assert list(row) == [
        "image_id", "image_path", "question", "answer", "answers_gen", "iou_scores",
    ]  # fmt: skip
    assert len(row["answers_gen"]) == len(row["iou_scores"])
    assert row["iou_scores"] == sorted(row["iou_scores"], reverse=True)
    assert "<image>" not in row["question"]  # it puts one there itself
    check_files([row["image_path"]], folder)


CHECKS: dict[ListFormatName, Check] = {
    "llamafactory": check_llamafactory, "swift": check_swift, "nemo-rl": check_nemo,
    "openrlhf": check_openrlhf, "openai": check_openai, "llava": check_llava,
    "perpo-json": check_perpo,
}  # fmt: skip


def check_files(names: list[str], folder: Path) -> None:
    for name in names:
        assert not Path(name).is_absolute()
        with Image.open(folder / name) as image:
            image.load()


def read(folder: Path, pattern: str) -> list[Row]:
    text = (folder / pattern).read_text(encoding="utf-8")
    if pattern.endswith("l"):
        return [json.loads(line) for line in text.splitlines()]
    rows: list[Row] = json.loads(text)
    return rows


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory):
    return build_mixed_run(tmp_path_factory.mktemp("store"))


@pytest.mark.parametrize("name", CHECKS)
def test_rows_are_what_the_loader_demands(name: ListFormatName, mixed, tmp_path) -> None:
    store, run = mixed
    folder = tmp_path / "out"
    tally = export_lists(store, run, [run], folder, Asked(name), log=print)
    rows = read(folder, load_format(name).files.pattern)
    assert len(rows) == tally.num_rows > 0
    for row in rows:
        CHECKS[name](row, folder)


def test_nemos_whole_lists_rank_equal_answers_alike(mixed, tmp_path) -> None:
    store, run = mixed
    export_lists(store, run, [run], tmp_path / "out", Asked("nemo-rl", "list"), log=print)
    for row in read(tmp_path / "out", "preferences.jsonl"):
        assert [c["rank"] for c in row["completions"]] == [0, 1, 1, 2]
        assert [c["reward"] for c in row["completions"]] == [0.9, 0.5, 0.5, -0.25]


def test_every_name_is_a_format_with_words_for_the_card() -> None:
    for name in get_args(ListFormatName):
        form = load_format(name)
        assert form.choices and form.loads and form.lost and form.placeholders
