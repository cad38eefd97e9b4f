"""Accuracy at several IoU, from the IoU of answers; RefCOCO's accuracy is the one at 0.5."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

PERCENTS = (30, 40, 50, 60, 70, 80, 90)


def compute_threshold_values(ious: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """acc_at_30 ... acc_at_90 and mean_iou of every answer; the metric is their mean.

    Of any shape, [P] or [S, P]: 1 where the IoU is at least the threshold and else 0, and the IoU
    itself. An answer without a box has an IoU of 0. Raises ValueError for what is no IoU.
    """
    ious = np.asarray(ious, dtype=np.float64)
    if not ((ious >= 0) & (ious <= 1)).all():
        raise ValueError("an IoU lies between 0 and 1; give the measure of grounding")
    # A decimal over 100 is the float that 0.3 is; multiples of 0.1 are not.
    accuracies = {f"acc_at_{each}": (ious >= each / 100).astype(np.float64) for each in PERCENTS}
    return accuracies | {"mean_iou": ious}
