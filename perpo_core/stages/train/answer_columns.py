"""Numbers of a list's answers that some settings ask for, beside log-probabilities and rewards.

Each follows from the list and from what does not change while it is trained on, never from the
batch, so that a list has the same loss in whatever company.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perpo_core.stages.train.closeness import build_closeness
from perpo_core.stages.train.data import AnswerColumn, RankedLists
from perpo_core.stages.train.objectives.base import Need
from perpo_core.stages.train.objectives.combine import find_needs
from perpo_core.stages.train.popularity import Popularity
from perpo_core.stages.train.smoothing import load_smoothing
from schemas.run import TrainJob


def read_sampler_logps(row: dict[str, Any]) -> list[float]:
    """Of a list's answers under the policy that sampled them, nats, as it reported them."""
    return [response["logp"] for response in row["responses"]]


BUILD: dict[Need, tuple[str, Callable[[TrainJob, RankedLists], AnswerColumn]]] = {
    "closeness": ("closeness_PG", lambda job, lists: build_closeness(job)),
    "popularity": ("popularity_PG", lambda job, lists: Popularity(lists.iterate_texts())),
    "smoothing": ("smoothing_PG", lambda job, lists: load_smoothing(job)),
    "sampler": ("sampler_logps_PG", lambda job, lists: read_sampler_logps),
}
"""What a loss may need -> the field of ListBatch that holds it, and how that is computed."""


def build_columns(job: TrainJob, lists: RankedLists) -> dict[str, AnswerColumn]:
    """Those that the objective and its settings ask for, by their field of ListBatch."""
    needs = find_needs(job.config.train)
    return {field: build(job, lists) for need, (field, build) in BUILD.items() if need in needs}
