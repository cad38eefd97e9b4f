"""Resampled means of values that every seed has on the same prompts: how sure is a mean.

Axes: K quantities (resampled together), S seeds, P prompts, I images, R resamples.

A value is mu + seed + image + (seed x image): every seed answers the same test images, so that the
two are crossed and not nested. Each resample adds two shifts to the mean:

- images: with replacement, with all their prompts and under all seeds (the cluster bootstrap, as
  in perpo_core/stages/evaluate/statistics.py). Drawn anew within every seed, what an image does to
  all seeds would average out as if it were their own luck, and intervals come out too narrow.
- seeds: the seeds' deviations from their mean, with normal weights (the multiplier bootstrap),
  over the root of a chi-square draw with S - 1 degrees of freedom. For a single quantity that is
  Student's t with the unbiased variance. A handful of seeds drawn with replacement has (S - 1)/S
  of the variance and no tails.

A sum of a normal and of a t part is the Behrens-Fisher distribution (Fisher 1935), whose intervals
cover at least what they say wherever that was looked at (Robinson 1976).

What a seed does to an image by itself is in both shifts. Images take it over, less once: their
shifts are scaled to the variance without it, the estimator of a crossed analysis of variance with
one value a cell (MS_seed + MS_image - MS_rest). Owen's pigeonhole bootstrap (2007), which draws
rows and columns and multiplies the weights, counts it three times. The choice was made by
coverage: docs/evidence.md has the figures. The references are from memory of the papers.

With one seed there is no seed shift: the interval is of this seed, over other images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]
TAIL = 40
"""One in 40 resamples lies beyond either end of a 95% interval."""
BLOCK_DRAWS = 1 << 22
"""4M drawn images, 16 MB, are held at a time however many resamples there are."""


class Clusters(NamedTuple):
    """Values of one quantity as sums over the prompts of an image."""

    sums_SI: Values
    sizes_I: NDArray[np.int64]

    @property
    def means_S(self) -> Values:
        """Of every seed, over prompts."""
        means_S: Values = self.sums_SI.sum(axis=1) / self.sizes_I.sum()
        return means_S


def cluster_by_image(values_SP: Values, images_P: ArrayLike) -> Clusters:
    """Sums and numbers of prompts by image."""
    _, image_of_P = np.unique(np.asarray(images_P), return_inverse=True)
    sums_SI: Values = np.stack([np.bincount(image_of_P, values_P) for values_P in values_SP])
    return Clusters(sums_SI, np.bincount(image_of_P))


def compute_variances(clusters: Clusters) -> tuple[float, float]:
    """(of images, of seeds): what each adds to the variance of the mean over seeds and prompts.

    The first without what seeds do to images by themselves, which is in the second; 0 where that
    alone explains how images differ. Both are 0 where there is only one of the kind.
    """
    sums_SI, sizes_I = clusters
    num_seeds, num_images = sums_SI.shape
    num_prompts = sizes_I.sum()
    seeds = clusters.means_S.var(ddof=1) / num_seeds if num_seeds > 1 else 0.0
    if num_images == 1:
        return 0.0, float(seeds)
    off_SI = (sums_SI - clusters.means_S[:, None] * sizes_I) / num_prompts
    common_I = off_SI.mean(axis=0)
    few = num_images / (num_images - 1)
    images = few * (common_I**2).sum()
    if num_seeds > 1:
        rest = few * ((off_SI - common_I) ** 2).sum() / (num_seeds * (num_seeds - 1))
        images = max(images - rest, 0.0)
    return float(images), float(seeds)


def resample_means(
    quantities: Sequence[Values], images_P: ArrayLike, resamples: int, seed: int
) -> Values:
    """[K, R] means of every quantity, [S, P] or [1, P], in the same resamples.

    [1, P] has no seed: its images are drawn with those of the others, and no seed shifts it.
    """
    rng = np.random.default_rng(seed)
    clusters_K = [cluster_by_image(values_SP, images_P) for values_SP in quantities]
    image_shifts_KR = _draw_image_shifts(clusters_K, resamples, rng)
    seed_shifts_KR = _draw_seed_shifts(clusters_K, resamples, rng)
    means_K = np.array([clusters.means_S.mean() for clusters in clusters_K])
    means_KR: Values = means_K[:, None] + image_shifts_KR + seed_shifts_KR
    return means_KR


def find_interval(resampled_R: Values) -> tuple[float, float]:
    """95%: what one resample in 40 lies at or beyond, on either side; at least 40 are needed.

    Order statistics, so that 0 is left out exactly where compute_p_value is below 0.05.
    """
    ordered_R = np.sort(resampled_R)
    beyond = check_resamples(len(ordered_R)) // TAIL
    return float(ordered_R[beyond - 1]), float(ordered_R[-beyond])


def compute_p_value(resampled_R: Values) -> float:
    """Two-sided, of a mean of 0: twice the smaller share beyond 0, the value itself counted in.

    2 / (R + 1) at least (Davison and Hinkley 1997, section 4.2): no number of resamples shows 0.
    """
    beyond = min((resampled_R <= 0).sum(), (resampled_R >= 0).sum())
    return min(1.0, 2 * (int(beyond) + 1) / (len(resampled_R) + 1))


def check_resamples(resamples: int) -> int:
    """The same number; raises ValueError if it is too small for a 95% interval."""
    if resamples < TAIL:
        raise ValueError(
            f"{resamples} resamples are too few for a 95% interval; ask for at least {TAIL}, "
            "better 10000"
        )
    return resamples


def _draw_image_shifts(
    clusters_K: Sequence[Clusters], resamples: int, rng: np.random.Generator
) -> Values:
    """[K, R] how much the means move with the images that are drawn."""
    sizes_I = clusters_K[0].sizes_I
    sums_KI = np.stack([clusters.sums_SI.mean(axis=0) for clusters in clusters_K])
    shifts_KR = np.empty((len(clusters_K), resamples))
    rows = max(1, BLOCK_DRAWS // sizes_I.size)
    for start in range(0, resamples, rows):
        shape = (min(rows, resamples - start), sizes_I.size)
        drawn = rng.integers(sizes_I.size, size=shape, dtype=np.int32)
        sizes_R = sizes_I[drawn].sum(axis=1)
        for sums_I, shifts_R in zip(sums_KI, shifts_KR, strict=True):
            shifts_R[start : start + rows] = sums_I[drawn].sum(axis=1) / sizes_R
    shifts_KR -= sums_KI.sum(axis=1, keepdims=True) / sizes_I.sum()
    scales_K = np.array([_compute_image_scale(clusters) for clusters in clusters_K])
    scaled_KR: Values = scales_K[:, None] * shifts_KR
    return scaled_KR


def _compute_image_scale(clusters: Clusters) -> float:
    """What takes the seeds' own share out of the spread between images; 1 with one seed."""
    common_SI = clusters.sums_SI.mean(axis=0, keepdims=True)
    whole, _ = compute_variances(Clusters(common_SI, clusters.sizes_I))
    without, _ = compute_variances(clusters)
    return float(np.sqrt(without / whole)) if whole else 1.0


def _draw_seed_shifts(
    clusters_K: Sequence[Clusters], resamples: int, rng: np.random.Generator
) -> Values:
    """[K, R] how much the means move with the seeds; the same draws for every quantity."""
    num_seeds = max(len(clusters.means_S) for clusters in clusters_K)
    if num_seeds == 1:
        return np.zeros((len(clusters_K), resamples))
    weights_SR = rng.standard_normal((num_seeds, resamples))
    # Student's t is a normal over the root of a mean square with S - 1 degrees of freedom.
    weights_SR /= np.sqrt(rng.chisquare(num_seeds - 1, resamples) / (num_seeds - 1))
    off_KS = np.zeros((len(clusters_K), num_seeds))
    for off_S, clusters in zip(off_KS, clusters_K, strict=True):
        off_S += clusters.means_S - clusters.means_S.mean()
    shifts_KR: Values = off_KS @ weights_SR / np.sqrt(num_seeds * (num_seeds - 1))
    return shifts_KR
