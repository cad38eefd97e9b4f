"""Short answers about documents: ANLS, as DocVQA measures (arXiv 2007.00398; Biten et al. 2019).

The normalised Levenshtein similarity 1 - ED / max(len), without case and outer space, against the
accepted answer that is closest; 0 below the threshold, so that a slip of reading costs a little and
another answer everything. A similarity of exactly the threshold counts, as in the organisers' code;
their formula says otherwise.
"""

from __future__ import annotations

from pydantic import Field
from rapidfuzz.distance import Levenshtein

from perpo_core.perception.find_answer import find_answer
from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target
from perpo_core.perception.rewards.edit_similarity import normalize_text
from schemas.base import Section


class AnlsOptions(Section):
    """Of the reward anls."""

    threshold: float = Field(default=0.5, ge=0, le=1)
    """Similarities below it count as 0; at 0 every letter that is right helps, which trains sooner
    than it measures."""


def compute_anls(text: str, target: Target, reading: Reading, options: AnlsOptions) -> RewardResult:
    """0, or a similarity from the threshold to 1.

    A blank answer has 0, and 1 where the truth is blank too.
    """
    assert target["text"] is not None
    stated, problem = find_answer(text)
    if stated is None:
        return RewardResult(None, error=problem)
    answer = normalize_text(stated, reading.collapse_whitespace).strip()
    truth = normalize_text(target["text"], reading.collapse_whitespace).strip()
    similarity = 1 - Levenshtein.normalized_distance(answer.lower(), truth.lower())
    return RewardResult(similarity if similarity >= options.threshold else 0.0, parsed=answer)


ANLS = Reward("anls", compute_anls, options=AnlsOptions)
