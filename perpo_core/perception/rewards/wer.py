"""OCR: 1 - word error rate, floored at 0.

WER = ED / words of the truth, ED the Levenshtein distance in words, as jiwer computes it. Case and
punctuation count. What a word is: perpo_core.perception.rewards.texts.
"""

from __future__ import annotations

from rapidfuzz.distance import Levenshtein

from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target
from perpo_core.perception.rewards.texts import compare_texts, split_words


def compute_wer_reward(text: str, target: Target, reading: Reading) -> RewardResult:
    """max(0, 1 - WER) in [0, 1]; WER is undefined of a blank truth, and compare_texts says what
    counts there."""
    return compare_texts(text, target, reading, _compute_accuracy)


def _compute_accuracy(answer: str, truth: str) -> float:
    words = split_words(truth)
    return 1 - Levenshtein.distance(split_words(answer), words) / len(words)


WER = Reward("wer", compute_wer_reward)
