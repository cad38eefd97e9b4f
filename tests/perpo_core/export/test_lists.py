"""Lists as they leave the house: rows as in the store, images inside, opened by datasets."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from perpo_core.export import lists
from perpo_core.export.lists import export_lists
from perpo_core.store.store import Store
from schemas.arrow import EXPORTED_LISTS
from schemas.run import RunRecord
from tests.perpo_core.report.report_fixture import build_run
from tests.perpo_core.small_store import read_rows


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, RunRecord]:
    return build_run(tmp_path_factory.mktemp("store"))


def test_every_list_is_there_with_its_images_and_its_best_and_worst_answer(
    finished: tuple[Store, RunRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "FILE_BYTES", 20_000)
    monkeypatch.setattr(lists, "GROUP_BYTES", 8_000)
    store, run = finished
    made = store.load("preferences", run.stages["materialize"].key)
    assert made is not None
    rows = read_rows(store, made)
    assert export_lists(store, run, tmp_path / "out") == len(rows) == made.counts.num_kept
    files = sorted((tmp_path / "out").iterdir())
    assert len(files) > 1 and pq.ParquetFile(files[0]).num_row_groups > 1
    exported = [row for file in files for row in pq.read_table(file).to_pylist()]
    assert len(exported) == len(rows)
    for row, out in zip(rows, exported, strict=True):
        hashes = [hashlib.sha256(image["bytes"]).hexdigest() for image in out["images"]]
        assert hashes == row["images"] and out["responses"] == row["responses"]
        [chosen], [rejected] = out["chosen"], out["rejected"]
        assert chosen["content"][0]["text"] == row["responses"][0]["text"]
        assert rejected["content"][0]["text"] == row["responses"][-1]["text"]


def test_a_run_whose_lists_are_gone_is_refused(
    finished: tuple[Store, RunRecord], tmp_path: Path
) -> None:
    store, run = finished
    with pytest.raises(ValueError, match="has no lists to export: what its stage materialize"):
        stages = {name: each for name, each in run.stages.items() if name == "collect"}
        export_lists(store, run.model_copy(update={"stages": stages}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_schema_metadata_is_what_datasets_means_by_images() -> None:
    from datasets import Features, Image, List

    expected = Features.from_arrow_schema(EXPORTED_LISTS.remove_metadata())
    expected["images"] = List(Image())
    assert Features.from_arrow_schema(EXPORTED_LISTS) == expected
    assert expected.arrow_schema.remove_metadata() == EXPORTED_LISTS.remove_metadata()


LOAD = """
import sys
from datasets import load_dataset
rows = load_dataset(sys.argv[1], split="train", cache_dir=sys.argv[2])
row = rows[0]
assert row["images"][0].size == (96, 96), row["images"]
print(type(row["images"][0]).__module__, row["prompt"][0]["content"][0]["type"],
      row["chosen"][0]["role"], sorted(row))
"""


def test_datasets_loads_pictures(finished: tuple[Store, RunRecord], tmp_path: Path) -> None:
    store, run = finished
    export_lists(store, run, tmp_path / "out")
    # A process of its own, since datasets reads HF_HUB_OFFLINE when it is imported.
    printed = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path / "out"), str(tmp_path / "cache")],
        env={"HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.startswith("PIL.PngImagePlugin image assistant")
    assert all(f"'{name}'" in printed for name in EXPORTED_LISTS.names)
