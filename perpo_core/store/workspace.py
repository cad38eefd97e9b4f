"""Where one attempt of one stage writes its files: whole files, and parts that a restart finds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from perpo_core.store.atomic import sync_tree, temporary_beside, write_atomic
from perpo_core.store.keys import compute_hash
from perpo_core.store.known_digests import hash_untouched, hash_written
from schemas.artifact import FileRef
from schemas.base import Digest, Frozen

SIDECAR_SUFFIX = ".json"
PART_SIDECAR = f".parquet{SIDECAR_SUFFIX}"
SCRATCH = "work"  # the folder in a workspace for what a restart needs; goes after the commit
ROW_GROUP_ROWS = 512  # a reader of a few rows does not decode a whole shard of images


class Sidecar(Frozen):
    """What lies beside a finished part."""

    file: FileRef
    made_of: Digest
    """The whole part: what was asked, and which rows."""
    rows_made_of: Digest | None = None
    """All that a row depends on besides its ids; None where rows are of no use elsewhere."""

    def as_file(self) -> FileRef:
        """The part as its artifact names it."""
        return self.file.model_copy(update={"made_of": self.made_of})


@dataclass(frozen=True)
class Workspace:
    """Where one attempt of one stage writes its files."""

    kind: str
    key: str
    attempt: int
    folder: Path

    def find_part(self, name: str, made_of: object) -> FileRef | None:
        """The finished part of that name if it was made of the same input and is undamaged."""
        path, sidecar = self.folder / name, self.folder / (name + SIDECAR_SUFFIX)
        if not path.is_file() or not sidecar.is_file():
            return None
        try:
            recorded = Sidecar.model_validate_json(sidecar.read_bytes())
        except ValidationError:  # damaged: what it tells of is made again
            return None
        if recorded.made_of != compute_hash(made_of):
            return None
        return recorded.as_file() if hash_untouched(path) == recorded.file.sha256 else None

    def write_part(
        self,
        name: str,
        table: pa.Table,
        made_of: object,
        num_reused: int = 0,
        rows_made_of: Digest | None = None,
        group_rows: int = ROW_GROUP_ROWS,
    ) -> FileRef:
        """Write a Parquet part and its sidecar; `made_of` is JSON that identifies its input.

        `num_reused` of its rows come from earlier artifacts: in the sidecar, so that a resumed
        stage still counts them. With `rows_made_of` the rows can be taken over where the part as a
        whole is not asked for any more (perpo_core/stages/earlier.py).
        """
        file = self.write_table(name, table, group_rows)
        file = file.model_copy(update={"num_reused": num_reused})
        return self.finish_part(file, made_of, rows_made_of)

    def finish_part(
        self, file: FileRef, made_of: object, rows_made_of: Digest | None = None
    ) -> FileRef:
        """Write the sidecar of a part that is there: from now on a restart finds it."""
        sidecar = Sidecar(file=file, made_of=compute_hash(made_of), rows_made_of=rows_made_of)
        path = self.folder / (file.path + SIDECAR_SUFFIX)
        write_atomic(path, sidecar.model_dump_json().encode())
        return sidecar.as_file()

    def write_table(self, name: str, table: pa.Table, group_rows: int = ROW_GROUP_ROWS) -> FileRef:
        """Write one Parquet file atomically."""
        path = self.folder / name
        with temporary_beside(path) as temporary:
            pq.write_table(table, temporary, compression="zstd", row_group_size=group_rows)
        return describe_file(path, name, num_rows=table.num_rows)

    def write_groups(
        self, name: str, schema: pa.Schema, groups: Iterable[list[dict[str, Any]]]
    ) -> FileRef:
        """write_table for rows that do not fit into memory together: a row group of each."""
        with self.writing(name, schema) as writer:
            for rows in groups:
                writer.write_table(pa.Table.from_pylist(rows, schema))
        return self.describe_table(name)

    @contextmanager
    def writing(
        self, name: str, schema: pa.Schema, compression: str = "zstd"
    ) -> Iterator[pq.ParquetWriter]:
        """A Parquet file that is there when the block ends well."""
        with (
            temporary_beside(self.folder / name) as temporary,
            pq.ParquetWriter(temporary, schema, compression=compression) as writer,
        ):
            yield writer

    def describe_table(self, name: str) -> FileRef:
        """The reference of a Parquet file that is there."""
        path = self.folder / name
        return describe_file(path, name, pq.read_metadata(path).num_rows)

    def locate_file(self, file: FileRef) -> Path:
        """Where a file is that was written here, or that is shared with an earlier artifact."""
        if file.home is None:
            return self.folder / file.path
        return self.folder.parents[1 if self.attempt else 0] / file.home

    @property
    def scratch(self) -> Path:
        """What a restart needs and nobody else; it is removed after the commit."""
        return self.folder / SCRATCH

    def publish_part(self, name: str) -> None:
        """Let other machines have a part that a child process wrote; here they see it anyway."""

    def publishing(self, name: str) -> AbstractContextManager[None]:
        """Let other machines have a log when the block ends, however it ends."""
        return nullcontext()

    def describe_tree(self, folder: str) -> list[FileRef]:
        """The files below a subfolder of the workspace, such as a model folder.

        A commit that names them shall not outlive them: they are on the disk afterwards.
        """
        sync_tree(self.folder / folder)
        files = sorted(path for path in (self.folder / folder).rglob("*") if path.is_file())
        return [describe_file(p, p.relative_to(self.folder).as_posix()) for p in files]


def describe_file(path: Path, name: str, num_rows: int | None = None) -> FileRef:
    """A file's reference, with its content hashed as it lies on disk."""
    return FileRef(
        path=name, sha256=hash_written(path), num_bytes=path.stat().st_size, num_rows=num_rows
    )
