"""One's own images and truths from JSON Lines: one object a line, images beside the file.

Rows are read one at a time and every image is decoded to its end, so memory does not grow with the
images. A bad row ends the run with one sentence naming file, row and value, or is set aside with
its reason (source.on_bad_row). Which split a row is in is
perpo_core/stages/collect/sources/splits.py: where some rows name one and it may concern rows read
before, those rows' images are looked at first.

Left out: remote images, several images a prompt, polygons.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from perpo_core.perception.tasks import TASKS
from perpo_core.perception.truths.boxes import GivenBox
from perpo_core.perception.truths.row import RowError
from perpo_core.stages.collect.sources.jsonl_content import (
    Loading,
    Place,
    find_known,
    hash_content,
    iterate_lines,
    iterate_rows,
    require_same_lines,
)
from perpo_core.stages.collect.sources.jsonl_images import (
    Loader,
    Look,
    load_for_store,
    load_to_check,
    remember_images,
)
from perpo_core.stages.collect.sources.jsonl_keys import check_keys, hinting, parse_json
from perpo_core.stages.collect.sources.jsonl_row import parse_row
from perpo_core.stages.collect.sources.rows import (
    NOTHING,
    KnownImages,
    Noted,
    SampleRow,
    SetAside,
    build_sample,
)
from perpo_core.stages.collect.sources.splits import NamedSplits, settle_split
from perpo_core.vision.images import ImageError
from schemas.base import SPLITS
from schemas.config import JsonlSource

IS_COMPOSED = False
UNNAMED = ""  # the split of a row that names none


@dataclass(frozen=True)
class Draft:
    """A row that is good as far as it says itself; its sample's split is the one it names."""

    place: Place
    sample: SampleRow
    noted: Noted


def compute_identity(config: JsonlSource) -> Any:
    """The settings, the files' contents and the contents of every image they name, as JSON."""
    settings = config.model_dump(mode="json", exclude={"files"})
    return {"settings": settings, "files": [hash_content(file) for file in config.files]}


def count_rows(config: JsonlSource) -> int:
    """Lines that hold something."""
    return sum(1 for file in config.files for _ in iterate_lines(file))


def describe_looking(config: JsonlSource) -> Any:
    """The settings that an image in the store depends on."""
    return [config.max_image_megapixels, config.max_image_side]


def iterate_samples(
    config: JsonlSource, identity: Any = None, known: KnownImages = NOTHING
) -> Iterator[SampleRow | SetAside]:
    """The samples of all files; bad rows raise ValueError or are set aside, as configured.

    Image files that are known are not opened, where an identity tells their content. Raises
    InputChanged as soon as a file or an image is not what a given identity says.
    """
    said = _list_said_splits(config)
    names = NamedSplits(divides_itself="selection" in said)
    if _may_name_rows_before(config, said):
        _find_names(config, names, identity, known)
    drafts = _iterate_drafts(config, load_for_store, names, identity, known)
    yield from _settle(config, names, drafts)


def check_samples(config: JsonlSource, look: Look | None = None) -> Iterator[SampleRow | SetAside]:
    """The same rows with nothing scaled or encoded, for `perpo doctor`: every bad row is yielded.

    prompt_id and sample_id are those of the images as received, which the samples lack: each is
    decoded once and shown to `look`, and all rows are held until their splits are known. What is
    counted over all rows is in `noted`, a key more of each sample.
    """
    config = config.model_copy(update={"on_bad_row": "drop"})
    names = NamedSplits(divides_itself="selection" in _list_said_splits(config))
    load = functools.partial(load_to_check, look=look)
    drafts = list(map(_without_images, _iterate_drafts(config, load, names)))
    yield from _settle(config, names, drafts)


def _iterate_drafts(
    config: JsonlSource,
    load: Loader,
    names: NamedSplits,
    identity: Any = None,
    known: KnownImages = NOTHING,
) -> Iterator[Draft | SetAside]:
    load_once = Loading(remember_images(load, config), known)
    for place, line in iterate_rows(config.files, identity):
        noted = Noted()
        try:
            sample = _build(place, line, load_once, names, noted)
        except (RowError, ImageError) as error:
            yield _set_aside(config, place, error, noted)
        else:
            yield Draft(place, sample, noted)


