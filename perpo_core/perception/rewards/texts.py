"""What rewards of texts share: which two texts are compared and how, and what their words are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import regex

from perpo_core.perception.rewards.base import Reading, RewardResult, Target
from perpo_core.perception.rewards.edit_similarity import find_text, normalize_text

# By extension, since the long-vowel mark belongs to two scripts of kana.
LETTER: Final = (
    r"[[\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{scx=Bopo}\p{scx=Yiii}\p{scx=Thai}\p{scx=Laoo}"
    r"\p{scx=Khmr}\p{scx=Mymr}\p{scx=Tibt}]&&\p{L}]"
)
WORD = regex.compile(rf"{LETTER}\p{{M}}*+|[\S--{LETTER}]++", regex.VERSION1)


def compare_texts(
    text: str, target: Target, reading: Reading, measure: Callable[[str, str], float]
) -> RewardResult:
    """`measure` of (answer, truth), both as edit_similarity normalizes them; its result in [0, 1].

    A blank answer is one that says that nothing is written there: 1 where target["text"] is blank
    too, else 0, as is any other answer to a blank truth; `measure` sees neither. Thoughts without
    an end are an error.
    """
    assert target["text"] is not None
    stated, problem = find_text(text, target["text"])
    if stated is None:
        return RewardResult(None, error=problem)
    answer = normalize_text(stated, reading.collapse_whitespace)
    truth = normalize_text(target["text"], reading.collapse_whitespace)
    if not answer or not truth:
        return RewardResult(float(answer == truth), parsed=answer)
    # Floating point may reach a hair beyond 1.
    return RewardResult(min(1.0, max(0.0, measure(answer, truth))), parsed=answer)


def compute_sentence_score(scorer: Any, answer: str, truth: str) -> float:
    """In 0-1 by one of sacrebleu's metrics, whose scores go to 100."""
    return float(scorer.sentence_score(answer, [truth]).score) / 100


def split_words(text: str) -> list[str]:
    """Words by white space; in scripts that write none between them (Han, kana, Thai, Lao, Khmer,
    Burmese, Tibetan, Yi) every letter is one, with the marks on it.

    >>> split_words("Total: 3"), split_words("\\u5408\\u8a08 3")
    (['Total:', '3'], ['\\u5408', '\\u8a08', '3'])
    """
    return text.split() if text.isascii() else WORD.findall(text)
