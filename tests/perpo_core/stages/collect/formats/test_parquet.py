"""Tables: Parquet files, folders of datasets, hub ids in the cache; columns mapped in settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perpo_core.stages.collect.sources.formats.line import Line
from perpo_core.stages.collect.sources.jsonl_chunks import MOST_BYTES, cut
from perpo_core.stages.collect.sources.jsonl_content import Place
from perpo_core.stages.collect.sources.jsonl_names import ImageFolder
from schemas.sources import ParquetSource
from tests.perpo_core.cases import encode_noise
from tests.perpo_core.records import collect, convert, list_ids, write_noise, write_table


def make(number: int = 0, **more: Any) -> dict[str, Any]:
    image = {"bytes": encode_noise(number), "path": f"{number}.png"}
    return {"image": image, "task": "ocr", "prompt": "Read.", "answer": f"text {number}"} | more


def test_columns_named_as_keys_need_no_mapping(tmp_path: Path) -> None:
    source = ParquetSource(files=[write_table(tmp_path / "a.parquet", [make(0), make(1)])])
    assert [row["answer"] for row in convert(source)] == ["text 0", "text 1"]
    assert len(collect(source)) == 2


def test_columns_are_mapped_with_dots_into_nested_ones(tmp_path: Path) -> None:
    record = {
        "img": [{"bytes": encode_noise(0), "path": None}, {"bytes": encode_noise(1), "path": None}],
        "qa": {"question": "the sign", "answers": [{"text": "stop"}, {"text": "halt"}]},
    }
    source = ParquetSource(
        files=[write_table(tmp_path / "a.parquet", [record])],
        task="ocr",
        prompt="Read {qa.question}.",
        columns={"images": "img", "answer": "qa.answers.1.text"},
    )
    [row] = convert(source)
    assert (row["prompt"], row["answer"], len(row["images"])) == ("Read the sign.", "halt", 2)
    assert len(collect(source)) == 1


def test_rows_that_hold_their_images_make_shorter_chunks() -> None:
    place = Place(Path("t.parquet"), "row 1", None, ImageFolder(Path()))
    line = Line("row 1", b"x" * (MOST_BYTES // 4))
    chunks = cut(iter([(place, line)] * 10))
    assert [len(chunk) for chunk in chunks] == [4, 4, 2]


def test_boxes_with_width_and_height(tmp_path: Path) -> None:
    record = make() | {"task": "grounding", "answer": None, "objects": {"bbox": [[1.5, 2, 10, 5]]}}
    source = ParquetSource(
        files=[write_table(tmp_path / "a.parquet", [record])],
        columns={"box": "objects.bbox.0"},
        boxes="xywh",
    )
    assert convert(source)[0]["box"] == [1.5, 2, 11.5, 7]
    assert len(collect(source)) == 1


def test_a_column_that_would_change_the_question_is_refused_until_it_is_ignored(
    tmp_path: Path,
) -> None:
    file = write_table(tmp_path / "a.parquet", [make(choices=["a", "b"])])
    with pytest.raises(ValueError, match="row 1: choices cannot be expressed: write what it says"):
        collect(ParquetSource(files=[file]))
    assert len(collect(ParquetSource(files=[file], ignore=["choices"]))) == 1


def test_folders_that_datasets_has_saved(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        image=datasets.Image(), task=datasets.Value("string"),
        prompt=datasets.Value("string"), answer=datasets.Value("string"),
    )  # fmt: skip
    parts = {
        split: datasets.Dataset.from_list([make(number)], features=features)
        for number, split in enumerate(("train", "validation", "testA"))
    }
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    source = ParquetSource(files=[tmp_path / "saved"], selection_share=0.0)
    assert {row["answer"]: row["split"] for row in convert(source)} == {
        "text 0": "train", "text 1": "validation", "text 2": "test",
    }  # fmt: skip
    file = write_table(tmp_path / "a.parquet", [make(0), make(1), make(2)])
    assert list_ids(source) == list_ids(ParquetSource(files=[file]))


def test_a_hub_id_in_the_local_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    commit = "0123456789" * 4
    repo = tmp_path / "datasets--me--pages"
    write_table(repo / "snapshots" / commit / "data" / "test-00000-of-00001.parquet", [make()])
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    [row] = convert(ParquetSource(files=[Path("hub:me/pages")]))
    assert (row["answer"], row["split"]) == ("text 0", "test")
    with pytest.raises(ValueError, match='"me/other" is no data set in the local hub cache'):
        convert(ParquetSource(files=[Path("hub:me/other")]))


def test_paths_in_a_table_are_those_of_images_beside_it(tmp_path: Path) -> None:
    write_noise(tmp_path, "0.png")
    by_path = write_table(tmp_path / "a.parquet", [make() | {"image": "0.png"}])
    embedded = write_table(tmp_path / "b.parquet", [make()])
    first, second = (list_ids(ParquetSource(files=[file])) for file in (by_path, embedded))
    assert first == second
