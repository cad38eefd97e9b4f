"""The store: what a kill or a bad disk leaves behind is said and made again, never believed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perpo_core.store.atomic import write_atomic
from perpo_core.store.keys import compute_digest
from perpo_core.store.left_out import forget_left_out, list_left_out
from perpo_core.store.provenance import describe_producer, utc_now
from perpo_core.store.store import DamagedArtifact, Store
from perpo_core.store.workspace import Workspace
from schemas.artifact import Counts, FileRef, PreferenceSet

KEY = "a" * 64
TABLE = pa.table({"number": [1, 2, 3]})
Row = dict[str, Any]
MADE_OF = ["a", 1]


def commit_preferences(store: Store, workspace: Workspace, files: list[FileRef]) -> PreferenceSet:
    artifact = PreferenceSet(
        stage="materialize", key=KEY, digest=compute_digest(files), files=files,
        counts=Counts(num_in=3, num_kept=3), parents=[], producer=describe_producer(0, 1),
        created_at=utc_now(), seconds=0, attempt=workspace.attempt, num_lists={"ocr": 3},
        mean_list_size=2,
    )  # fmt: skip
    return store.commit(artifact)


def test_a_part_is_found_while_it_is_whole_and_of_the_same_input(tmp_path: Path) -> None:
    workspace = Store(tmp_path).open_workspace("candidates", KEY)
    written = workspace.write_part("part-00000.parquet", TABLE, MADE_OF)
    assert workspace.find_part("part-00000.parquet", MADE_OF) == written
    assert workspace.find_part("part-00000.parquet", ["b", 1]) is None
    assert workspace.find_part("part-00001.parquet", MADE_OF) is None
    (workspace.folder / "part-00000.parquet").write_bytes(b"PAR1")
    assert workspace.find_part("part-00000.parquet", MADE_OF) is None


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b'{"made_of": 1}'])
def test_a_damaged_sidecar_means_that_the_part_is_made_again(
    tmp_path: Path, content: bytes
) -> None:
    workspace = Store(tmp_path).open_workspace("candidates", KEY)
    workspace.write_part("part-00000.parquet", TABLE, MADE_OF)
    (workspace.folder / "part-00000.parquet.json").write_bytes(content)
    assert workspace.find_part("part-00000.parquet", MADE_OF) is None


def test_damage_is_said_with_the_file_and_counts_as_absence(tmp_path: Path) -> None:
    store = Store(tmp_path)
    workspace = store.open_workspace("preferences", KEY)
    file = workspace.write_table("preferences.parquet", TABLE)
    artifact = commit_preferences(store, workspace, [file])
    said: list[str] = []
    assert store.find("preferences", KEY, said.append) == artifact
    assert said == []
    path = store.path(artifact, file.path)
    path.unlink()
    assert store.find("preferences", KEY, said.append) is None
    assert said == [f"preferences artifact: {path} is missing; remaking what is needed"]
    with pytest.raises(DamagedArtifact, match="is missing"):
        store.verify(artifact)


def test_a_damaged_artifact_file_is_said_and_counts_as_absence(tmp_path: Path) -> None:
    store = Store(tmp_path)
    workspace = store.open_workspace("preferences", KEY)
    file = workspace.write_table("preferences.parquet", TABLE)
    commit_preferences(store, workspace, [file])
    path = store.folder("preferences", KEY) / "artifact.json"
    path.write_bytes(path.read_bytes()[:40])
    said: list[str] = []
    assert store.find("preferences", KEY, said.append) is None
    assert said == [f"preferences artifact: {path} is damaged; remaking what is needed"]
    assert store.open_workspace("preferences", KEY).folder == workspace.folder


def test_a_forced_remake_lies_beside_what_was_committed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = store.open_workspace("preferences", KEY)
    before = commit_preferences(store, first, [first.write_table("preferences.parquet", TABLE)])
    second = store.open_workspace("preferences", KEY, force=True)
    second.write_table("preferences.parquet", TABLE.slice(1))
    assert store.find("preferences", KEY) == before, "until the remake is committed"
    assert store.open_workspace("preferences", KEY, force=True).folder == second.folder


def test_groups_are_one_file_of_as_many_row_groups_and_whole_or_absent(tmp_path: Path) -> None:
    workspace = Store(tmp_path).open_workspace("samples", KEY)
    groups = [TABLE.to_pylist(), TABLE.to_pylist()]
    file = workspace.write_groups("samples.parquet", TABLE.schema, groups)
    written = pq.ParquetFile(workspace.folder / file.path)
    assert (file.num_rows, written.num_row_groups) == (6, 2)

    def broken() -> Iterator[list[Row]]:
        yield TABLE.to_pylist()
        raise ValueError("row 4 is bad")

    with pytest.raises(ValueError, match="row 4"):
        workspace.write_groups("others.parquet", TABLE.schema, broken())
    assert [path.name for path in workspace.folder.iterdir()] == ["samples.parquet"]


def test_half_written_files_of_killed_runs_are_removed_once_nobody_can_be_at_them(
    tmp_path: Path,
) -> None:
    folder = Store(tmp_path).open_workspace("samples", KEY).folder
    (folder / ".tmp-killed").write_bytes(b"half")

    def look_around() -> Iterator[list[Row]]:
        for path in folder.iterdir():
            os.utime(path, (0, 0))  # as old as a clock that was set makes it
        Store(tmp_path).open_workspace("samples", KEY)
        assert [path.name for path in folder.iterdir()] != [".tmp-killed"]
        assert len(list(folder.iterdir())) == 1
        yield TABLE.to_pylist()

    Workspace("samples", KEY, 0, folder).write_groups("part", TABLE.schema, look_around())
    assert [path.name for path in folder.iterdir()] == ["part"]


def test_a_workspace_opens_while_others_write_there(tmp_path: Path) -> None:
    """Score ranges share a folder: one lists it while another's temporary file is renamed."""
    folder = Store(tmp_path).open_workspace("scores", KEY).folder
    done = threading.Event()

    def keep_writing() -> None:
        while not done.is_set():
            write_atomic(folder / "part", b"x")

    with ThreadPoolExecutor(4) as writers:
        for _ in range(4):
            writers.submit(keep_writing)
        try:
            for _ in range(1000):
                Store(tmp_path).open_workspace("scores", KEY)
        finally:
            done.set()


def test_a_damaged_commit_is_told_of_once_by_whoever_reads_it_first(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = tmp_path / "preferences" / KEY / "artifact.json"
    write_atomic(path, b'{"kind": "pref')
    forget_left_out()
    assert store.load("preferences", KEY) is None and store.list_committed("preferences") == []
    assert list_left_out() == [f"left out: {path}: it is not whole JSON"]
    said: list[str] = []
    assert store.find("preferences", KEY, said.append) is None
    assert len(said) == 1 and list_left_out() == []
    forget_left_out()


def test_an_artifact_of_a_later_version_is_found_if_it_only_says_more(tmp_path: Path) -> None:
    store = Store(tmp_path)
    workspace = store.open_workspace("preferences", KEY)
    files = [workspace.write_table("preferences.parquet", TABLE)]
    made = commit_preferences(store, workspace, files)
    path = tmp_path / "preferences" / KEY / "artifact.json"
    path.write_text(path.read_text().replace("{", '{"mood": "new", ', 1))
    assert store.find("preferences", KEY) == made
