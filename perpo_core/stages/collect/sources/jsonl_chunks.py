"""Rows of a JSON Lines source by the thousand: parts of the samples that later sets share.

What the samples of a chunk are made of are its lines, the settings, the content of the images they
name and the splits that all rows together settled. Of images that the store has, all that is known
before a row is built: a chunk that an earlier set holds costs the reading of its lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from perpo_core.perception.truths.row import RowError
from perpo_core.stages.collect.sources.jsonl_content import Place
from perpo_core.stages.collect.sources.jsonl_keys import parse_json
from perpo_core.stages.collect.sources.jsonl_reading import Reading
from perpo_core.stages.collect.sources.rows import SampleRow, SetAside
from perpo_core.stages.collect.sources.splits import NamedSplits, settle_split
from perpo_core.store.keys import compute_hash
from perpo_core.vision.images import StoredImage
from schemas.base import Split

MOST_ROWS, LEAST_ROWS = 1 << 13, 1 << 10
Line = tuple[Place, bytes]
Outcome = tuple[str | None, Split | None]
"""sha256 of a row's image file, and the split of its sample: None where it is set aside."""


@dataclass(frozen=True)
class Glance:
    """What is known of a row that is not built."""

    file_hash: str | None
    image: StoredImage | None
    """Where the store has it."""
    named: Any
    """What the row says of its split."""


def cut(lines: Iterator[Line]) -> Iterator[list[Line]]:
    """Runs of lines; one ends with its file too, unless it would be short."""
    held: list[Line] = []
    for line in lines:
        is_next_file = held and held[-1][0].file != line[0].file
        if len(held) == MOST_ROWS or (is_next_file and len(held) >= LEAST_ROWS):
            yield held
            held = []
        held.append(line)
    if held:
        yield held


@dataclass
class LineChunk:
    """Consecutive rows."""

    reading: Reading
    lines: list[Line]
    _glances: list[Glance] = field(default_factory=list)
    _outcomes: list[Outcome] = field(default_factory=list)

    def iterate(self) -> Iterator[SampleRow | SetAside]:
        """The rows, built one by one."""
        self._outcomes = []
        for place, line in self.lines:
            item = self.reading.read(place, line)
            if isinstance(item, SetAside):
                self._outcomes.append((self._glance(place, line).file_hash, None))
            else:
                self._outcomes.append((item["file_hash"], item["split"]))
            yield item

    def identify(self) -> Any:
        """JSON that is equal only where the samples are, foreseen as long as they are not built.

        None where the content of the images is not known.
        """
        if self.lines[0][0].content is None:
            return None
        if not self._outcomes:
            self._foresee()
        lines = [[p.row, line.strip().decode(errors="replace")] for p, line in self.lines]
        settings = self.reading.config.model_dump(mode="json", exclude={"files"})
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

    def list_images(self) -> Iterator[tuple[StoredImage, str]]:
        """The images of the samples that were taken, and the sha256 of their files."""
        for (file_hash, split), glance in zip(self._outcomes, self._glances, strict=True):
            if split is not None and file_hash is not None and glance.image is not None:
                yield glance.image, file_hash

    def _foresee(self) -> None:
        """As the rows would be settled, where their images are known."""
        self._glances = [self._glance(*line) for line in self.lines]
        names = NamedSplits(self.reading.names.divides_itself)
        for image in {each.image.pixels_hash for each in self._glances if each.image}:
            names.rows[image] = dict(self.reading.names.rows.get(image, {}))
        self._note_names(names)
        self._outcomes = [(each.file_hash, self._settle(names, each)) for each in self._glances]

    def _settle(self, names: NamedSplits, glance: Glance) -> Split | None:
        if glance.image is None:
            return None
        try:
            return settle_split(
                self.reading.config, names, glance.image.pixels_hash, glance.named, ""
            )
        except RowError:
            return None

    def _note_names(self, names: NamedSplits) -> None:
        for (place, _), glance in zip(self.lines, self._glances, strict=True):
            if glance.image is not None:
                names.note(glance.image.pixels_hash, glance.named, str(place))

    def _glance(self, place: Place, line: bytes) -> Glance:
        try:
            raw = parse_json(line, "")
        except RowError:
            return Glance(None, None, None)
        name, images = raw.get("image"), place.content[1] if place.content else {}
        file_hash = images.get(name) if isinstance(name, str) else None
        image = self.reading.loading.known.get(file_hash) if file_hash else None
        return Glance(file_hash, image, raw.get("split"))
