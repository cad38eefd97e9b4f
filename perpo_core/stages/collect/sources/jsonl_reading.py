"""The rows of a source of files one by one, and what they have to do with each other.

A row is drafted by itself; then its split is settled, which rows about the same image decide
together (perpo_core/stages/collect/sources/splits.py), and one that repeats another is set aside.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perpo_core.perception.tasks import TASKS
from perpo_core.perception.truths.boxes import GivenBox
from perpo_core.perception.truths.row import RowError
from perpo_core.stages.collect.sources.formats.line import Line, PassedOver
from perpo_core.stages.collect.sources.jsonl_content import (
    UNNAMED,
    Place,
    iterate_rows,
    require_same_lines,
    say_split,
)
from perpo_core.stages.collect.sources.jsonl_images import Loader, load_to_check, remember_images
from perpo_core.stages.collect.sources.jsonl_keys import check_keys, hinting
from perpo_core.stages.collect.sources.jsonl_loading import Loading
from perpo_core.stages.collect.sources.jsonl_names import is_data_url, list_names
from perpo_core.stages.collect.sources.jsonl_row import parse_image_number, parse_row
from perpo_core.stages.collect.sources.jsonl_truths import list_variants
from perpo_core.stages.collect.sources.rows import (
    NOTHING,
    KnownImages,
    Noted,
    RowImage,
    SampleRow,
    SetAside,
    build_sample,
)
from perpo_core.stages.collect.sources.splits import NamedSplits, settle_split
from perpo_core.vision.images import ImageError
from schemas.base import SPLITS
from schemas.sources import RowsSource


@dataclass(frozen=True)
class Draft:
    """A row that is good as far as it says itself; its sample's split is the one it names."""

    place: Place
    sample: SampleRow
    noted: Noted


@dataclass
class Reading:
    """One pass over the rows."""

    config: RowsSource
    loading: Loading
    names: NamedSplits
    seen: dict[str, str] = field(default_factory=dict)
    """sample_id -> the first row of it."""

    def read(self, place: Place, line: Line) -> SampleRow | SetAside:
        """A row's sample; bad rows raise ValueError or are set aside, as configured."""
        return self.settle(self.draft(place, line))

    def draft(self, place: Place, line: Line) -> Draft | SetAside:
        """A row by itself; bad ones as `read` has them."""
        noted = Noted()
        try:
            sample = self._build(place, line, noted)
        except (RowError, ImageError) as error:
            return self._set_aside(place, error, noted)
        return Draft(place, sample, noted)

    def settle(self, draft: Draft | SetAside) -> SampleRow | SetAside:
        """The sample with its split; what contradicts or repeats another row is set aside."""
        if isinstance(draft, SetAside):
            return draft
        sample, where = draft.sample, str(draft.place)
        try:
            pixels = [image.stored.pixels_hash for image in sample["row_images"]]
            image_id, split = settle_split(self.config, self.names, pixels, sample["split"], where)
            self._require_new(sample["sample_id"], where)
        except RowError as error:
            return self._set_aside(draft.place, error, draft.noted)
        return sample | {"image_id": image_id, "split": split}

    def _build(self, place: Place, line: Line, noted: Noted) -> SampleRow:
        raw, where = place.parse(line), str(place)
        with hinting(raw):
            names = list_names(raw, where)
            images = [self.loading.load(name, place) for name in names]
            for image in images:
                self.names.note(image.stored.pixels_hash, raw.get("split"), where)
            check_keys(raw, where)
            number = parse_image_number(raw, where, len(images))
            asked_about = images[number]
            size = asked_about.stored.read_width, asked_about.stored.read_height
            noted.brightness, noted.box = asked_about.brightness, _find_given_box(raw, size)
            parsed = parse_row(raw, where, size, len(images))
        return build_sample(
            task=parsed.task,
            split=parsed.split,
            images=[RowImage(image.stored, image.file_hash) for image in images],
            messages=parsed.messages,
            truths=parsed.truths,
            source=parsed.source,
            licence=parsed.licence,
            row=place.row,
            image_number=number,
        )

    def _require_new(self, sample_id: str, where: str) -> None:
        first = self.seen.get(sample_id)
        if first is not None:
            raise RowError(
                "duplicate sample",
                f"{where}: the same image, prompt and truth as {first}; remove one of the two",
            )
        self.seen[sample_id] = where

    def _set_aside(self, place: Place, error: RowError | ImageError, noted: Noted) -> SetAside:
        """Raises the error instead where the configuration says fail."""
        is_sound = isinstance(error, PassedOver)
        if self.config.on_bad_row == "fail" and not is_sound:
            require_same_lines(place, self.config)
            raise error
        return SetAside(place.row, error.reason, str(error), noted, is_sound)


def begin_reading(
    config: RowsSource, load: Loader, identity: Any = None, known: KnownImages = NOTHING
) -> Reading:
    """A pass that knows of every split that a later row may name for an earlier one."""
    said = _list_said_splits(config, identity)
    names = NamedSplits(divides_itself="selection" in said)
    if _may_name_rows_before(config, said):
        _find_names(config, names, identity, known)
    return Reading(config, Loading(remember_images(load, config), known), names)


def begin_checking(config: RowsSource, load: Loader) -> Reading:
    """A pass for who drafts all rows before the first is settled."""
    names = NamedSplits(divides_itself="selection" in _list_said_splits(config))
    return Reading(config, Loading(remember_images(load, config), NOTHING), names)


def _find_given_box(raw: dict[str, Any], size: tuple[int, int]) -> GivenBox | None:
    task = TASKS.get(str(raw.get("task")))
    first = list_variants(raw)[0]
    return task.find_given_box(first, size) if task and task.find_given_box else None


def _may_name_rows_before(config: RowsSource, said: set[str]) -> bool:
    """Whether a row's split may be named by a later row, in a way that is no error there.

    Where no row names a split, none can be; where all do, a later row can only contradict.
    """
    return bool(said & set(SPLITS)) and (UNNAMED in said or config.on_bad_row == "drop")


def _list_said_splits(config: RowsSource, identity: Any = None) -> set[str]:
    """What the rows of all files say of their split; a row that cannot be read says nothing."""
    if identity:
        return {said for _, _, every in identity["files"] for said in every}
    return {said for place, line in iterate_rows(config) for said in _say(place, line)}


def _say(place: Place, line: Line) -> Iterator[str]:
    with suppress(RowError):
        yield say_split(place.parse(line))


def _find_names(config: RowsSource, names: NamedSplits, identity: Any, known: KnownImages) -> None:
    """A pass over the rows that name a split; what else is wrong with them is said by the next."""
    loading = Loading(functools.partial(load_to_check, config=config), known)
    hashes: dict[tuple[Path, str], str] = {}
    for place, line in iterate_rows(config, identity):
        with suppress(RowError, ImageError):
            raw = place.parse(line)
            if raw.get("split") not in SPLITS:
                continue
            for name in list_names(raw, str(place)):
                pixels_hash = hashes.get((place.file, name))
                if pixels_hash is None:
                    pixels_hash = loading.load(name, place).stored.pixels_hash
                if not is_data_url(name):
                    hashes[place.file, name] = pixels_hash
                names.note(pixels_hash, raw["split"], str(place))
