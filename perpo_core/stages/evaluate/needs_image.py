"""How much of a gain needs the right image: 1 - (gain with another image) / (gain with the right).

A policy whose answers got better by reading the image better gains nothing where the image is
another; one that learned what answers are likely, whatever is shown, gains as much (what PerPO's
first figure calls image-unconditional reward hacking). The measure is ours: that figure trains with
and without the image instead, and mDPO (arXiv 2406.11839) looks at likelihoods.

The interval is of the paired bootstrap over images, both gains from the same draws. A draw in which
the gain with the right image is not above zero has no share: it counts as lower than any where the
other gain is above zero, and as higher than any where it is not. There are fewer of them than fall
off either end, since a share is told only where that gain's own interval is above zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from perpo_core.stages.evaluate.statistics import TAILS, compare_paired, resample_means
from schemas.probing import ImageProbe

Values = NDArray[np.float64]


def compare_images(
    right_P: tuple[Values, Values],
    other_P: tuple[Values, Values],
    images_P: Sequence[str],
    resamples: int,
    seed: int,
) -> ImageProbe:
    """Of P >= 1 samples: rewards of (base, trained) with the right image and with another one.

    `images_P` are the right images. Raises ValueError as compare_paired does.
    """
    right = compare_paired(*right_P, images_P, resamples, seed)
    other = compare_paired(*other_P, images_P, resamples, seed)
    probe = ImageProbe(
        base=other.base,
        trained=other.trained,
        gain=other.delta,
        gain_low=other.delta_low,
        gain_high=other.delta_high,
        base_right=right.base,
        trained_right=right.trained,
        gain_right=right.delta,
        gain_right_low=right.delta_low,
        gain_right_high=right.delta_high,
        n=right.n,
    )
    if right.delta_low <= 0:
        return probe
    means_R = [
        resample_means(trained - base, images_P, resamples, seed)
        for base, trained in (right_P, other_P)
    ]
    low, high = compute_share_interval(*means_R)
    share = 1 - other.delta / right.delta
    return probe.model_copy(
        update={"needs_image": share, "needs_image_low": low, "needs_image_high": high}
    )


def compute_share_interval(right_R: Values, other_R: Values) -> tuple[float, float]:
    """Of mean gains over the same draws, where fewer than 2.5% of the first are 0 or less."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shares_R = 1 - other_R / right_R
    shares_R = np.where(right_R > 0, shares_R, np.where(other_R > 0, -np.inf, np.inf))
    # Never halfway to an infinite one.
    low = np.quantile(shares_R, TAILS[0], method="higher")
    high = np.quantile(shares_R, TAILS[1], method="lower")
    return float(low), float(high)
