"""OCR, captions: chrF of one answer (Popovic, WMT 2015), as sacrebleu's sentence_chrf.

F2 of the n-grams of 1 to 6 characters, white space left out: recall counts twice as much as
precision. With `word_order = 2` it is chrF++ (Popovic, WMT 2017).
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from pydantic import Field

from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target
from perpo_core.perception.rewards.texts import compare_texts, compute_sentence_score
from schemas.base import Section


class ChrfOptions(Section):
    """Of the reward chrf."""

    char_order: int = Field(default=6, ge=1, le=20)
    """Longest n-grams of characters."""
    word_order: int = Field(default=0, ge=0, le=4)
    """Longest n-grams of words; 0: none, 2: chrF++."""
    lowercase: bool = False
    """Compare without case."""


def compute_chrf(text: str, target: Target, reading: Reading, options: ChrfOptions) -> RewardResult:
    """chrF / 100 in [0, 1]; of blank texts: compare_texts."""
    scorer = _build_scorer(options.char_order, options.word_order, options.lowercase)
    return compare_texts(text, target, reading, partial(compute_sentence_score, scorer))


@cache
def _build_scorer(char_order: int, word_order: int, lowercase: bool) -> Any:
    from sacrebleu.metrics.chrf import CHRF as Scorer  # slow to import, and for this reward only

    return Scorer(char_order=char_order, word_order=word_order, lowercase=lowercase)


CHRF = Reward("chrf", compute_chrf, options=ChrfOptions)
