"""How often a judge prefers the answer that the rewards known without it prefer.

Those are IoU, edit distance and their like: what [score] says of the task without rewards from
outside, or the task's own measure where nothing is left. They choose no instruction; they show what
fairness was worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perpo_core.judge_tuning.documents import Document
from perpo_core.judge_tuning.fairness import Choice
from perpo_core.perception.judging import Judge, get_choice, without_outside
from perpo_core.perception.mixtures import build_mixture
from perpo_core.stages.evaluate.statistics import compare_paired
from perpo_core.stages.outside.order import Pair
from schemas.artifact import Metric
from schemas.base import TaskName
from schemas.config import RefreshConfig, ScoreConfig

RESAMPLES = 2000  # of the bootstrap over images, as evaluate.bootstrap_resamples by default


@dataclass(frozen=True)
class Agreement:
    """Before and after, over the same pairs."""

    change: Metric | None
    """None where no pair is left."""
    num_equal: int
    """Pairs of the same known reward."""
    num_unread: int
    """Pairs in which a comparison, before or after, had no verdict."""


def describe_known(score: ScoreConfig, task: TaskName) -> str:
    """The rewards of a task that are known without a judge, such as "iou" or "iou + format"."""
    parts = build_mixture(get_choice(without_outside(score), task)).parts
    return " + ".join(part.reward.name for part in parts)


def compute_known(
    config: RefreshConfig, documents: Sequence[Document]
) -> dict[tuple[str, str], float]:
    """(sample_id, text) of every answer -> its known reward.

    An answer that cannot be read counts as on_unparsed = "zero" has it.
    """
    judge = Judge(without_outside(config.score), config.policy.box_format)
    names = [(each.sample_id, text) for each in documents for text in each.items]
    items = [each.items[text] for each in documents for text in each.items]
    values = [judgement.value for judgement in judge.judge_many(items)]
    return dict(zip(names, values, strict=True))


def compare_agreement(
    documents: Sequence[Document],
    before: Sequence[Choice],
    after: Sequence[Choice],
    known: dict[tuple[str, str], float],
    seed: int,
) -> Agreement:
    """Over pairs that the known reward tells apart, with a 95% interval of the change."""
    images = {document.sample_id: document.image_id for document in documents}
    rows, num_equal, num_unread = [], 0, 0
    for old, new in zip(before, after, strict=True):
        assert (old.document, old.pair) == (new.document, new.pair)
        is_first = compare_known(old.document, old.pair, known)
        if is_first is None:
            num_equal += 1
        elif old.share is None or new.share is None:
            num_unread += 1
        else:
            agreed = (compute_agreed(share, is_first) for share in (old.share, new.share))
            rows.append((*agreed, images[old.document]))
    if not rows:
        return Agreement(None, num_equal, num_unread)
    olds, news, images_P = zip(*rows, strict=True)
    return Agreement(compare_paired(olds, news, images_P, RESAMPLES, seed), num_equal, num_unread)


def compare_known(document: str, pair: Pair, known: dict[tuple[str, str], float]) -> bool | None:
    """Whether the first of a pair has the higher known reward; None where they are equal."""
    first, second = (known[document, text] for text in pair)
    return None if first == second else first > second


def compute_agreed(share: float, is_first: bool) -> float:
    """1 where the judge prefers the better answer of both ways round, a half where none, else 0.

    >>> compute_agreed(0.75, is_first=True), compute_agreed(0.5, True), compute_agreed(1.0, False)
    (1.0, 0.5, 0.0)
    """
    if share == 0.5:
        return 0.5
    return float((share > 0.5) == is_first)
