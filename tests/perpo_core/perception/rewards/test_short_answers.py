"""Rewards of short answers: published examples, the official formulas written out, readings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpo_core.perception.rewards.anls import ANLS
from perpo_core.perception.rewards.base import Reward
from perpo_core.perception.rewards.choice_letter import CHOICE_LETTER, parse_letter
from perpo_core.perception.rewards.relaxed_number import RELAXED_NUMBER
from perpo_core.perception.rewards.vqa_accuracy import VQA_ACCURACY, compute_vote
from perpo_core.perception.rewards.vqa_words import WHOLE, normalize_answer
from tests.perpo_core.perception.rewards.aim import compute, get


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("The Coca", 0), ("CocaCola", 0.89), ("Coca cola", 1), ("Cola", 0), ("Cat", 0)],
)
def test_anls_of_the_organisers_examples(answer: str, expected: float) -> None:
    """rrc.cvc.uab.es, tasks of ST-VQA: which soft drink company is named on the red disk?"""
    assert get(ANLS, answer, "Coca Cola", "Coca Cola Company") == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize(
    ("answer", "truth", "threshold", "expected"),
    [
        ("ab", "abcd", 0.5, 0.5),  # exactly the threshold
        ("ab", "abcde", 0.5, 0), ("ab", "abcde", 0, 0.4),
        (" ABCD\n", "abcd", 0.5, 1), ("", "", 0.5, 1), ("", "abcd", 0.5, 0), ("abcd", "", 0.5, 0),
        ("<answer>abcd</answer>", "abcd", 0.5, 1),
    ],
)  # fmt: skip
def test_anls_by_hand(answer: str, truth: str, threshold: float, expected: float) -> None:
    assert get(ANLS, answer, truth, threshold=threshold) == pytest.approx(expected)


@given(st.integers(4, 30).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_a_vote_is_the_mean_over_all_who_are_left_out(people_and_matches: tuple[int, int]) -> None:
    """As the official code counts: one person at a time is left out."""
    num_people, num_matches = people_and_matches
    said = [True] * num_matches + [False] * (num_people - num_matches)
    others = [said[:person] + said[person + 1 :] for person in range(num_people)]
    expected = sum(min(1, sum(rest) / 3) for rest in others) / num_people
    assert compute_vote(num_matches, num_people) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answer", "accepted", "expected"),
    [
        ("yes", ["yes"] * 10, 1),
        ("Yes.", ["yes"] * 3 + ["no"] * 7, 0.9),
        ("yes", ["yes"] * 2 + ["no"] * 8, 0.6),
        ("yes", ["yes"] + ["no"] * 9, 0.3),
        ("maybe", ["yes"] + ["no"] * 9, 0),
        ("two", ["2"] * 4 + ["3"] * 6, 1),
        ("a dog", ["dog"], 1),  # fewer than ten are no votes
        ("cat", ["dog", "cat", "bird"], 1),
        ("fish", ["dog", "cat", "bird"], 0),
        ("", ["dog"], 0),
        ("", [""], 1),
    ],
)
def test_vqa_accuracy(answer: str, accepted: list[str], expected: float) -> None:
    assert get(VQA_ACCURACY, answer, *accepted) == pytest.approx(expected)


def test_five_people_vote_if_asked_to() -> None:
    accepted = ["yes", "yes", "no", "no", "no"]
    assert get(VQA_ACCURACY, "yes", *accepted) == 1
    assert get(VQA_ACCURACY, "yes", *accepted, votes_from=5) == pytest.approx((2 / 3 + 2) / 5)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  red  BUS.", "red bus"), ("two", "2"), ("none", "0"), ("dont", "don't"),
        ("3.5 m", "3.5 m"), ("U.S.A.", "usa"), ("1,000", "1000"),
        ("1,000 t-shirts", "1000 tshirts"),
        ("t-shirt", "t shirt"), ("t- shirt", "t shirt"), ("yes, sir", "yes sir"), ("a", "a"),
        ("what's up?", "what's up"), ("couldnt've", "couldn't've"), ("a\nb", "b"),
        ("it\u2019s", "it's"),
        ("tomato/basil", "tomato basil"), ("black & white", "black & white"), ("\u200bcat", "cat"),
    ],
)  # fmt: skip
def test_answers_are_normalised(text: str, normal: str) -> None:
    assert normalize_answer(text) == normal


def test_contractions_are_those_of_the_official_list() -> None:
    assert len(WHOLE) == 114 and WHOLE["y'alld've"] == "y'all'd've" and WHOLE["twas"] == "'twas"
    assert not {"lets", "hell", "id", "wed", "were", "ill", "shed", "its"} & WHOLE.keys()


def compute_relaxed_correctness(truth: str, answer: str, tolerance: float) -> bool:
    """ChartQA's rule in the words of its paper: within 5% where both are numbers, else exact."""

    def read(text: str) -> float | None:
        try:
            return float(text[:-1]) / 100 if text.endswith("%") else float(text)
        except ValueError:
            return None

    t, p = read(truth), read(answer)
    if p is not None and t:
        return abs(p - t) / abs(t) <= tolerance
    return truth.lower() == answer.lower()


