"""OCR, captions: BLEU of one answer (Papineni et al., ACL 2002), as sacrebleu's sentence_bleu.

The geometric mean of the precisions of n-grams of 1 to 4 words, with the brevity penalty. BLEU is a
measure of corpora; of one short text most precisions are 0, so they are smoothed (`exp`, Chen and
Cherry 2014, method 3) and orders longer than the text are left out. Fox, and so the tables of
PerPO, use nltk's unsmoothed one, which is nearly 0 of any text without four right words in a row.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any, Literal

from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target
from perpo_core.perception.rewards.texts import compare_texts, compute_sentence_score
from schemas.base import Section


class BleuOptions(Section):
    """Of the reward bleu."""

    tokenize: Literal["13a", "intl", "zh", "char", "none"] = "13a"
    """sacrebleu's way to cut a text into words: 13a for languages with spaces, intl where Unicode's
    punctuation matters, zh for Chinese, char for others without spaces, none for texts that are
    cut already."""
    lowercase: bool = False
    """Compare without case."""


def compute_bleu(text: str, target: Target, reading: Reading, options: BleuOptions) -> RewardResult:
    """BLEU / 100 in [0, 1]; of blank texts: compare_texts."""
    scorer = _build_scorer(options.tokenize, options.lowercase)
    return compare_texts(text, target, reading, partial(compute_sentence_score, scorer))


@cache
def _build_scorer(tokenize: str, lowercase: bool) -> Any:
    from sacrebleu.metrics.bleu import BLEU as Scorer  # slow to import, and for this reward only

    return Scorer(tokenize=tokenize, lowercase=lowercase, effective_order=True)


BLEU = Reward("bleu", compute_bleu, options=BleuOptions)
