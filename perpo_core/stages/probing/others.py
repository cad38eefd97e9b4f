"""Another sample's images for each of some samples: a derangement of images, by hash.

Samples of one image lie together, images in order of their hash, and everybody takes what lies as
far ahead, round the end, as the commonest image is long: so nobody meets the own image, and each
sample's images are shown once. It is possible unless more than half of the samples show one image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from perpo_core.store.keys import compute_hash


def choose_others(image_of: Mapping[str, str]) -> dict[str, str]:
    """sample_id -> the sample whose images it is shown, of those given (sample_id -> image_id).

    {} where it is impossible. A permutation; what it is follows from the ids alone.
    """
    ids = sorted(image_of, key=lambda i: (compute_hash(["other", image_of[i]]), compute_hash(i)))
    step = max(Counter(image_of.values()).values(), default=0)
    if 2 * step > len(ids):
        return {}
    return dict(zip(ids, _rotate(ids, step), strict=True))


def _rotate(ids: Sequence[str], step: int) -> list[str]:
    return [*ids[step:], *ids[:step]]
