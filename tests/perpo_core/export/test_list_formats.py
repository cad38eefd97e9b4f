"""Every format reloaded by datasets, from the folder as the card describes it, row by row.

What is expected is written here by hand from the lists in the store. Formats that cannot say a
prompt leave its list out, with the reason; images are the store's bytes, in whatever form.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

import pytest

from perpo_core.export.lists import Asked, export_lists
from perpo_core.export.lists.formats import load_format
from perpo_core.export.lists.tally import Tally
from perpo_core.store.store import Store
from schemas.exports import ListFormatName
from schemas.run import RunRecord
from tests.perpo_core.export.mixed_lists import build_mixed_run
from tests.perpo_core.report.report_fixture import build_run
from tests.perpo_core.small_store import read_rows

Row = dict[str, Any]
FORMATS: tuple[ListFormatName, ...] = get_args(ListFormatName)
LOAD = """
import hashlib, json, pathlib, sys
from datasets import Image, List, load_dataset

root, cache = map(pathlib.Path, sys.argv[1:])
for folder in sorted(root.iterdir()):
    rows = load_dataset(str(folder), split="train", cache_dir=str(cache))
    if rows.features.get("images") == List(Image()):
        assert rows[0]["images"][0].size, "no picture"
        rows = rows.cast_column("images", List(Image(decode=False)))
    found = [dict(row) for row in rows]
    for row in found:
        row["images"] = [
            hashlib.sha256(image["bytes"]).hexdigest() if isinstance(image, dict) else image
            for image in row.get("images") or []
        ]
    (root.parent / f"{folder.name}.loaded.json").write_text(json.dumps(found))
"""


@pytest.fixture(scope="module", params=["real", "mixed"])
def finished(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, RunRecord]:
    root = tmp_path_factory.mktemp("store")
    return build_run(root, num_train=8) if request.param == "real" else build_mixed_run(root)


@pytest.fixture(scope="module")
def exported(
    finished: tuple[Store, RunRecord], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[ListFormatName, Tally], dict[ListFormatName, list[Row]]]:
    """The folder of all formats, what was counted, and the rows as datasets loads them."""
    (store, run), base = finished, tmp_path_factory.mktemp("out")
    tallies = {}
    for name in FORMATS:
        asked = Asked(name, "best-rest" if name in ("trl", "trl-kto") else None)
        tallies[name] = export_lists(store, run, [run], base / "all" / name, asked, log=print)
    # A process of its own, since datasets reads HF_HUB_OFFLINE when it is imported.
    subprocess.run(
        [sys.executable, "-c", LOAD, str(base / "all"), str(base / "cache")],
        env={"HF_HUB_OFFLINE": "1", "HOME": str(base)},
        check=True,
    )
    loaded = {name: json.loads((base / f"{name}.loaded.json").read_text()) for name in FORMATS}
    return base / "all", tallies, loaded


def strip(value: Any) -> Any:
    """Without the None that Arrow puts under every key."""
    if isinstance(value, dict):
        return {key: strip(inner) for key, inner in value.items() if inner is not None}
    return [strip(inner) for inner in value] if isinstance(value, list) else value


def find_pairs(row: Row, choice: str) -> list[tuple[Row, Row]]:
    answers = row["responses"]
    pairs = {
        "best-worst": [(answers[0], answers[-1])],
        "best-rest": [(answers[0], answer) for answer in answers[1:]],
        "all": list(combinations(answers, 2)),
    }[choice]
    return [(a, b) for a, b in pairs if a["reward"] > b["reward"]]


def list_files(folder: Path, row: Row) -> list[str]:
    """The paths of a list's images relative to the folder; each file holds what its name says."""
    found = []
    for name in row["images"]:
        [path] = folder.glob(f"images/*/{name}.*")
        assert hashlib.sha256(path.read_bytes()).hexdigest() == name
        found.append(path.relative_to(folder).as_posix())
    return found


def write(message: Row, mark: str) -> str:
    return "".join(mark if p["type"] == "image" else p["text"] for p in message["content"])


def is_plain(row: Row) -> bool:
    return len(row["prompt"]) == 1 and len(row["images"]) == 1


def has_system(row: Row) -> bool:
    return bool(row["prompt"][0]["role"] == "system")


def as_answer(text: str) -> list[Row]:
    return [{"role": "assistant", "content": [{"type": "text", "text": text}]}]


def expect_hf(row: Row, folder: Path) -> list[Row]:
    best, worst = row["responses"][0]["text"], row["responses"][-1]["text"]
    kept = {key: value for key, value in row.items() if key != "prompt_id"}
    return [{**kept, "chosen": as_answer(best), "rejected": as_answer(worst)}]


