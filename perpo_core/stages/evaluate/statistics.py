"""Paired bootstrap: is the trained policy better on the same prompts, and by how much.

Percentile intervals of the mean difference, keeping both policies' values of a sample together
(Efron and Tibshirani 1993, chapters 13 and 16). Pairing removes the spread between easy and hard
prompts, which both policies share. What is resampled is images with all their questions (the
cluster bootstrap, Davison and Hinkley 1997, section 3.8): questions about one image stand or fall
together, and as independent draws they would make the interval too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from schemas.artifact import Metric

CONFIDENCE = 0.95
TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
BLOCK_DRAWS = 1 << 22  # 4M indices, 32 MB, are held at a time however many prompts there are


def compare_paired(
    base_P: ArrayLike, trained_P: ArrayLike, images_P: Sequence[str], resamples: int, seed: int
) -> Metric:
    """Means of both, their difference, and its 95% interval; the same seed gives the same bounds.

    All three hold one value a sample, in the same order: both policies' values, and the image
    that the sample asks about. Raises ValueError if their
    lengths differ, if they are empty, or if a value is not finite.
    """
    base, trained = np.asarray(base_P, dtype=np.float64), np.asarray(trained_P, dtype=np.float64)
    if base.shape != trained.shape or base.shape != (len(images_P),) or not base.size:
        raise ValueError(
            f"a paired comparison needs equally long, non-empty rows of values and images, "
            f"not {base.shape}, {trained.shape} and ({len(images_P)},)"
        )
    if not (np.isfinite(base).all() and np.isfinite(trained).all()):
        raise ValueError("a paired comparison needs finite values; score every answer first")
    delta_P = trained - base
    means_R = resample_means(delta_P, images_P, resamples, seed)
    low, high = np.quantile(means_R, TAILS)
    return Metric(
        base=float(base.mean()),
        trained=float(trained.mean()),
        delta=float(delta_P.mean()),
        delta_low=float(low),
        delta_high=float(high),
        n=base.size,
    )


def resample_means(
    values_P: NDArray[np.float64], images_P: Sequence[str], resamples: int, seed: int
) -> NDArray[np.float64]:
    """[R] means over the questions of as many images, drawn with replacement, as there are.

    The same images, resamples and seed draw the same: means of two rows of values are paired.
    """
    _, image_of_P = np.unique(np.asarray(images_P), return_inverse=True)
    sums_I, sizes_I = np.bincount(image_of_P, values_P), np.bincount(image_of_P)
    rng = np.random.default_rng(seed)
    rows = max(1, BLOCK_DRAWS // sums_I.size)
    means = []
    for start in range(0, resamples, rows):
        shape = (min(rows, resamples - start), sums_I.size)
        drawn = rng.integers(sums_I.size, size=shape, dtype=np.int32)
        means.append(sums_I[drawn].sum(axis=1) / sizes_I[drawn].sum(axis=1))
    return np.concatenate(means)
