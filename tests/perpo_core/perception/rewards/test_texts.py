"""Rewards of texts: jiwer, sacrebleu and nltk on random texts, values by hand, blank texts."""

from __future__ import annotations

import jiwer
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.metrics import f_measure
from nltk.translate.meteor_score import single_meteor_score

from perpo_core.perception.rewards.base import Reward
from perpo_core.perception.rewards.bleu import BLEU
from perpo_core.perception.rewards.cer import CER
from perpo_core.perception.rewards.chrf import CHRF
from perpo_core.perception.rewards.edit_similarity_words import EDIT_SIMILARITY_WORDS
from perpo_core.perception.rewards.meteor import METEOR, NoSynonyms
from perpo_core.perception.rewards.texts import split_words
from perpo_core.perception.rewards.wer import WER
from perpo_core.perception.rewards.word_f1 import WORD_F1
from tests.perpo_core.perception.rewards.aim import compute, get

OF_TEXTS = (EDIT_SIMILARITY_WORDS, CER, WER, WORD_F1, BLEU, CHRF, METEOR)
WORDS = st.lists(
    st.sampled_from(
        ["total", "Total", "totals", "3.50", "EUR", "the", "page", "of", "a,", "\u00e9t\u00e9"]
    ),
    min_size=1, max_size=9,
).map(" ".join)  # fmt: skip


@given(WORDS, WORDS)
def test_error_rates_are_those_of_jiwer(answer: str, truth: str) -> None:
    assert get(CER, answer, truth) == pytest.approx(max(0, 1 - jiwer.cer(truth, answer)))
    assert get(WER, answer, truth) == pytest.approx(max(0, 1 - jiwer.wer(truth, answer)))


@given(WORDS, WORDS)
def test_word_f1_is_what_fox_computes(answer: str, truth: str) -> None:
    expected = f_measure(set(truth.split()), set(answer.split()))
    assert get(WORD_F1, answer, truth) == pytest.approx(expected)


@given(WORDS, WORDS, st.sampled_from(["13a", "intl", "char", "zh", "none"]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_bleu_is_that_of_sacrebleu(answer: str, truth: str, tokenize: str, lower: bool) -> None:
    expected = sacrebleu.sentence_bleu(answer, [truth], tokenize=tokenize, lowercase=lower).score
    reward = get(BLEU, answer, truth, tokenize=tokenize, lowercase=lower)
    assert reward == pytest.approx(expected / 100)


@given(WORDS, WORDS, st.integers(0, 2))
@settings(max_examples=40, deadline=None)
def test_chrf_is_that_of_sacrebleu(answer: str, truth: str, word_order: int) -> None:
    expected = sacrebleu.sentence_chrf(answer, [truth], word_order=word_order).score
    assert get(CHRF, answer, truth, word_order=word_order) == pytest.approx(expected / 100)


@given(WORDS, WORDS)
@settings(max_examples=40, deadline=None)
def test_meteor_is_that_of_nltk(answer: str, truth: str) -> None:
    expected = single_meteor_score(truth.split(), answer.split(), wordnet=NoSynonyms())
    assert get(METEOR, answer, truth) == pytest.approx(expected)


def test_meteor_of_its_example_without_synonyms() -> None:
    """The pair in nltk's docstring; there WordNet finds nothing more."""
    answer = (
        "It is a guide to action which ensures that the military always obeys the commands of "
        "the party"
    )
    truth = (
        "It is a guide to action that ensures that the military will forever heed Party commands"
    )
    assert get(METEOR, answer, truth) == pytest.approx(0.6944, abs=5e-5)


@pytest.mark.parametrize(
    ("reward", "expected"),
    [
        (EDIT_SIMILARITY_WORDS, 1 - 2 / 4),  # one word is wrong and one too many
        (CER, 1 - 7 / 11),  # "a" to "o" and " beans"
        (WER, 1 - 2 / 3),
        (WORD_F1, 2 * 2 / (4 + 3)),
    ],
)
def test_by_hand(reward: Reward, expected: float) -> None:
    assert get(reward, "one cot had beans", "one cat had") == pytest.approx(expected)


@pytest.mark.parametrize("reward", OF_TEXTS, ids=lambda reward: reward.name)
@pytest.mark.parametrize(
    ("answer", "truth", "expected"),
    [("", "", 1), ("  \u200b", "", 1), ("a page", "", 0), ("", "a page", 0)],
)
def test_blank_texts(reward: Reward, answer: str, truth: str, expected: float) -> None:
    assert get(reward, answer, truth) == expected


@pytest.mark.parametrize("reward", OF_TEXTS, ids=lambda reward: reward.name)
def test_what_holds_of_all(reward: Reward) -> None:
    truth = "the quick brown fox jumps over the lazy dog"
    assert get(reward, truth, truth) == pytest.approx(1, abs=1e-3)  # METEOR stays below
    assert get(reward, f"<think>fox?</think>{truth}", truth) == get(reward, truth, truth)
    assert get(reward, truth, "a cat", truth) == get(reward, truth, truth)
    assert get(reward, "zzz " * 99, truth) == pytest.approx(0, abs=0.01)
    assert "thoughts" in str(compute(reward, "<think>the quick", truth).error)


@pytest.mark.parametrize("reward", OF_TEXTS, ids=lambda reward: reward.name)
@given(answer=st.text(max_size=30), truth=st.text(max_size=30))
@settings(max_examples=60, deadline=None)
def test_no_text_breaks_one(reward: Reward, answer: str, truth: str) -> None:
    result = compute(reward, answer, truth)
    assert result.error or 0 <= (result.reward or 0) <= 1


@given(st.text(alphabet="ab\u00e9 \u0301\n.", max_size=20))
def test_words_are_parted_by_white_space(text: str) -> None:
    assert split_words(text) == text.split()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\u5408\u8a08: 35 \u5186", ["\u5408", "\u8a08", ":", "35", "\u5186"]),
        # Thai, with marks
        ("\u0e17\u0e35\u0e48\u0e19\u0e35\u0e48", ["\u0e17\u0e35\u0e48", "\u0e19\u0e35\u0e48"]),
        ("\ud569\uacc4 3\uc6d0", ["\ud569\uacc4", "3\uc6d0"]),  # Korean has spaces
    ],
)  # fmt: skip
def test_letters_are_words_where_no_space_is_written(text: str, words: list[str]) -> None:
    assert split_words(text) == words
