"""Headroom closed: how far a method goes towards what choosing among answers could reach.

0 is the start's greedy answer, 1 its best of n: a policy that always gave its best of n answers at
once. A ratio of means, and not a mean of ratios, which prompts without headroom would have none of.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from perpo_core.evidence.bootstrap import as_values, check_shapes
from perpo_core.evidence.resampling import check_resamples, find_interval, resample_means
from schemas.evidence_statistics import Headroom


def compute_headroom(
    method_greedy_SP: ArrayLike,
    start_greedy_P: ArrayLike,
    start_best_of_n_P: ArrayLike,
    images_P: ArrayLike,
    resamples: int,
    seed: int,
) -> Headroom | None:
    """Ratio with its 95% interval: gain and room are resampled together, over seeds and images.

    The start has no seeds: its values are [P], those of its best of n the unbiased ones of
    best_of_n.py. None where a resample has no room, since a ratio to what may be nothing has no
    interval. Raises ValueError as compare_methods does.
    """
    check_resamples(resamples)
    method = as_values(method_greedy_SP, "method_greedy")
    start = as_values(np.asarray(start_greedy_P)[None], "start_greedy")
    best = as_values(np.asarray(start_best_of_n_P)[None], "start_best_of_n")
    images = check_shapes(
        {"method_greedy": method, "start_greedy": start, "start_best_of_n": best}, images_P
    )
    gain_SP, room_1P = method - start, best - start
    gain_R, room_R = resample_means([gain_SP, room_1P], images, resamples, seed)
    gain, room = float(gain_SP.mean()), float(room_1P.mean())
    if min(room, room_R.min()) <= 0:
        return None
    low, high = find_interval(gain_R / room_R)
    return Headroom(
        closed=gain / room,
        low=low,
        high=high,
        gain=gain,
        room=room,
        seeds=gain_SP.shape[0],
        prompts=gain_SP.shape[1],
        images=len(set(images.tolist())),
        resamples=resamples,
    )
