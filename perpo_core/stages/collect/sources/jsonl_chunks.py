"""Rows of a source of files by the thousand: parts of the samples that later sets share.

What the samples of a chunk are made of are its lines, the settings, the content of the images they
name and the splits that all rows together settled. Of images that the store has, all that is known
before a row is built: a chunk that an earlier set holds costs the reading of its lines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from perpo_core.perception.truths.row import RowError
from perpo_core.stages.collect.sources.formats.line import Line
from perpo_core.stages.collect.sources.jsonl_content import Place
from perpo_core.stages.collect.sources.jsonl_names import decode_data_url, is_data_url, list_names
from perpo_core.stages.collect.sources.jsonl_reading import Reading
from perpo_core.stages.collect.sources.rows import RowImage, SampleRow, SetAside
from perpo_core.stages.collect.sources.splits import NamedSplits, settle_split
from perpo_core.store.keys import compute_hash
from perpo_core.vision.images import StoredImage
from schemas.base import Split
from schemas.sources import PATH_KEYS

MOST_ROWS, LEAST_ROWS = 1 << 13, 1 << 10
MOST_BYTES = 1 << 24  # of lines that hold their images, which a chunk holds too
LONG_BYTES = 1 << 16  # of such a line: an identity has its digest
Placed = tuple[Place, Line]
Outcome = tuple[list[str | None], Split | None]
"""sha256 of a row's image files, and the split of its sample: None where it is set aside."""


@dataclass(frozen=True)
class Glance:
    """What is known of a row that is not built."""

    file_hashes: list[str | None]
    images: list[StoredImage]
    """Where the store has all of them, else none."""
    named: Any
    """What the row says of its split."""


def cut(lines: Iterator[Placed]) -> Iterator[list[Placed]]:
    """Runs of lines; one ends with its file too, unless it would be short."""
    held: list[Placed] = []
    num_bytes = 0
    for line in lines:
        is_next_file = held and held[-1][0].file != line[0].file
        is_full = len(held) == MOST_ROWS or num_bytes >= MOST_BYTES
        if is_full or (is_next_file and len(held) >= LEAST_ROWS):
            yield held
            held, num_bytes = [], 0
        held.append(line)
        num_bytes += len(line[1].raw)
    if held:
        yield held


def _identify_line(line: Line) -> str:
    raw = line.raw.strip()
    is_long = len(raw) > LONG_BYTES
    return hashlib.sha256(raw).hexdigest() if is_long else raw.decode(errors="replace")


@dataclass
class LineChunk:
    """Consecutive rows."""

    reading: Reading
    lines: list[Placed]
    _glances: list[Glance] = field(default_factory=list)
    _outcomes: list[Outcome] = field(default_factory=list)

    def iterate(self) -> Iterator[SampleRow | SetAside]:
        """The rows, built one by one."""
        self._outcomes = []
        for place, line in self.lines:
            item = self.reading.read(place, line)
            if isinstance(item, SetAside):
                self._outcomes.append((self._glance(place, line).file_hashes, None))
            else:
                hashes = [image.file_hash for image in item["row_images"]]
                self._outcomes.append((hashes, item["split"]))
            yield item

    def identify(self) -> Any:
        """JSON that is equal only where the samples are, foreseen as long as they are not built.

        None where the content of the images is not known.
        """
        if self.lines[0][0].content is None:
            return None
        if not self._outcomes:
            self._foresee()
        lines = [[place.row, _identify_line(line)] for place, line in self.lines]
        settings = self.reading.config.model_dump(mode="json", exclude={"files", *PATH_KEYS})
        return [settings, compute_hash(lines), compute_hash(self._outcomes)]

    def adopt(self, rows: Sequence[str], sample_ids: Sequence[str]) -> list[SetAside] | None:
        """Take samples that are there for those of the lines; what the other lines come to.

        After `identify`. None where some of them would not be built now.
        """
        pairs = list(zip(self.lines, self._outcomes, strict=True))
        kept = [place for (place, _), (_, split) in pairs if split is not None]
        if [place.row for place in kept] != list(rows) or self.reading.seen.keys() & sample_ids:
            return None
        self.reading.seen.update(zip(sample_ids, map(str, kept), strict=True))
        self._note_names(self.reading.names)
        others = [self.reading.read(*line) for line, (_, split) in pairs if split is None]
        return [each for each in others if isinstance(each, SetAside)]

    def list_images(self) -> Iterator[RowImage]:
        """The images of the samples that were taken."""
        for (_, split), glance in zip(self._outcomes, self._glances, strict=True):
            if split is not None:
                for image, file_hash in zip(glance.images, glance.file_hashes, strict=True):
                    assert file_hash is not None  # the store knows the image by it
                    yield RowImage(image, file_hash)

    def _foresee(self) -> None:
        """As the rows would be settled, where their images are known."""
        self._glances = [self._glance(*line) for line in self.lines]
        names = NamedSplits(self.reading.names.divides_itself)
        for pixels_hash in {i.pixels_hash for each in self._glances for i in each.images}:
            names.rows[pixels_hash] = dict(self.reading.names.rows.get(pixels_hash, {}))
        self._note_names(names)
        self._outcomes = [(each.file_hashes, self._settle(names, each)) for each in self._glances]

    def _settle(self, names: NamedSplits, glance: Glance) -> Split | None:
        if not glance.images:
            return None
        pixels = [image.pixels_hash for image in glance.images]
        try:
            return settle_split(self.reading.config, names, pixels, glance.named, "")[1]
        except RowError:
            return None

    def _note_names(self, names: NamedSplits) -> None:
        for (place, _), glance in zip(self.lines, self._glances, strict=True):
            if glance.named is not None:
                for image in glance.images:
                    names.note(image.pixels_hash, glance.named, str(place))

    def _glance(self, place: Place, line: Line) -> Glance:
        try:
            raw = place.parse(line)
            names = list_names(raw, "")
            hashes = [self._find_hash(place, name) for name in names]
        except RowError:
            return Glance([], [], None)
        known = self.reading.loading.known
        images = [
            image for file_hash in hashes if (image := known.get(file_hash or "")) is not None
        ]
        return Glance(hashes, images if len(images) == len(hashes) else [], raw.get("split"))

    def _find_hash(self, place: Place, name: str) -> str | None:
        if is_data_url(name):
            return hashlib.sha256(decode_data_url(name, "")).hexdigest()
        return place.content[1].get(name) if place.content else None
