"""Images of different splits that look alike: copies that were encoded anew or resized.

Each distinct image has a perceptual hash of 256 bits, the signs of its lowest spatial frequencies
(pHash: C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, chapter
3.2; ImageHash's phash). Two images look alike if their hashes differ in few bits. Every pair across
splits is compared, in blocks of bounded memory: 100,000 images take seconds.

Left out: copies that were cut, turned or mirrored; images too plain for the hash to say anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from perpo_core.doctor.findings import Finding
from perpo_core.stages.collect.sources.rows import SampleRow
from schemas.base import SPLITS

HASH_SIDE = 16  # bits along each axis
HASH_WORDS = HASH_SIDE**2 // 64
THUMBNAIL_SIDE = 4 * HASH_SIDE  # grey pixels a side that phash looks at
# Bits. Each of 56 photos, 36 book pages, 60 typeset pages, 92 text lines (48 pixels high) and 300
# digit scenes (96 pixels) against 15 copies of itself (JPEG of quality 50 to 95, scales of 0.3 to
# 0.9, both): within 16 lie all copies of photos (6 at most), book pages (14) and typeset ones (16),
# 96% of the scenes' and 85% of the lines': the others are a third as large, 29 and 14 pixels high.
# The nearest different ones: photos 104, scenes 84, lines 76, book pages 68; of 1,200 typeset pages
# of one layout 42 (38 lines), 30 (20 lines) and 16 (8 lines: 1 of 719,400 pairs); of 1,000 forms
# filled in 28, of 2,000 line charts 36; 44 of 3.2 million pairs of scenes of 1 to 5 equal squares.
MAX_DISTANCE = 16
# Standard deviation of the thumbnail's grey levels. Pages of one layout with 1, 2, 3 and 4 lines
# (5, 7, 8, 9) come as near as 0, 0, 8, 14 bits, with 6 (11) 18. Photos have 26 and more, pages 14.
MIN_CONTRAST = 10.0
MAX_NAMED_PAIRS = 20  # the most alike, said one by one; all are counted
BLOCK_IMAGES = 128, 4096  # compared at once: half a million pairs

Hashes = NDArray[np.uint64]  # [I, HASH_WORDS]: the bits of I images
Numbers = NDArray[np.int64]


@dataclass
class Looks:
    """What the images of a source look like."""

    hashes: dict[str, bytes | None] = field(default_factory=dict)
    """image_id -> 32 bytes; None of an image too plain to be told from others."""

    def note(self, image_id: str, image: Image.Image) -> None:
        """Look at an image, unless it is known already."""
        if image_id not in self.hashes:
            self.hashes[image_id] = compute_look(image)


class Pair(NamedTuple):
    """Two images of different splits; the most alike sort first."""

    distance: int
    first: int
    second: int


def compute_look(image: Image.Image) -> bytes | None:
    """The hash of an RGB image; None if it is nearly blank."""
    side = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    # A box filter does most of a large photo's reduction: six times faster than Lanczos alone.
    small = image.convert("L").resize(side, Image.Resampling.LANCZOS, reducing_gap=3.0)
    if np.asarray(small).std() < MIN_CONTRAST:
        return None
    return np.packbits(imagehash.phash(small, HASH_SIDE).hash).tobytes()


def report_near_duplicates(rows: list[SampleRow], looks: Looks) -> Iterator[Finding]:
    """The pairs across splits, named up to a bound and counted; and what could not be compared."""
    first_rows: dict[str, SampleRow] = {}
    for row in rows:
        first_rows.setdefault(row["image_id"], row)
    known = [(row, look) for row in first_rows.values() if (look := looks.hashes[row["image_id"]])]
    members = [
        np.array([number for number, (row, _) in enumerate(known) if row["split"] == split], int)
        for split in SPLITS
    ]
    hashes = np.frombuffer(b"".join(look for _, look in known), np.uint64).reshape(-1, HASH_WORDS)
    count, pairs = find_pairs(hashes, members)
    for pair in pairs:
        one, other = (f"{row['row']} ({row['split']})" for row, _ in (known[n] for n in pair[1:]))
        yield Finding(
            "warning",
            f"source: the images of {one} and {other} look alike ({pair.distance} of "
            f"{HASH_SIDE**2} bits differ); if one is a copy of the other, remove it or name one "
            "split for both",
        )
    if count > len(pairs):
        yield Finding(
            "warning", f"source: {count} pairs of images in different splits look alike in all"
        )
    if num_plain := len(first_rows) - len(known):
        yield Finding("ok", f"source: {num_plain} images are too plain to tell copies of them")


def find_pairs(hashes: Hashes, members: Sequence[Numbers]) -> tuple[int, list[Pair]]:
    """How many pairs of different groups look alike, and the most alike MAX_NAMED_PAIRS of them.

    `members` holds each group's rows of `hashes`.
    """
    count, best = 0, list[Pair]()
    for group, other in combinations(members, 2):
        for some in _cut(group, BLOCK_IMAGES[0]):
            for others in _cut(other, BLOCK_IMAGES[1]):
                distances, firsts, seconds = _compare(hashes, some, others)
                count += len(distances)
                best = _keep_best(best, distances, firsts, seconds)
    return count, best


def _keep_best(
    best: list[Pair], distances: Numbers, firsts: Numbers, seconds: Numbers
) -> list[Pair]:
    is_full = len(best) == MAX_NAMED_PAIRS
    better = np.flatnonzero(distances < (best[-1].distance if is_full else MAX_DISTANCE + 1))
    closest = better[np.argsort(distances[better], kind="stable")[:MAX_NAMED_PAIRS]]
    found = np.stack([distances[closest], firsts[closest], seconds[closest]], axis=1).tolist()
    return sorted([*best, *(Pair(*each) for each in found)])[:MAX_NAMED_PAIRS]


def _cut(members: Numbers, size: int) -> Iterator[Numbers]:
    return (members[start : start + size] for start in range(0, len(members), size))


def _compare(hashes: Hashes, some: Numbers, others: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """(distance, first, second) of the pairs that look alike.

    The highest frequencies alone rule out nearly all others: there even pages of one layout differ.
    """
    words, other_words = (np.ascontiguousarray(hashes[of, -1]) for of in (some, others))
    may_be = np.bitwise_count(words[:, None] ^ other_words[None, :]) <= MAX_DISTANCE
    rows, columns = np.divmod(np.flatnonzero(may_be), len(others))
    firsts, seconds = some[rows], others[columns]
    distances = np.bitwise_count(hashes[firsts] ^ hashes[seconds]).sum(axis=1, dtype=np.int64)
    alike = distances <= MAX_DISTANCE
    return distances[alike], firsts[alike], seconds[alike]