def expect_trl(row: Row, folder: Path) -> list[Row]:
    shared = {key: row[key] for key in ("sample_id", "task", "images", "prompt")}
    return [
        {**shared, "chosen": as_answer(a["text"]), "rejected": as_answer(b["text"]),
         "chosen_reward": a["reward"], "rejected_reward": b["reward"]}
        for a, b in find_pairs(row, "best-rest")
    ]  # fmt: skip


def expect_kto(row: Row, folder: Path) -> list[Row]:
    shared = {key: row[key] for key in ("sample_id", "task", "images", "prompt")}
    pairs = find_pairs(row, "best-rest")
    labelled = [(pairs[0][0], True), *((worse, False) for _, worse in pairs)]
    return [
        {**shared, "completion": as_answer(answer["text"]), "label": label,
         "reward": answer["reward"]}
        for answer, label in labelled
    ]  # fmt: skip


def expect_rewards(a: Row, b: Row) -> Row:
    return {"chosen_reward": a["reward"], "rejected_reward": b["reward"]}


def expect_llamafactory(row: Row, folder: Path) -> list[Row]:
    turns = row["prompt"][1:] if has_system(row) else row["prompt"]
    names = {"user": "human", "assistant": "gpt"}
    return [
        {"sample_id": row["sample_id"], "images": list_files(folder, row),
         "system": write(row["prompt"][0], "") if has_system(row) else "",
         "conversations": [{"from": names[t["role"]], "value": write(t, "<image>")} for t in turns],
         "chosen": {"from": "gpt", "value": a["text"]},
         "rejected": {"from": "gpt", "value": b["text"]}, **expect_rewards(a, b)}
        for a, b in find_pairs(row, "best-worst")
    ]  # fmt: skip


def expect_swift(row: Row, folder: Path) -> list[Row]:
    messages = [{"role": m["role"], "content": write(m, "<image>")} for m in row["prompt"]]
    return [
        {"sample_id": row["sample_id"], "images": list_files(folder, row),
         "messages": [*messages, {"role": "assistant", "content": a["text"]}],
         "rejected_response": b["text"], **expect_rewards(a, b)}
        for a, b in find_pairs(row, "best-worst")
    ]  # fmt: skip


def expect_openrlhf(row: Row, folder: Path) -> list[Row]:
    messages = [{"role": m["role"], "content": write(m, "<image>")} for m in row["prompt"]]
    return [
        {"sample_id": row["sample_id"], "images": list_files(folder, row), "prompt": messages,
         "chosen": [{"role": "assistant", "content": a["text"]}],
         "rejected": [{"role": "assistant", "content": b["text"]}], **expect_rewards(a, b)}
        for a, b in find_pairs(row, "best-worst")
    ]  # fmt: skip


def expect_nemo(row: Row, folder: Path) -> list[Row]:
    files = iter(list_files(folder, row))
    context = [
        {**m, "content": [
            {"type": "image", "image": next(files)} if p["type"] == "image" else p
            for p in m["content"]]}
        for m in row["prompt"]
    ]  # fmt: skip
    return [
        {"sample_id": row["sample_id"], "context": context, "images": [], "completions": [
            {"rank": rank, "reward": answer["reward"],
             "completion": [{"role": "assistant", "content": answer["text"]}]}
            for rank, answer in enumerate(pair)]}
        for pair in find_pairs(row, "best-worst")
    ]  # fmt: skip


def expect_openai(row: Row, folder: Path) -> list[Row]:
    """Data URLs are replaced by what they hold before they are compared."""
    hashes = iter(row["images"])
    messages = [
        {"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": next(hashes)}} if p["type"] == "image" else p
            for p in m["content"]]}
        if m["role"] == "user" else {"role": m["role"], "content": write(m, "")}
        for m in row["prompt"]
    ]  # fmt: skip
    return [
        {"input": {"messages": messages}, "images": [],
         "preferred_output": [{"role": "assistant", "content": a["text"]}],
         "non_preferred_output": [{"role": "assistant", "content": b["text"]}]}
        for a, b in find_pairs(row, "best-worst")
    ]  # fmt: skip


def expect_llava(row: Row, folder: Path) -> list[Row]:
    if has_system(row):
        return []
    names, files = {"user": "human", "assistant": "gpt"}, list_files(folder, row)
    said = [{"from": names[m["role"]], "value": write(m, "<image>\n")} for m in row["prompt"]]
    prompt = {"prompt": write(row["prompt"][0], "")} if is_plain(row) else {}
    return [
        {"id": row["sample_id"], "image": files if len(files) > 1 else files[0], **prompt,
         "conversations": [*said, {"from": "gpt", "value": a["text"]}], "answer": a["text"],
         "chosen": a["text"], "rejected": b["text"], "images": [], **expect_rewards(a, b)}
        for a, b in find_pairs(row, "best-worst")
    ]  # fmt: skip


