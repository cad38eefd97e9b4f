"""Paired bootstrap: is the trained policy better on the same prompts, and by how much.

Percentile intervals of the mean difference, resampling samples and keeping both policies' values
of a sample together (Efron and Tibshirani 1993, chapters 13 and 16). Pairing removes the spread
between easy and hard prompts, which both policies share.

Left out: clusters. Questions about one image are resampled as if they were independent, so with
many questions an image the interval is somewhat too narrow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from schemas.artifact import Metric

CONFIDENCE = 0.95
BLOCK_DRAWS = 1 << 22  # 4M indices, 32 MB, are held at a time however many prompts there are


def compare_paired(base_P: ArrayLike, trained_P: ArrayLike, resamples: int, seed: int) -> Metric:
    """Means of both, their difference, and its 95% interval; the same seed gives the same bounds.

    base_P and trained_P hold one value a sample, in the same order. Raises ValueError if their
    lengths differ, if they are empty, or if a value is not finite.
    """
    base, trained = np.asarray(base_P, dtype=np.float64), np.asarray(trained_P, dtype=np.float64)
    if base.shape != trained.shape or base.ndim != 1 or not base.size:
        raise ValueError(
            f"a paired comparison needs two equally long, non-empty rows of values, "
            f"not {base.shape} and {trained.shape}"
        )
    if not (np.isfinite(base).all() and np.isfinite(trained).all()):
        raise ValueError("a paired comparison needs finite values; score every answer first")
    delta_P = trained - base
    means_R = _resample_means(delta_P, resamples, seed)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means_R, [tail, 1 - tail])
    return Metric(
        base=float(base.mean()),
        trained=float(trained.mean()),
        delta=float(delta_P.mean()),
        delta_low=float(low),
        delta_high=float(high),
        n=base.size,
    )


def _resample_means(
    values_P: NDArray[np.float64], resamples: int, seed: int
) -> NDArray[np.float64]:
    """[R] means of as many draws with replacement as there are values."""
    rng = np.random.default_rng(seed)
    rows = max(1, BLOCK_DRAWS // values_P.size)
    means = []
    for start in range(0, resamples, rows):
        shape = (min(rows, resamples - start), values_P.size)
        means.append(values_P[rng.integers(values_P.size, size=shape, dtype=np.int32)].mean(axis=1))
    return np.concatenate(means)
