"""Likelihood displacement: the best answers become less likely than under the reference.

A preference loss sees only differences. It can widen a margin by making the best answer less likely
and the worst one much less so, and the probability goes to answers nobody ranked (arXiv 2410.08847
describes it for DPO). Margins and accuracies look well meanwhile; `logps/chosen_change` shows it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import groupby
from statistics import fmean

from schemas.artifact import TrainPoint

METRIC = "logps/chosen_change"


def compute_chosen_change(points: Sequence[TrainPoint]) -> float | None:
    """Mean log-ratio of the best answers over the points, nats; None where none was measured."""
    changes = [point.metrics[METRIC] for point in points if METRIC in point.metrics]
    return fmean(changes) if changes else None


def describe_displacement(points: Sequence[TrainPoint], limit_nats: float) -> str | None:
    """A warning if, over these points, the best answers fell by more than `limit_nats`.

    `points` are the training steps since the last reading of the reward: single steps are a few
    lists each and scatter.
    """
    change = compute_chosen_change(points)
    if change is None or change >= -limit_nats:
        return None
    return (
        f"step {points[-1].step}: the best answers are {-change:.1f} nats less likely than at the "
        "start (likelihood displacement); raise train.beta or add train.nll_weight or "
        "train.anchor_weight"
    )


def find_displacement(
    history: Sequence[TrainPoint], reading_steps: Iterable[int], limit_nats: float
) -> str | None:
    """The warning of a finished training: of its intervals between readings, the worst one's."""
    spans = split_at_steps(history, reading_steps)
    measured = [span for span in spans if compute_chosen_change(span) is not None]
    worst = min(measured, key=lambda span: compute_chosen_change(span) or 0.0, default=[])
    return describe_displacement(worst, limit_nats)


def split_at_steps(
    history: Sequence[TrainPoint], reading_steps: Iterable[int]
) -> list[list[TrainPoint]]:
    """The points up to each reading, that step included, and what follows the last; none empty."""
    ends = sorted(reading_steps)
    spans = groupby(history, lambda point: bisect_left(ends, point.step))
    return [list(span) for _, span in spans]
