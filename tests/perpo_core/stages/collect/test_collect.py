"""The collect stage: counts add up, equal input gives equal bytes, keys are content."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from perpo_core.stages import collect
from perpo_core.stages.collect.sources import SOURCES, digits, digits_source
from perpo_core.stages.collect.sources.rows import SetAside
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.store.keys import compute_prompt_id, compute_sample_id
from perpo_core.store.packs import PREFIX, Images
from perpo_core.store.store import LOCK_FILE, Store
from schemas.arrow import DROPPED, SAMPLES
from schemas.artifact import SampleSet
from schemas.base import SPLITS
from schemas.config import RefreshConfig
from schemas.run import PolicyRef
from schemas.sources import DigitsSource
from tests.perpo_core.cases import encode_noise, make_row, write_source
from tests.perpo_core.small_store import read_rows

FEW = {"grounding": 6, "ocr": 3, "counting": 4}
FEWER = {"grounding": 2, "ocr": 1, "counting": 1}
DIGITS = DigitsSource(train=FEW, selection=FEWER, validation=FEWER, test=FEW)


def _collect(tmp_path: Path, source: Any, **context: Any) -> tuple[Store, SampleSet]:
    store = Store(tmp_path / "store")
    config = RefreshConfig(source=source)
    policy = PolicyRef(digest="0" * 64, folder=tmp_path)
    found = find_or_make(StageContext(store, config, policy, **context), collect)
    return store, found.artifact


def _load(store: Store, artifact: SampleSet, name: str) -> list[dict[str, Any]]:
    return pq.read_table(store.path(artifact, name)).to_pylist()


def test_digits_give_what_was_asked_for_in_every_split(tmp_path: Path) -> None:
    store, artifact = _collect(tmp_path, DIGITS)
    assert artifact.per_split["grounding/train"] == 6
    assert artifact.per_split["ocr/selection"] == artifact.per_split["ocr/validation"] == 1
    assert sum(artifact.per_split.values()) == artifact.counts.num_kept == 34
    assert artifact.parents == []
    assert pq.read_schema(store.paths(artifact)[0]).equals(SAMPLES)
    images = Images(store.paths(artifact, PREFIX))
    for row in read_rows(store, artifact):
        [image_hash] = row["images"]
        assert hashlib.sha256(images.read(image_hash)).hexdigest() == image_hash
        assert row["prompt_id"] == compute_prompt_id([image_hash], row["prompt"])
        assert row["sample_id"] == compute_sample_id(row["prompt_id"], row["target"])
        column = {"grounding": "box", "ocr": "text", "counting": "count"}[row["task"]]
        assert [name for name, value in row["target"].items() if value is not None] == [column]
        assert row["licence"] == "CC BY 4.0"
    dropped = pq.read_table(store.path(artifact, "dropped.parquet"))
    assert dropped.schema.equals(DROPPED) and dropped.num_rows == 0


def test_equal_input_gives_equal_bytes_and_a_longer_split_grows(tmp_path: Path) -> None:
    _, first = _collect(tmp_path / "a", DIGITS)
    _, second = _collect(tmp_path / "b", DIGITS)
    assert first.digest == second.digest and first.key == second.key
    longer = DIGITS.model_copy(update={"train": {**FEW, "grounding": 8}})
    store, third = _collect(tmp_path / "a", longer)
    assert third.key != first.key
    kept = {row["sample_id"] for row in read_rows(store, first)}
    assert kept < {row["sample_id"] for row in read_rows(store, third)}


def test_the_same_scene_twice_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    real = digits.compose_scene

    def compose_twice(split: Any, task: Any, index: int, seed: int) -> Any:
        return real(split, task, index // 2, seed)

    monkeypatch.setattr(digits_source, "compose_scene", compose_twice)
    items = list(SOURCES["digits"].iterate_samples(DIGITS))
    aside = [item for item in items if isinstance(item, SetAside)]
    assert len(aside) == 6 + 1 + 1 + 6  # every other one of a split and task
    assert aside[0].reason == "duplicate prompt"
    assert aside[0].detail == (
        "digits train/grounding scene 1: same prompt as digits train/grounding scene 0"
    )


def _rows(number: int) -> dict[str, Any]:
    return make_row(image=f"images/{number}.png", split=SPLITS[number % len(SPLITS)])


def test_jsonl_rows_kept_and_dropped_add_up(tmp_path: Path) -> None:
    rows = [_rows(0), "not JSON", _rows(1), make_row(box=[9, 9, 4, 4]), _rows(0), _rows(2)]
    source = write_source(tmp_path / "data", rows, num_images=3, on_bad_row="drop")
    shown: list[Any] = []
    logged: list[str] = []
    store, artifact = _collect(
        tmp_path,
        source,
        progress=lambda *what: shown.append(what),
        log=logged.append,
    )
    assert artifact.counts.num_in == 6 and artifact.counts.num_kept == 3
    assert artifact.counts.dropped == {"malformed row": 1, "empty box": 1, "duplicate sample": 1}
    dropped = _load(store, artifact, "dropped.parquet")
    assert [row["id"] for row in dropped] == [f"data/cases.jsonl:{n}" for n in (2, 4, 5)]
    assert {row["stage"] for row in dropped} == {"collect"}
    assert all(row["detail"] for row in dropped)
    assert shown[-1] == (6, 6, "rows")
    assert "3 samples" in logged[-2] and "malformed row 1" in logged[-2]


def test_the_key_is_the_content_of_the_rows_and_images(tmp_path: Path) -> None:
    policy = PolicyRef(digest="0" * 64, folder=tmp_path)
    other_policy = PolicyRef(digest="1" * 64, folder=tmp_path)
    config = RefreshConfig(source=write_source(tmp_path / "a", [_rows(0)]))
    moved = RefreshConfig(source=write_source(tmp_path / "b", [_rows(0)]))
    key = collect.compute_key(config, policy)
    assert collect.compute_key(config, other_policy) == key
    assert collect.compute_key(moved, policy) == key
    (tmp_path / "b" / "images" / "0.png").write_bytes(encode_noise(77))
    assert collect.compute_key(moved, policy) != key


def test_no_training_rows_is_an_error_and_other_empty_splits_are_said(tmp_path: Path) -> None:
    source = write_source(tmp_path / "a", [make_row(split="test")])
    with pytest.raises(ValueError, match="the train split is empty"):
        _collect(tmp_path, source)
    logged: list[str] = []
    source = write_source(tmp_path / "b", [make_row(split="train")])
    _collect(tmp_path, source, log=logged.append)
    warnings = [line for line in logged if line.startswith("warning: ")]
    assert [line.split(" samples")[0] for line in warnings] == [
        f"warning: grounding has no {split}" for split in ("selection", "validation", "test")
    ]


def test_a_bad_row_leaves_no_artifact_and_no_litter(tmp_path: Path) -> None:
    source = write_source(tmp_path / "data", [_rows(0), "not JSON"])
    with pytest.raises(ValueError, match=r"cases\.jsonl row 2"):
        _collect(tmp_path, source)
    files = {path.name for path in (tmp_path / "store").rglob("*") if path.is_file()}
    assert files == {LOCK_FILE}
