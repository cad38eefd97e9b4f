"""OCR: 1 - ED / max(len), ED the Levenshtein distance in words.

As edit_similarity, with words instead of characters: one wrong character costs a whole word, so it
tells apart pages that are nearly right. What a word is: perpo_core.perception.rewards.texts.
"""

from __future__ import annotations

from rapidfuzz.distance import Levenshtein

from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target
from perpo_core.perception.rewards.texts import compare_texts, split_words


def compute_edit_similarity_words(text: str, target: Target, reading: Reading) -> RewardResult:
    """Similarity in [0, 1] to target["text"]; of blank texts: compare_texts."""
    return compare_texts(text, target, reading, _compute_similarity)


def _compute_similarity(answer: str, truth: str) -> float:
    return 1 - Levenshtein.normalized_distance(split_words(answer), split_words(truth))


EDIT_SIMILARITY_WORDS = Reward("edit_similarity_words", compute_edit_similarity_words)
