"""Ways in which a small file of a store can be spoilt, or be something else altogether."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

STORE_V1 = Path(__file__).parent / "data" / "store-v1"
OTHER = b'{"name": "something else", "version": 3, "at": null}'


def write_bytes(body: bytes) -> Callable[[Path, bytes], None]:
    def write(path: Path, good: bytes) -> None:
        path.write_bytes(body)

    return write


def make_folder(path: Path, good: bytes) -> None:
    path.mkdir()
    (path / "inside.txt").write_text("foreign")


def cut(path: Path, good: bytes) -> None:
    path.write_bytes(good[: len(good) // 2])


DAMAGES: dict[str, Callable[[Path, bytes], None]] = {
    "empty": write_bytes(b""),
    "blank": write_bytes(b" \n"),
    "cut off": cut,
    "binary": write_bytes(bytes(range(256))),
    "zeros": write_bytes(bytes(512)),
    "null": write_bytes(b"null"),
    "a list": write_bytes(b"[1, 2]"),
    "nested": write_bytes(b"[" * 100_000),
    "another object": write_bytes(OTHER),
    "text": write_bytes(b"see the other folder\n"),
    "a folder": make_folder,
    "a link to nothing": lambda path, good: path.symlink_to("nowhere"),
}


def spoil(path: Path, damage: str) -> Path:
    """Put a spoilt file in a place; what was there counts as what it was before."""
    good = path.read_bytes() if path.is_file() else OTHER * 20
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    DAMAGES[damage](path, good)
    return path


def copy_store(folder: Path) -> Path:
    """The store of an earlier version (tests/data/README.md), to be written to."""
    shutil.copytree(STORE_V1, folder)
    return folder