def _build(
    place: Place,
    line: bytes,
    loading: Loading,
    names: NamedSplits,
    noted: Noted,
) -> SampleRow:
    raw = parse_json(line, str(place))
    with hinting(raw):
        image = loading.load(find_known(raw, place), place, raw["image"])
        stored, size = image.stored, (image.stored.read_width, image.stored.read_height)
        names.note(stored.pixels_hash, raw, str(place))
        check_keys(raw, str(place))
        noted.brightness, noted.box = image.brightness, _find_given_box(raw, size)
        parsed = parse_row(raw, str(place), size)
    return build_sample(
        task=parsed.task,
        split=parsed.split,
        image=stored,
        file_hash=image.file_hash,
        prompt=parsed.prompt,
        truth=parsed.truth,
        source=parsed.source,
        licence=parsed.licence,
        row=place.row,
    )


def _find_given_box(raw: dict[str, Any], size: tuple[int, int]) -> GivenBox | None:
    task = TASKS.get(str(raw.get("task")))
    return task.find_given_box(raw, size) if task and task.find_given_box else None


def _settle(
    config: JsonlSource, names: NamedSplits, drafts: Iterable[Draft | SetAside]
) -> Iterator[SampleRow | SetAside]:
    """The samples with their splits; what contradicts or repeats another row is set aside."""
    seen: dict[str, str] = {}
    for draft in drafts:
        if isinstance(draft, SetAside):
            yield draft
            continue
        sample, where = draft.sample, str(draft.place)
        try:
            split = settle_split(config, names, sample["image_id"], sample["split"], where)
            _require_new(sample, where, seen)
        except RowError as error:
            yield _set_aside(config, draft.place, error, draft.noted)
        else:
            yield sample | {"split": split}


def _require_new(sample: SampleRow, where: str, seen: dict[str, str]) -> None:
    first = seen.get(sample["sample_id"])
    if first is not None:
        raise RowError(
            "duplicate sample",
            f"{where}: the same image, prompt and truth as {first}; remove one of the two",
        )
    seen[sample["sample_id"]] = where


def _set_aside(
    config: JsonlSource, place: Place, error: RowError | ImageError, noted: Noted
) -> SetAside:
    """Raises the error instead where the configuration says fail."""
    if config.on_bad_row == "fail":
        require_same_lines(place)
        raise error
    return SetAside(place.row, error.reason, str(error), noted)


def _may_name_rows_before(config: JsonlSource, said: set[str]) -> bool:
    """Whether a row's split may be named by a later row, in a way that is no error there.

    Where no row names a split, none can be; where all do, a later row can only contradict.
    """
    return bool(said & set(SPLITS)) and (UNNAMED in said or config.on_bad_row == "drop")


def _list_said_splits(config: JsonlSource) -> set[str]:
    """What the rows of all files say of their split; a row that cannot be read says nothing."""
    said = set()
    for _, line in (numbered for file in config.files for numbered in iterate_lines(file)):
        try:
            split = parse_json(line, "").get("split")
        except RowError:
            continue
        said.add(UNNAMED if split is None else str(split))
    return said


def _find_names(config: JsonlSource, names: NamedSplits, identity: Any, known: KnownImages) -> None:
    """A pass over the rows that name a split; what else is wrong with them is said by the next."""
    loading = Loading(functools.partial(load_to_check, config=config), known)
    hashes: dict[Path, str] = {}
    for place, line in iterate_rows(config.files, identity):
        try:
            raw = parse_json(line, str(place))
            if raw.get("split") not in SPLITS:
                continue
            path = find_known(raw, place)
            if path not in hashes:
                hashes[path] = loading.load(path, place, raw["image"]).stored.pixels_hash
        except (RowError, ImageError):
            continue
        names.note(hashes[path], raw, str(place))


def _without_images(draft: Draft | SetAside) -> Draft | SetAside:
    if isinstance(draft, SetAside):
        return draft
    return replace(draft, sample=draft.sample | {"image": None, "noted": draft.noted})