def expect_perpo(row: Row, folder: Path) -> list[Row]:
    if not is_plain(row):
        return []
    target = row["target"]
    box = str([round(side, 2) for side in target.get("box") or []])
    truths = {"grounding": box, "ocr": target.get("text"), "counting": str(target.get("count"))}
    return [
        {"image_id": row["images"][0], "image_path": list_files(folder, row)[0], "images": [],
         "question": write(row["prompt"][0], ""), "answer": truths[row["task"]],
         "answers_gen": [answer["text"] for answer in row["responses"]],
         "iou_scores": [answer["reward"] for answer in row["responses"]]}
    ]  # fmt: skip


EXPECTED: dict[ListFormatName, Callable[[Row, Path], list[Row]]] = {
    "hf": expect_hf, "trl": expect_trl, "trl-kto": expect_kto, "llamafactory": expect_llamafactory,
    "swift": expect_swift, "nemo-rl": expect_nemo, "openrlhf": expect_openrlhf,
    "openai": expect_openai, "llava": expect_llava, "perpo-json": expect_perpo,
}  # fmt: skip


def read_file(folder: Path, name: ListFormatName) -> list[Row] | None:
    """The rows as any reader of JSON finds them; None of Parquet."""
    path = folder / load_format(name).files.pattern
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows: list[Row] | None = json.loads(path.read_text()) if path.suffix == ".json" else None
    return rows


def blur(value: Any) -> Any:
    """Of numbers what datasets keeps: in JSON arrays and in columns of mixed parts it cuts them."""
    if isinstance(value, dict):
        return {key: blur(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [blur(inner) for inner in value]
    return round(value, 6) if isinstance(value, float) else value


def unpack_urls(rows: list[Row]) -> None:
    """Put the sha256 of its bytes in the place of every data URL."""
    for part in [p for row in rows for m in row["input"]["messages"] for p in m["content"]]:
        if isinstance(part, dict) and part["type"] == "image_url":
            part["image_url"]["url"] = unpack_url(part["image_url"]["url"])


def unpack_url(url: str) -> str:
    head, _, data = url.partition(";base64,")
    assert head in ("data:image/png", "data:image/jpeg")
    return hashlib.sha256(base64.b64decode(data)).hexdigest()


@pytest.mark.parametrize("name", FORMATS)
def test_datasets_loads_what_the_store_holds(name: ListFormatName, finished, exported) -> None:
    store, run = finished
    folder, tallies, loaded = exported
    made = store.load("preferences", run.stages["materialize"].key)
    assert made is not None
    lists = strip(read_rows(store, made))
    expected = [row for each in lists for row in EXPECTED[name](each, folder / name)]
    found, in_file = strip(loaded[name]), read_file(folder / name, name)
    if name == "openai":
        unpack_urls(found)
        unpack_urls(in_file or [])
    assert in_file is None or [{"images": [], **row} for row in in_file] == expected
    assert blur(found) == blur(expected)
    assert len(expected) == tallies[name].num_rows > 0
    said = sum(bool(EXPECTED[name](each, folder / name)) for each in lists)
    counts = tallies[name].lists
    assert (counts.num_in, counts.num_kept) == (len(lists), said)


@pytest.mark.parametrize("name", ["llamafactory", "swift", "openrlhf", "nemo-rl", "llava"])
def test_images_are_files_that_are_there_once(name: str, finished, exported) -> None:
    store, run = finished
    made = store.load("preferences", run.stages["materialize"].key)
    lists = [row for row in read_rows(store, made) if name != "llava" or not has_system(row)]
    named = {image for row in lists for image in row["images"]}
    files = [path for path in (exported[0] / name / "images").rglob("*") if path.is_file()]
    assert sorted(path.stem for path in files) == sorted(named)
    assert {path.suffix for path in files} <= {".png", ".jpeg"}


def test_a_prompt_that_a_format_cannot_say_is_counted_with_its_reason(finished, exported) -> None:
    (_, run), (_, tallies, _) = finished, exported
    if run.config.name != "mixed":  # every prompt is one question behind one image
        assert not any(tally.dropped_lists for tally in tallies.values())
        return
    end = ", which the format cannot say"
    assert tallies["llava"].dropped_lists == {f"a system message{end}": 1}
    assert tallies["perpo-json"].dropped_lists == {
        f"several images{end}": 1, f"a system message{end}": 1, f"several turns{end}": 1,
    }  # fmt: skip
    assert not tallies["swift"].dropped_lists and not tallies["openai"].dropped_lists
