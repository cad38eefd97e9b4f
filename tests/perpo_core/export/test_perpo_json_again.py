"""perpo-json of a run, read again: the same bytes as lists, the same prompts and truths as rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perpo_core.export.lists import Asked, export_lists
from perpo_core.export.lists.formats.perpo_json import FORMAT
from perpo_core.perception.perpo_json import iterate_records
from schemas.sources import PerpoJsonSource
from tests.perpo_core.export.mixed_lists import build_mixed_run
from tests.perpo_core.records import collect, write_json
from tests.perpo_core.report.report_fixture import build_run
from tests.perpo_core.small_store import read_rows

Row = dict[str, Any]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    """The folder of a run's lists, and the lists as the store holds them."""
    base = tmp_path_factory.mktemp("run")
    store, run = build_run(base / "store", num_train=8)
    export_lists(store, run, [run], base / "out", Asked("perpo-json"), log=print)
    made = store.load("preferences", run.stages["materialize"].key)
    assert made is not None
    return base / "out", list(read_rows(store, made))


def write_again(file: Path, folder: Path) -> bytes:
    with FORMAT.files.open(folder) as write:
        for record in iterate_records(file):
            write(record.model_dump())
    return (folder / "lists.json").read_bytes()


def test_lists_of_a_run_are_the_same_bytes_when_written_again(exported, tmp_path: Path) -> None:
    folder, lists = exported
    written = (folder / "lists.json").read_bytes()
    assert written.count(b"image_id") == len(lists) > 10
    assert write_again(folder / "lists.json", tmp_path) == written


def test_rewards_below_zero_and_ties_too(tmp_path: Path) -> None:
    store, run = build_mixed_run(tmp_path / "store")
    export_lists(store, run, [run], tmp_path / "out", Asked("perpo-json"), log=print)
    (tmp_path / "again").mkdir()
    file = tmp_path / "out" / "lists.json"
    assert write_again(file, tmp_path / "again") == file.read_bytes()


@pytest.mark.parametrize("task", ["grounding", "ocr", "counting"])
def test_the_folder_as_a_source_gives_the_same_samples(task, exported, tmp_path: Path) -> None:
    """A file of one task, since the official records do not say theirs."""
    folder, lists = exported
    records = zip(lists, iterate_records(folder / "lists.json"), strict=True)
    of_task = [record.model_dump() for row, record in records if row["task"] == task]
    file = write_json(tmp_path / "lists.json", of_task)
    source = PerpoJsonSource(files=[file], images=folder, task=task)
    found = {row["prompt_id"]: row for row in collect(source)}
    rows = [row for row in lists if row["task"] == task]
    assert found.keys() == {row["prompt_id"] for row in rows}  # the image and what is asked of it
    for row in rows:
        sample = found[row["prompt_id"]]
        assert sample["prompt"] == row["prompt"] and sample["images"] == row["images"]
        assert (sample["target"]["text"], sample["target"]["count"]) == (
            row["target"]["text"], row["target"]["count"],
        )  # fmt: skip
        if task == "grounding":
            rounded = [round(side, 2) for side in row["target"]["box"]]
            assert sample["target"]["box"] == pytest.approx(rounded, abs=1e-12)
        else:
            assert sample["sample_id"] == row["sample_id"]


def test_an_exported_folder_is_read_as_it_is(exported) -> None:
    folder, lists = exported
    found = collect(PerpoJsonSource(files=[folder]))
    assert {row["prompt_id"] for row in found} == {row["prompt_id"] for row in lists}
    assert {row["task"] for row in found} == {"grounding", "ocr"}  # a count is a text there
