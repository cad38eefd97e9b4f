"""Method against method: the difference over the same seeds and prompts, and how sure it is.

Differences are taken prompt by prompt and seed by seed before anything is resampled: what is hard
for both methods, and what a seed does to both, cancels. How the two spreads that are left, between
seeds and between images, make an interval is told in resampling.py.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from perpo_core.evidence.resampling import (
    Values,
    check_resamples,
    cluster_by_image,
    compute_p_value,
    compute_variances,
    find_interval,
    resample_means,
)
from schemas.evidence_statistics import Difference


def compare_methods(
    first_SP: ArrayLike, second_SP: ArrayLike, images_P: ArrayLike, resamples: int, seed: int
) -> Difference:
    """Second minus first with its 95% interval; the same seed gives the same bounds.

    [S, P] values of both methods: row s of both is the same seed, column p the same prompt, which
    asks about the image images_P[p]. A policy that was not trained, as the start, has no seed and
    is [1, P]: it stands against every seed of the other. Raises ValueError if shapes do not go
    together, if a value is not finite, or if there are fewer than 40 resamples.
    """
    check_resamples(resamples)
    first, second = as_values(first_SP, "first"), as_values(second_SP, "second")
    images = check_shapes({"first": first, "second": second}, images_P)
    differences_SP = second - first
    [resampled_R] = resample_means([differences_SP], images, resamples, seed)
    low, high = find_interval(resampled_R)
    clusters = cluster_by_image(differences_SP, images)
    return Difference(
        delta=float(differences_SP.mean()),
        low=low,
        high=high,
        p_value=compute_p_value(resampled_R),
        effect_size=compute_effect_size(differences_SP),
        se=float(np.sqrt(sum(compute_variances(clusters)))),
        seeds=differences_SP.shape[0],
        prompts=differences_SP.shape[1],
        images=clusters.sizes_I.size,
        resamples=resamples,
    )


def compute_effect_size(differences_SP: Values) -> float | None:
    """Cohen's d of paired values, d_z (Cohen 1988, section 2.3.5; Lakens 2013, from memory).

    Mean over the standard deviation, P - 1, of the prompts' differences, each a mean over seeds:
    how far a prompt goes beside how differently prompts go. More seeds make prompts' means less
    noisy and d_z larger: compare it at equal seeds. None where all prompts go equally far.
    """
    differences_P = differences_SP.mean(axis=0)
    if np.ptp(differences_P) == 0:
        return None
    return float(differences_P.mean() / differences_P.std(ddof=1))


def as_values(values_SP: ArrayLike, name: str) -> Values:
    """As an array [S, P] of finite numbers; raises ValueError if it is none."""
    values = np.asarray(values_SP, dtype=np.float64)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"{name} is {values.shape}; give one row a seed and one column a prompt")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds values that are not finite; score every answer first")
    return values


def check_shapes(named: dict[str, Values], images_P: ArrayLike) -> np.ndarray:
    """images_P as an array; raises ValueError unless all have as many prompts, and 1 or S seeds."""
    images = np.asarray(images_P)
    shapes = {name: values.shape for name, values in named.items()}
    prompts = {columns for _, columns in shapes.values()}
    if len({rows for rows, _ in shapes.values()} - {1}) > 1 or {(each,) for each in prompts} != {
        images.shape
    }:
        raise ValueError(
            f"a comparison wants the same seeds (or 1) and prompts of all, and an image for every "
            f"prompt, not {shapes} and {images.shape} images"
        )
    return images
