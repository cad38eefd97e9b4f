"""Where samples come from: a new source is one module with a few functions, and one line here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from perpo_core.stages.collect.sources import digits_source, rows_source
from perpo_core.stages.collect.sources.formats import FORMATS
from perpo_core.stages.collect.sources.rows import NOTHING, Chunk, KnownImages, SampleRow, SetAside


class Source(Protocol):
    """What a source module offers; `config` is the section of its own kind."""

    IS_COMPOSED: bool
    """Its samples are made when they are asked for: naming them costs what collecting costs."""

    def compute_identity(self, config: Any) -> Any:
        """JSON that is equal exactly when the samples are: content, never paths."""

    def count_rows(self, config: Any) -> int:
        """How many rows `iterate_samples` will yield."""

    def describe_looking(self, config: Any) -> Any:
        """JSON of the settings that a file's image in the store depends on."""

    def iterate_samples(self, config: Any) -> Iterator[SampleRow | SetAside]:
        """The rows of all chunks."""

    def iterate_chunks(
        self, config: Any, identity: Any = None, known: KnownImages = NOTHING
    ) -> Iterator[Chunk]:
        """The rows, lazily and in a fixed order; ValueError where the configuration says fail.

        Files that are known are not opened. Raises InputChanged as soon as something read is not
        what a given identity says.
        """


SOURCES: dict[str, Source] = {
    "digits": digits_source,
    **dict.fromkeys(FORMATS, rows_source),
}
