"""Packs: every image once, read back by its hash, in files that are there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from perpo_core.store import packs
from perpo_core.store.keys import compute_hash
from perpo_core.store.packs import Images, PackWriter, read_facts
from perpo_core.store.store import Store
from perpo_core.store.workspace import Workspace
from perpo_core.vision.images import StoredImage, build_stored

LOOKING = compute_hash("looking")


def build_image(number: int) -> StoredImage:
    return build_stored(bytes([number]) * 1000, (4, 3), (8, 6), f"{number:064x}")


def open_workspace(root: Path) -> Workspace:
    return Store(root).open_workspace("samples", "a" * 64)


def write(workspace: Workspace, numbers: range) -> list[Path]:
    with PackWriter(workspace, LOOKING) as writer:
        for number in numbers:
            writer.add(build_image(number), f"{number + 500:064x}")
    return [workspace.locate_file(file) for file in writer.files]


@pytest.mark.parametrize(("pack_bytes", "num_packs"), [(1 << 20, 1), (5_000, 3)])
def test_images_come_back_by_their_hash_from_small_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack_bytes: int, num_packs: int
) -> None:
    monkeypatch.setattr(packs, "PACK_BYTES", pack_bytes)
    monkeypatch.setattr(packs, "GROUP_BYTES", 2_000)
    paths = write(open_workspace(tmp_path), range(17))
    assert len(paths) == num_packs
    assert all(pq.ParquetFile(path).metadata.row_group(0).num_rows == 2 for path in paths)
    images = Images(paths)
    for number in (16, 0, 9, 9, 3):
        image = build_image(number)
        assert images.read(image.image_hash) == image.data
        assert images.measure(image.image_hash) == (4, 3)
    for other in ("f" * 64, image.image_hash + "0", image.image_hash[:-1]):
        with pytest.raises(KeyError):
            images.read(other)
        with pytest.raises(KeyError):
            images.measure(other)


def test_what_is_known_of_a_file_is_all_but_the_bytes(tmp_path: Path) -> None:
    [path] = write(open_workspace(tmp_path), range(3))
    for number, (file_hash, image) in enumerate(read_facts(path)):
        expected = build_image(number)
        assert file_hash == f"{number + 500:064x}" and image.data == b""
        assert vars(image) == vars(expected) | {"data": b""}


def test_a_writer_that_is_interrupted_leaves_the_packs_it_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "PACK_BYTES", 3_000)
    monkeypatch.setattr(packs, "GROUP_BYTES", 1_000)
    workspace = open_workspace(tmp_path)
    with pytest.raises(KeyboardInterrupt), PackWriter(workspace, LOOKING) as writer:
        for number in range(5):
            writer.add(build_image(number), "0" * 64)
        raise KeyboardInterrupt
    [finished] = writer.files
    assert {path.name for path in workspace.folder.iterdir()} == {
        finished.path, f"{finished.path}.json"
    }  # fmt: skip
    assert finished.num_rows == 3


def test_the_same_images_give_the_same_packs(tmp_path: Path) -> None:
    first, second = (write(open_workspace(tmp_path / name), range(5)) for name in ("a", "b"))
    assert [path.name for path in first] == [path.name for path in second]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
