"""One's own images and truths from JSON Lines: one object a line, images beside the file.

Rows are read one at a time and every image is decoded to its end, so memory does not grow with the
data. A bad row ends the run with one sentence naming file, row and value, or is set aside with its
reason (source.on_bad_row). A row without a split gets one from its image's bytes: one photo is
never in two splits, whatever the order or number of rows.

Left out: remote images, several images a prompt, polygons.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perpo_core.images import (
    ImageError,
    StoredImage,
    encode_for_store,
    load_bytes,
    read_image,
)
from perpo_core.inputs import InputChanged
from perpo_core.keys import compute_hash
from perpo_core.sources.jsonl_content import (
    Content,
    LoadedImage,
    find_known,
    hash_content,
    iterate_lines,
    load_known,
    require_same_lines,
)
from perpo_core.sources.jsonl_keys import check_keys, parse_json
from perpo_core.sources.jsonl_row import parse_row
from perpo_core.sources.rows import RowError, SampleRow, SetAside, build_sample
from schemas.base import Split
from schemas.config import JsonlSource

IS_COMPOSED = False
KEPT_IMAGES = 8  # rows about the same photo usually follow each other


Loader = Callable[[Path, str, JsonlSource], LoadedImage]  # (path, where, settings)


@dataclass
class Seen:
    """What earlier rows settled."""

    samples: dict[str, str] = field(default_factory=dict)
    """sample_id -> row."""
    splits: dict[str, tuple[Split, str]] = field(default_factory=dict)
    """sha256 of an image file -> its split, and the row that settled it."""


def compute_identity(config: JsonlSource) -> Any:
    """The settings, the files' contents and the contents of every image they name, as JSON."""
    settings = config.model_dump(mode="json", exclude={"files"})
    return {"settings": settings, "files": [hash_content(file) for file in config.files]}


def count_rows(config: JsonlSource) -> int:
    """Lines that hold something."""
    return sum(1 for file in config.files for _ in iterate_lines(file))


def iterate_samples(config: JsonlSource, identity: Any = None) -> Iterator[SampleRow | SetAside]:
    """The samples of all files; bad rows raise ValueError or are set aside, as configured.

    Raises InputChanged as soon as a file or an image is not what a given identity says.
    """
    return _iterate(config, _load_for_store, identity)


def check_samples(config: JsonlSource) -> Iterator[SampleRow | SetAside]:
    """The same pass with nothing scaled or encoded, for `perpo doctor`: every bad row is yielded.

    prompt_id and sample_id are those of the images as received.
    """
    return _iterate(config.model_copy(update={"on_bad_row": "drop"}), _load_to_check)


def _iterate(
    config: JsonlSource, load: Loader, identity: Any = None
) -> Iterator[SampleRow | SetAside]:
    seen = Seen()
    load_once = _remember_images(load, config)
    known = identity["files"] if identity else [None] * len(config.files)
    for file, content in zip(config.files, known, strict=True):
        digest, num_lines = hashlib.sha256(), 0
        for number, line in iterate_lines(file):
            num_lines += 1
            digest.update(line)
            where = f"{file} row {number}"
            row = f"{file.parent.name}/{file.name}:{number}"  # the same wherever the folder lies
            try:
                yield _build(config, file, where, row, line, load_once, seen, content)
            except (RowError, ImageError) as error:
                if config.on_bad_row == "fail":
                    require_same_lines(file, content)
                    raise
                yield SetAside(row, error.reason, str(error))
        if content and digest.hexdigest() != content[0]:
            raise InputChanged(file)
        if not num_lines:
            raise ValueError(f"{file}: the file has no rows; write one JSON object a line")


def _build(
    config: JsonlSource,
    file: Path,
    where: str,
    row: str,
    line: bytes,
    load: Callable[[Path, str], LoadedImage],
    seen: Seen,
    content: Content | None,
) -> SampleRow:
    raw = parse_json(line, where)
    check_keys(raw, where)
    path = find_known(raw, file, where, content)
    image = load_known(path, where, load, raw["image"], content)
    stored = image.stored
    parsed = parse_row(raw, where, (stored.read_width, stored.read_height))
    sample = build_sample(
        task=parsed.task,
        split=_settle_split(config, parsed.split, image.file_hash, where, seen),
        image=stored.data,
        size=(stored.width, stored.height),
        prompt=parsed.prompt,
        truth=parsed.truth,
        source=parsed.source,
        licence=parsed.licence,
        row=row,
    )
    first = seen.samples.setdefault(sample["sample_id"], where)
    if first != where:
        raise RowError(
            "duplicate sample",
            f"{where}: the same image, prompt and truth as {first}; remove one of the two",
        )
    return sample


def _settle_split(
    config: JsonlSource, named: Split | None, file_hash: str, where: str, seen: Seen
) -> Split:
    """The named split, else that of earlier rows about the image, else one from its bytes."""
    split, first = seen.splits.setdefault(
        file_hash, (named or derive_split(config, file_hash), where)
    )
    if named is not None and named != split:
        raise RowError(
            "image in two splits",
            f"{where}: split {named!r}, but {first} put the same image into {split!r}; "
            "give all rows of one image the same split",
        )
    return split


def derive_split(config: JsonlSource, file_hash: str) -> Split:
    """The split of an image without a named one: a fixed number in 0-1 from its sha256."""
    place = int(compute_hash(["split", file_hash])[:8], 16) / 2**32
    if place < config.validation_share:
        return "validation"
    return "test" if place < config.validation_share + config.test_share else "train"


def _load_for_store(path: Path, where: str, config: JsonlSource) -> LoadedImage:
    data = load_bytes(path, where, config.max_image_megapixels)
    stored = encode_for_store(data, where, config.max_image_megapixels, config.max_image_side)
    return LoadedImage(stored, hashlib.sha256(data).hexdigest())


def _load_to_check(path: Path, where: str, config: JsonlSource) -> LoadedImage:
    data = load_bytes(path, where, config.max_image_megapixels)
    size = read_image(data, where, config.max_image_megapixels).size
    return LoadedImage(StoredImage(data, *size, *size), hashlib.sha256(data).hexdigest())


def _remember_images(load: Loader, config: JsonlSource) -> Callable[[Path, str], LoadedImage]:
    """Load each of the last few images once; failures are raised anew, with the new row's name."""
    current_where = ""

    @functools.lru_cache(maxsize=KEPT_IMAGES)
    def load_path(path: Path) -> LoadedImage:
        return load(path, current_where, config)

    def load_for(path: Path, where: str) -> LoadedImage:
        nonlocal current_where
        current_where = where
        return load_path(path)

    return load_for
