"""A full disk and a lack of memory, provoked for real: one sentence, and nothing half-written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from perpo_core.process.parent import ChildFailed, run_child
from perpo_core.process.troubles import DiskFull, met_full_disk, met_lack_of_memory
from perpo_core.store.atomic import write_atomic
from perpo_core.store.store import Store
from tests.perpo_core.children import CHILDREN, CHILDREN_PATH, Job
from tests.perpo_core.store.disks import fill, small_disk

TABLE = pa.table({"number": list(range(100_000))})
ADVICE = "lower train.micro_batch_lists"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 4 << 20) as folder:
        yield folder


def run(act: str, log_path: Path) -> None:
    job = Job(act=act, text=str(log_path.parent))
    run_child(
        CHILDREN, job, on_event=lambda event: None, log=print, progress_timeout_s=60,
        env=CHILDREN_PATH, log_path=log_path, memory_advice=ADVICE,
    )  # fmt: skip


def test_what_does_not_fit_leaves_nothing_and_is_written_when_there_is_room(disk: Path) -> None:
    workspace = Store(disk).open_workspace("samples", "a" * 64)
    fill(disk / "ballast")
    path = workspace.folder / "part-00000.parquet"
    with pytest.raises(DiskFull, match=f"the disk is full, {re.escape(str(path))} could not be"):
        workspace.write_part(path.name, TABLE, "made of")
    with pytest.raises(DiskFull, match=r"make room there .* or change store"):
        workspace.write_groups(path.name, TABLE.schema, [TABLE.to_pylist()])
    with pytest.raises(DiskFull):
        write_atomic(disk / "runs" / "record.json", b"{}" * 5000)
    assert list(workspace.folder.iterdir()) == []
    assert workspace.find_part(path.name, "made of") is None
    (disk / "ballast").unlink()
    file = workspace.write_part(path.name, TABLE, "made of")
    assert workspace.find_part(path.name, "made of") == file


def test_other_errors_of_the_disk_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        write_atomic(tmp_path / "file" / "below", b"x")


@pytest.mark.parametrize("act", ["fill", "fill and leave"])
def test_a_child_that_fills_the_disk_is_not_tried_again(disk: Path, act: str) -> None:
    """Also where its last words found no room in the log."""
    folder = disk / "checkpoint"
    folder.mkdir()
    with pytest.raises(DiskFull, match=f"{re.escape(str(folder))} could not be written"):
        run(act, folder / "train.log")


def test_what_libraries_say_of_a_full_disk_is_understood(disk: Path, tmp_path: Path) -> None:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    weights = {"weight": torch.zeros(4 << 20)}
    with pytest.raises(SafetensorError) as safetensors:
        save_file(weights, disk / "model.safetensors")
    with pytest.raises(RuntimeError) as pickled:
        torch.save(weights, disk / "optimizer.pt")
    for caught in (safetensors, pickled):
        assert met_full_disk(str(caught.value), tmp_path), caught.value
    assert not met_full_disk("ValueError: a full stop", tmp_path)


@pytest.mark.parametrize("act", ["hoard", "hoard tensors", "hoard columns"])
def test_a_child_without_memory_names_the_settings_to_lower(tmp_path: Path, act: str) -> None:
    with pytest.raises(ChildFailed, match=f"failed with .* for lack of memory; {ADVICE}") as caught:
        run(act, tmp_path / "log")
    assert caught.value.last_lines


def test_a_kill_for_lack_of_memory_names_them_too(tmp_path: Path) -> None:
    match = f"was killed by SIGKILL, most likely by the system for lack of memory; {ADVICE} "
    with pytest.raises(ChildFailed, match=match):
        run("kill", tmp_path / "log")


def test_another_failure_is_not_blamed_on_memory() -> None:
    assert not met_lack_of_memory("ValueError: MemoryError is not what this is about")
    said = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"
    assert met_lack_of_memory(said)
