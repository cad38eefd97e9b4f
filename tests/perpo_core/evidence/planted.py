"""Methods whose truth is known: how they differ, and how seeds and images spread them.

Axes: M methods, S seeds, P prompts, I images.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

Values = NDArray[np.float64]
SEEDS = 5
IMAGES_P = np.arange(2048) % 1000
FEW_IMAGES_P = np.arange(400) % 200
SEED_SPREAD = 0.013
"""Of the latent score, whose spread is 1: half a point of accuracy."""
COMMON, METHOD, RUN = 0.8, 0.06, 0.14
"""Shares of the latent score's variance: prompts, methods on prompts, seeds of a method on prompts.
Two runs then disagree about one prompt in five."""
SAME_IMAGE = 0.3  # of what prompts have by themselves, what those of one image share


def draw_effects(
    rng: np.random.Generator, num_images: int, seeds: int, spreads: tuple[float, float, float]
) -> Values:
    """[S, I] of mean 0: normal effects of seeds, of images, and of seeds on images."""
    of_seed, of_image, of_both = spreads
    return (
        of_seed * rng.standard_normal((seeds, 1))
        + of_image * rng.standard_normal((1, num_images))
        + of_both * rng.standard_normal((seeds, num_images))
    )


def draw_answers(
    rng: np.random.Generator, accuracies_M: ArrayLike, images_P: NDArray[np.int64] = IMAGES_P
) -> Values:
    """[M, S, P] right or wrong (1, 0), right as often as given: a prompt too hard for one method
    is mostly so for the others, and a seed makes all prompts a little easier or harder."""
    thresholds_M = norm.ppf(np.asarray(accuracies_M)) * np.sqrt(1 + SEED_SPREAD**2)
    methods = len(thresholds_M)
    latent_MSP = (
        np.sqrt(COMMON) * _draw_prompts(rng, (1, 1), images_P)
        + np.sqrt(METHOD) * _draw_prompts(rng, (methods, 1), images_P)
        + np.sqrt(RUN) * _draw_prompts(rng, (methods, SEEDS), images_P)
        + SEED_SPREAD * rng.standard_normal((methods, SEEDS, 1))
    )
    right: Values = (latent_MSP < thresholds_M[:, None, None]).astype(np.float64)
    return right


def _draw_prompts(
    rng: np.random.Generator, shape: tuple[int, int], images_P: NDArray[np.int64]
) -> Values:
    """[*, *, P] of mean 0 and variance 1, alike for prompts of one image."""
    of_image = rng.standard_normal((*shape, images_P.max() + 1))[..., images_P]
    own = rng.standard_normal((*shape, len(images_P)))
    drawn: Values = np.sqrt(SAME_IMAGE) * of_image + np.sqrt(1 - SAME_IMAGE) * own
    return drawn
