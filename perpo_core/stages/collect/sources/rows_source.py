"""One's own images and truths from files of rows, in any format (formats/): images beside them.

Rows are read one at a time and every image is decoded to its end, so memory does not grow with the
images. A bad row ends the run with one sentence naming file, row and value, or is set aside with
its reason (source.on_bad_row). Which split a row is in is
perpo_core/stages/collect/sources/splits.py: where some rows name one and it may concern rows read
before, those rows' images are looked at first.

Left out: remote images, polygons.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from perpo_core.stages.collect.sources.jsonl_chunks import LineChunk, cut
from perpo_core.stages.collect.sources.jsonl_content import (
    hash_content,
    iterate_rows,
)
from perpo_core.stages.collect.sources.jsonl_images import Look, load_for_store, load_to_check
from perpo_core.stages.collect.sources.jsonl_reading import Draft, begin_checking, begin_reading
from perpo_core.stages.collect.sources.rows import (
    NOTHING,
    KnownImages,
    RowImage,
    SampleRow,
    SetAside,
)
from schemas.sources import PATH_KEYS, RowsSource

IS_COMPOSED = False


def compute_identity(config: RowsSource) -> Any:
    """The settings, the files' contents and the contents of every image they name, as JSON."""
    settings = config.model_dump(mode="json", exclude={"files", *PATH_KEYS})
    return {"settings": settings, "files": [hash_content(file, config) for file in config.files]}


def count_rows(config: RowsSource) -> int:
    """Records that hold something, each truth one where each is a sample."""
    return sum(1 for _ in iterate_rows(config))


def describe_looking(config: RowsSource) -> Any:
    """The settings that an image in the store depends on."""
    return [config.max_image_megapixels, config.max_image_side]


def iterate_chunks(
    config: RowsSource, identity: Any = None, known: KnownImages = NOTHING
) -> Iterator[LineChunk]:
    """The rows of all files by the thousand.

    Image files that are known are not opened, where an identity tells their content. Raises
    InputChanged as soon as a file or an image is not what a given identity says.
    """
    reading = begin_reading(config, load_for_store, identity, known)
    for lines in cut(iterate_rows(config, identity)):
        yield LineChunk(reading, lines)


def iterate_samples(
    config: RowsSource, identity: Any = None, known: KnownImages = NOTHING
) -> Iterator[SampleRow | SetAside]:
    """The samples of all files; bad rows raise ValueError or are set aside, as configured."""
    for chunk in iterate_chunks(config, identity, known):
        yield from chunk.iterate()


def check_samples(config: RowsSource, look: Look | None = None) -> Iterator[SampleRow | SetAside]:
    """The same rows with nothing scaled or encoded, for `perpo doctor`: every bad row is yielded.

    prompt_id and sample_id are those of the images as received, which the samples lack: each is
    decoded once and shown to `look`, and all rows are held until their splits are known. What is
    counted over all rows is in `noted`, a key more of each sample.
    """
    config = config.model_copy(update={"on_bad_row": "drop"})
    reading = begin_checking(config, functools.partial(load_to_check, look=look))
    rows = iterate_rows(config)
    drafts = [_without_image(reading.draft(place, line)) for place, line in rows]
    yield from map(reading.settle, drafts)


def _without_image(draft: Draft | SetAside) -> Draft | SetAside:
    if isinstance(draft, SetAside):
        return draft
    images = [
        RowImage(replace(i.stored, data=b""), i.file_hash) for i in draft.sample["row_images"]
    ]
    return replace(draft, sample=draft.sample | {"row_images": images, "noted": draft.noted})