NUMBERS = st.one_of(
    st.integers(1, 200).map(str),
    st.floats(0.01, 50).map(lambda value: f"{value:.2f}"),
    st.integers(1, 99).map(lambda value: f"{value}%"),
    st.sampled_from(["Blue", "blue", "-3", "1e3", "12 kg"]),
)


@given(NUMBERS, NUMBERS, st.sampled_from([0.05, 0.5]))
def test_relaxed_numbers_are_those_of_chartqa(answer: str, truth: str, tolerance: float) -> None:
    expected = compute_relaxed_correctness(truth, answer, tolerance)
    assert get(RELAXED_NUMBER, answer, truth, tolerance=tolerance) == expected


@pytest.mark.parametrize(
    ("answer", "truth", "expected"),
    [
        ("105", "100", 1), ("105.2", "100", 0),
        ("106", "100", 0), ("95", "100", 1), ("-100", "100", 0),
        ("1,234", "1234", 1), ("12%", "0.12", 1), ("12%", "12", 0), ("12 %", "12%", 1),
        ("0.0", "0", 1), ("0.01", "0", 0), ("Blue.", "blue", 1), ("blue", "red", 0),
        ("\uff11\uff10\uff10", "100", 1), ("", "100", 0), ("", "", 1), ("1e999", "100", 0),
        ("the 100", "100", 0),
    ],
)  # fmt: skip
def test_relaxed_numbers_by_hand(answer: str, truth: str, expected: float) -> None:
    assert get(RELAXED_NUMBER, answer, truth) == expected


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"), ("b", "B"), ("(B)", "B"), ("[b]", "B"), ("B.", "B"), ("B) a dog", "B"),
        ("B. A dog and a cat", "B"), ("**B**", "B"), ("B: a dog", "B"), ("B\na dog", "B"),
        ("The answer is B.", "B"), ("Answer: (b)", "B"), ("The correct answer is option C", "C"),
        ("I think the answer is A", "A"), ("Option A is right.", "A"), ("ANSWER: D", "D"),
        (r"So $\boxed{C}$", "C"), (r"\boxed{\text{B}}", "B"), ("It must be (D), not a cat.", "D"),
        ("A dog stands there, so B", "B"), ("I would say D", "D"), ("\uff22", "B"),
        ("<think>A or B?</think>B", "B"), ("<answer>C</answer>", "C"), ("A", "A"), ("A.", "A"),
        ("It is B, since A is a cat: the answer is B", "B"),
    ],
)  # fmt: skip
def test_letters(answer: str, letter: str) -> None:
    assert get(CHOICE_LETTER, answer, letter) == 1
    assert get(CHOICE_LETTER, answer, f"({letter}) whatever") == 1
    assert get(CHOICE_LETTER, answer, "E") == 0


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "the answer is blank"), ("a dog", "no letter"), ("A dog", "no letter"),
        ("A or B", "2 letters in the answer: A, B"), 
        ("The answer is A or the answer is B", "2 letters"),
        ("I see a dog", "no letter"), ("e.g. a dog", "no letter"), ("T-shirt", "no letter"),
    ],
)  # fmt: skip
def test_answers_without_one_letter(answer: str, reason: str) -> None:
    letter, error = parse_letter(answer)
    assert letter is None and error is not None and reason in error
    assert compute(CHOICE_LETTER, answer, "B").error == error


def test_a_truth_that_is_no_letter_is_named() -> None:
    assert (
        compute(CHOICE_LETTER, "B", "a dog").error
        == 'the truth "a dog" is no letter of a choice, such as B'
    )


@pytest.mark.parametrize(
    "reward", [ANLS, VQA_ACCURACY, RELAXED_NUMBER, CHOICE_LETTER], ids=lambda reward: reward.name
)
@given(answer=st.text(max_size=30), truth=st.text(max_size=30))
def test_no_text_breaks_one(reward: Reward, answer: str, truth: str) -> None:
    result = compute(reward, answer, truth)
    assert result.error or 0 <= (result.reward or 0) <= 1
    assert "thoughts" in str(compute(reward, "<think>B", "B").error)
