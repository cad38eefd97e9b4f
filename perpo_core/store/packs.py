"""Images, each stored once, in Parquet files of many that are never changed again.

    pack-<16 digits>.parquet      schemas.arrow.PACKS, uncompressed, in small row groups

Rows name an image by the sha256 of its bytes, and any set's rows may name any pack's images: a set
of samples writes what no earlier one has and refers to the packs of the rest. A row also says of
what file the image was made, so that a file read once needs no second look.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from perpo_core.store.id_index import IdIndex, read_ids
from perpo_core.store.keys import compute_hash
from perpo_core.store.row_reader import RowReader, read_columns
from perpo_core.store.workspace import Workspace
from perpo_core.vision.images import StoredImage
from schemas.arrow import PACKS
from schemas.artifact import FileRef
from schemas.base import Digest

PREFIX = "pack-"
PACK_BYTES = 256 << 20
GROUP_BYTES, GROUP_ROWS = 2 << 20, 512  # what is read for one image
KEPT_GROUPS = 16
FACTS = [name for name in PACKS.names if name != "bytes"]


class Images:
    """The images of some packs, by their hash."""

    def __init__(self, packs: Sequence[Path]) -> None:
        self._packs = list(packs)
        self._rows = RowReader(packs, ["bytes"], KEPT_GROUPS)

    def read(self, image_hash: str) -> bytes:
        """The encoded bytes; raises KeyError for an image that is in none of the packs."""
        data: bytes = self._rows.read(self._find(image_hash))["bytes"]
        return data

    def measure(self, image_hash: str) -> tuple[int, int]:
        """Width and height in pixels; raises KeyError as `read` does."""
        width, height = self._sizes[self._find(image_hash)]
        return int(width), int(height)

    def _find(self, image_hash: str) -> int:
        numbers = self._index.find(image_hash)
        if not numbers:
            raise KeyError(image_hash)
        return numbers[-1]

    @cached_property
    def _index(self) -> IdIndex:
        return IdIndex(read_ids(self._packs, "image_hash"))

    @cached_property
    def _sizes(self) -> NDArray[np.int32]:
        """[images, (width, height)] pixels."""
        tables = (read_columns(pack, ["width", "height"]) for pack in self._packs)
        sizes = [[table[name].to_numpy() for name in ("width", "height")] for table in tables]
        return np.concatenate([np.zeros((0, 2), np.int32), *(np.stack(s, 1) for s in sizes)])


def read_facts(pack: Path) -> Iterator[tuple[str, StoredImage]]:
    """(file_hash, image without its bytes) of everything in a pack."""
    for row in read_columns(pack, FACTS).to_pylist():
        yield row.pop("file_hash"), StoredImage(data=b"", pixels_hash=row.pop("image_id"), **row)


class PackWriter:
    """Writes images into packs of a workspace, a row group at a time."""

    def __init__(self, workspace: Workspace, looking_digest: Digest) -> None:
        self._workspace, self._looking_digest = workspace, looking_digest
        self._open = ExitStack()
        self._writer: pq.ParquetWriter | None = None
        self._name, self._made_of = "", [""]
        self._held: list[dict[str, Any]] = []
        self._held_bytes = self._pack_bytes = 0
        self.files: list[FileRef] = []
        """Those that are finished."""

    def __enter__(self) -> PackWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The pack in hand is finished, or nothing of it stays."""
        if error is None:
            self._finish()
        else:
            self._open.__exit__(kind, error, trace)

    def add(self, image: StoredImage, file_hash: str) -> str:
        """Write an image that is in no pack yet; the name of its pack."""
        assert image.data, "the store has it"
        if self._writer is None:
            self._begin(image.image_hash)
        name = self._name
        self._held.append(_build_row(image, file_hash))
        self._held_bytes += len(image.data)
        if self._held_bytes >= GROUP_BYTES or len(self._held) == GROUP_ROWS:
            self._flush()
        if self._pack_bytes >= PACK_BYTES:
            self._finish()
        return name

    def _begin(self, first_hash: str) -> None:
        """Named by what it begins with here: made again it is the same, and nobody else's."""
        self._made_of = [self._workspace.key, str(self._workspace.attempt), first_hash]
        self._name = f"{PREFIX}{compute_hash(self._made_of)[:16]}.parquet"
        writing = self._workspace.writing(self._name, PACKS, compression="none")
        self._writer = self._open.enter_context(writing)

    def _flush(self) -> None:
        if self._held and self._writer is not None:
            self._writer.write_batch(pa.RecordBatch.from_pylist(self._held, PACKS))
        self._pack_bytes += self._held_bytes
        self._held, self._held_bytes = [], 0

    def _finish(self) -> None:
        if self._writer is None:
            return
        self._flush()
        self._open.close()
        self._writer, self._pack_bytes = None, 0
        file = self._workspace.describe_table(self._name)
        file = self._workspace.finish_part(file, self._made_of, self._looking_digest)
        self.files.append(file)


def _build_row(image: StoredImage, file_hash: str) -> dict[str, Any]:
    return {
        "image_hash": image.image_hash,
        "file_hash": file_hash,
        "image_id": image.pixels_hash,
        "width": image.width,
        "height": image.height,
        "read_width": image.read_width,
        "read_height": image.read_height,
        "bytes": image.data,
    }
