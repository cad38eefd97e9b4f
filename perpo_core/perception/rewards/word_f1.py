"""OCR: F1 of the words of a page, as Fox evaluates dense OCR (arXiv 2405.14295, eval_ocr_test.py).

Fox compares sets: 2 |A & T| / (|A| + |T|), A the different words of the answer and T those of the
truth, whatever their order and number. Case and punctuation count.

Left out: jieba, by which Fox cuts Chinese into words; here every letter of Han is one
(perpo_core.perception.rewards.texts).
"""

from __future__ import annotations

from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target
from perpo_core.perception.rewards.texts import compare_texts, split_words


def compute_word_f1(text: str, target: Target, reading: Reading) -> RewardResult:
    """F1 in [0, 1]; undefined where a text has no words, and compare_texts says what counts."""
    return compare_texts(text, target, reading, _compute_f1)


def _compute_f1(answer: str, truth: str) -> float:
    stated, true = set(split_words(answer)), set(split_words(truth))
    return 2 * len(stated & true) / (len(stated) + len(true))


WORD_F1 = Reward("word_f1", compute_word_f1)
