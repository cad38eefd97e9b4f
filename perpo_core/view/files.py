"""The files of a run's artifacts, each verified when it is first opened.

An artifact takes part only if it is the very one the run made (perpo_core/report/load.py). Packs of
images are not hashed as a whole, which takes minutes where they are many: every image is held
against its own hash when it is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from perpo_core.report.load import find_artifact
from perpo_core.store.packs import PREFIX
from perpo_core.store.store import DamagedArtifact, Store
from schemas.artifact import AnyArtifact, FileRef
from schemas.base import StageName
from schemas.run import RunRecord


class Absent(Exception):
    """What was asked for is not there; the message is a sentence that says why."""


@dataclass(frozen=True)
class RunFiles:
    """What one run left in its store."""

    store: Store
    run: RunRecord

    def find(self, stage: StageName) -> AnyArtifact:
        """What a stage made; raises Absent."""
        found = find_artifact(self.store, self.run, stage)
        if isinstance(found, str):
            raise Absent(found)
        return found

    def open(self, stage: StageName, prefix: str, columns: Sequence[str] = ()) -> dict[str, Path]:
        """Name -> place of those files of a stage that begin so; raises Absent.

        Also where they have not got these columns: another version of perpo wrote them.
        """
        artifact = self.find(stage)
        files = [file for file in artifact.files if file.path.startswith(prefix)]
        opened = {file.path: self._open(artifact, file) for file in files}
        for path in list(opened.values())[:1]:
            lacking = sorted({name.partition(".")[0] for name in columns} - _name_columns(path))
            if lacking:
                raise Absent(
                    f"Not shown: {path} has no column {lacking[0]}; another version of perpo wrote "
                    "it, and a run with this one makes it anew."
                )
        return opened

    def _open(self, artifact: AnyArtifact, file: FileRef) -> Path:
        path = self.store.locate_file(artifact, file)
        is_pack = file.path.startswith(PREFIX)
        if is_pack and path.is_file() and path.stat().st_size == file.num_bytes:
            return path
        try:
            self.store.verify_file(artifact.kind, artifact.key, file, path)
        except DamagedArtifact as damage:
            raise Absent(f"Not shown: {damage}.") from damage
        return path


def _name_columns(path: Path) -> set[str]:
    return set(pq.read_schema(path).names)
