"""The split of an image: the one that rows name, else one from its pixels.

Rows are about one image where its upright pixels are equal (perpo_core/vision/images.py,
hash_pixels), whatever files hold them. A split that any row names holds for every row of the image,
before and after it and in all files. Of several, the most held-out one wins, so that no order of
rows and no row that is set aside lets a test image be trained on. An image that no row names goes
by its hash alone: other rows never move it, however the data grows. A row about several images is
as held out as the most held-out of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from perpo_core.perception.truths.row import RowError
from perpo_core.store.keys import compute_hash
from schemas.base import SPLITS, Split
from schemas.sources import RowsSource

MOST_HELD_OUT_FIRST: tuple[Split, ...] = ("test", "validation", "selection", "train")


@dataclass
class NamedSplits:
    """The splits that rows name for images."""

    divides_itself: bool = False
    """Whether some row names selection: then what rows name validation is not divided."""
    rows: dict[str, dict[Split, str]] = field(default_factory=dict)
    """pixels_hash -> split -> the first row that names it."""

    def note(self, pixels_hash: str, said: Any, where: str) -> None:
        """What a row says of its split, be it good otherwise or not."""
        for split in SPLITS:
            if said == split:
                self.rows.setdefault(pixels_hash, {}).setdefault(split, where)


def settle_split(
    config: RowsSource,
    names: NamedSplits,
    pixels_hashes: Sequence[str],
    named: Split | None,
    where: str,
) -> tuple[str, Split]:
    """The split of a row that names one, or None, and the image that decides it: (image, split).

    A row is as held out as the most held-out of its images. Raises RowError, which names two rows,
    where rows name several splits for an image: for every row of the image, or with
    on_bad_row = "drop" for those that name another split than the one that wins.
    """
    settled = [(each, _settle_image(config, names, each, named, where)) for each in pixels_hashes]
    return min(settled, key=lambda pair: MOST_HELD_OUT_FIRST.index(pair[1]))


def _settle_image(
    config: RowsSource, names: NamedSplits, pixels_hash: str, named: Split | None, where: str
) -> Split:
    rows = names.rows.get(pixels_hash, {})
    if not rows:
        return derive_split(config, pixels_hash)
    kept, *others = sorted(rows, key=MOST_HELD_OUT_FIRST.index)
    if named in others or (others and config.on_bad_row == "fail"):
        other, place = (named, where) if named in others else (others[0], rows[others[0]])
        raise RowError(
            "image in two splits",
            f"{place}: split {other!r}, but {rows[kept]} put the same image into {kept!r}; "
            "give all rows of one image the same split",
        )
    return kept if names.divides_itself else _divide_validation(config, kept, pixels_hash)


def derive_split(config: RowsSource, pixels_hash: str) -> Split:
    """The split of an image that no row names."""
    number = _draw_number("split", pixels_hash)
    if number < config.validation_share:
        return _divide_validation(config, "validation", pixels_hash)
    return "test" if number < config.validation_share + config.test_share else "train"


def _divide_validation(config: RowsSource, split: Split, pixels_hash: str) -> Split:
    """Some of the validation images choose the checkpoint, so that the gates see none of those."""
    if split == "validation" and _draw_number("selection", pixels_hash) < config.selection_share:
        return "selection"
    return split


def _draw_number(purpose: str, pixels_hash: str) -> float:
    """A fixed number in 0-1, another one for every purpose."""
    return float(int(compute_hash([purpose, pixels_hash])[:8], 16) / 2**32)
