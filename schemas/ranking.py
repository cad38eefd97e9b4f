"""How a policy's log-probabilities rank answers, with the right image and with another one.

Log-probabilities are of whole answers, nats.
"""

from __future__ import annotations

from pydantic import Field

from schemas.artifact import Counts, Parent
from schemas.base import Digest, Frozen, TaskName


class ListScores(Frozen):
    """One list under one image (perpo_core/evidence/ranking/scores.py has the definitions)."""

    pairs_in_order: float
    """Share of the pairs of different rewards whose better answer is the likelier one."""
    tau: float | None
    """Kendall's tau-b; None where all answers are equally likely."""
    ndcg: float | None
    """Gains are rewards; None where one is below 0."""
    margin_nats: float
    """log p(best) - log p(worst)."""
    implicit_margin_nats: float
    """The same less the reference's under the same image: the margin of DPO's implicit reward, over
    beta."""


class ListRanking(Frozen):
    """One list: a test sample's sampled answers."""

    sample_id: str
    image_id: str
    """Of the right image."""
    task: TaskName
    num_answers: int
    right: ListScores
    shuffled: ListScores | None
    """Under another sample's image; None where there was no other."""


class MeanOfLists(Frozen):
    """A mean over lists, with a bootstrap 95% interval over images."""

    mean: float
    low: float
    high: float
    n: int = Field(ge=1)


class RankingScores(Frozen):
    """One task under one image; None where no list has a value."""

    pairs_in_order: MeanOfLists
    tau: MeanOfLists | None
    ndcg: MeanOfLists | None
    margin_nats: MeanOfLists
    implicit_margin_nats: MeanOfLists
    spearman: float | None
    """Rank correlation of an answer's log-probability a token with its reward, over all answers."""
    auc: float | None
    """How often an answer with a reward of at least 1/2 has a higher log-probability a token than
    one below, over all answers."""
    num_answers: int


class TaskRanking(Frozen):
    """One task."""

    right: RankingScores
    shuffled: RankingScores | None
    margin_of_image_nats: MeanOfLists | None
    """implicit_margin_nats with the right image less that with the other, of the same lists: what
    of the policy's preference needs the image (mDPO's view, arXiv 2406.11839)."""


class RankingReport(Frozen):
    """A policy against the reference that sampled the answers."""

    policy_digest: Digest
    reference_digest: Digest
    tasks: dict[TaskName, TaskRanking]
    lists: list[ListRanking]
    """In order of sample_id."""
    counts: Counts
    """Of the test samples that were chosen, those with a list."""
    parents: list[Parent]
    """The log-probabilities: of right and shuffled images, under policy and reference."""
