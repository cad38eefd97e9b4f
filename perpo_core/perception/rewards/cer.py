"""OCR: 1 - character error rate, floored at 0.

CER = ED / len(truth), ED the Levenshtein distance in characters (Morris et al., Interspeech 2004,
call it the word error rate's twin). It is divided by the truth's length alone, so that it passes 1
for an answer that says much more than is there; the reward is 0 from there on.
"""

from __future__ import annotations

from rapidfuzz.distance import Levenshtein

from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target
from perpo_core.perception.rewards.texts import compare_texts


def compute_cer_reward(text: str, target: Target, reading: Reading) -> RewardResult:
    """max(0, 1 - CER) in [0, 1]; CER is undefined of a blank truth, and compare_texts says what
    counts there."""
    return compare_texts(text, target, reading, _compute_accuracy)


def _compute_accuracy(answer: str, truth: str) -> float:
    return 1 - Levenshtein.distance(answer, truth) / len(truth)


CER = Reward("cer", compute_cer_reward)
