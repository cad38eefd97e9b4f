"""OCR, captions: METEOR (Lavie and Agarwal, WMT 2007), by nltk, without synonyms.

F of the words that are alike, in letters without case or in their stems (Porter's), recall weighed
9:1, less a penalty for words out of order: 0.5 * (chunks / matches)^3. A text of n words has
1 - 0.5 / n^3 against itself, so 1 is never reached, and 0.5 is the best of a single word.

Left out: synonyms, which need WordNet; no package that is kept holds its files. Fox, and so the
tables of PerPO, have them: of an OCR page they hardly matter, since a synonym is another word.
"""

from __future__ import annotations

from typing import Any

from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target
from perpo_core.perception.rewards.texts import compare_texts, split_words


class NoSynonyms:
    """A WordNet in which no word has a synonym."""

    def synsets(self, word: str) -> list[Any]:
        """None."""
        del word
        return []


def compute_meteor(text: str, target: Target, reading: Reading) -> RewardResult:
    """METEOR in [0, 1]; of blank texts: compare_texts."""
    return compare_texts(text, target, reading, _compute_score)


def _compute_score(answer: str, truth: str) -> float:
    from nltk.translate.meteor_score import single_meteor_score  # takes seconds to import

    words, stated = split_words(truth), split_words(answer)
    return float(single_meteor_score(words, stated, wordnet=NoSynonyms()))


METEOR = Reward("meteor", compute_meteor)
