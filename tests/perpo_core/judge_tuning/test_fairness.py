"""Fairness: numbers by hand, a slow reference from the formula, what it does not change with."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpo_core.judge_tuning.agreement import compute_agreed
from perpo_core.judge_tuning.fairness import Choice, Fairness, compute_fairness
from perpo_core.stages.outside.verdicts import Verdict

FIRST, SECOND, TIE, UNREAD = 1.0, 0.0, 0.5, None
Said = tuple[str, float | None, float | None]
"""Document, and what the answer shown first got, as the pair stands and turned round."""

saids = st.lists(
    st.tuples(st.sampled_from("abc"), *[st.sampled_from([FIRST, SECOND, TIE, UNREAD])] * 2),
    max_size=30,
)


def build(said: list[Said]) -> list[Choice]:
    return [
        Choice(document, (f"{number}a", f"{number}b"), _verdict(forth), _verdict(back))
        for number, (document, forth, back) in enumerate(said)
    ]


def _verdict(value: float | None) -> Verdict:
    return Verdict(value) if value is not None else Verdict(None, "no verdict")


def fairness_of(*said: Said) -> Fairness:
    return compute_fairness(build(list(said)))


def slow_first_share(said: list[Said]) -> float | None:
    """P(first) as the paper's code has it: a rate a document, their mean, ties left out."""
    rates = []
    for document in sorted({name for name, _, _ in said}):
        values = [v for name, *both in said if name == document for v in both]
        num_first, num_second = values.count(1.0), values.count(0.0)
        if num_first + num_second > 0:
            rates.append(num_first / (num_first + num_second))
    return sum(rates) / len(rates) if rates else None


def test_the_numbers_by_hand() -> None:
    found = fairness_of(("x", FIRST, FIRST), ("x", FIRST, SECOND), ("y", FIRST, FIRST))
    assert found.first_share == Fraction(7, 8)
    assert found.fairness == Fraction(-3, 8)
    assert found.consistency == Fraction(1, 3)
    assert (found.num_decided, found.num_tied, found.num_unread) == (6, 0, 0)


def test_always_first_is_minus_a_half_and_symmetric_is_0() -> None:
    assert fairness_of(*[("x", FIRST, FIRST)] * 5).fairness == Fraction(-1, 2)
    assert fairness_of(*[("x", SECOND, SECOND)] * 5).fairness == Fraction(-1, 2)
    consistent = fairness_of(*[("x", FIRST, SECOND), ("y", SECOND, FIRST)] * 5)
    assert consistent.fairness == 0 and consistent.consistency == 1
    coin = fairness_of(("x", FIRST, FIRST), ("x", SECOND, SECOND))
    assert coin.fairness == 0 and coin.consistency == 0 and coin.rank < consistent.rank


def test_where_nothing_is_decided_there_is_no_fairness() -> None:
    for said in ([], [("x", TIE, TIE)], [("x", UNREAD, TIE)]):
        found = fairness_of(*said)
        assert found.first_share is None and found.fairness is None and found.consistency is None
        assert not found.is_of_use(found)
    assert fairness_of(("x", UNREAD, TIE)).first_error == "no verdict"


def test_a_judge_that_decides_less_than_half_as_much_is_of_no_use() -> None:
    first = fairness_of(*[("x", FIRST, FIRST)] * 4)
    half = fairness_of(*[("x", FIRST, TIE)] * 4)
    less = fairness_of(*[("x", FIRST, TIE)] * 3, ("x", TIE, UNREAD))
    assert half.is_of_use(first) and not less.is_of_use(first) and first.is_of_use(less)


def test_documents_count_alike_whatever_their_pairs() -> None:
    found = fairness_of(*[("x", FIRST, FIRST)] * 9, ("y", SECOND, SECOND))
    assert found.first_share == Fraction(1, 2) and found.fairness == 0


@given(saids)
def test_it_is_the_formulas(said: list[Said]) -> None:
    found, slow = compute_fairness(build(said)), slow_first_share(said)
    if slow is None:
        assert found.first_share is None and found.fairness is None
        return
    assert found.first_share is not None and found.fairness is not None
    assert float(found.first_share) == pytest.approx(slow, abs=1e-12)
    assert float(found.fairness) == pytest.approx(-abs(slow - 0.5), abs=1e-12)
    assert -0.5 <= found.fairness <= 0
    assert found.num_decided + found.num_tied + found.num_unread == 2 * len(said)


@given(saids, st.randoms())
def test_it_changes_with_no_order_and_no_names(said: list[Said], rng) -> None:
    """Rows shuffled, every pair turned round, places exchanged, documents renamed."""
    found = compute_fairness(build(said))
    shuffled = rng.sample(said, len(said))
    renamed = [("cab"["abc".index(name)], back, forth) for name, forth, back in shuffled]
    again = compute_fairness(build(renamed))
    assert (again.first_share, again.consistency) == (found.first_share, found.consistency)
    swapped = [(name, exchange(forth), exchange(back)) for name, forth, back in said]
    other = compute_fairness(build(swapped))
    assert (other.fairness, other.consistency) == (found.fairness, found.consistency)


def exchange(value: float | None) -> float | None:
    return None if value is None else 1 - value


@given(saids)
def test_in_a_document_pairs_that_one_answer_wins_pull_to_the_middle(said: list[Said]) -> None:
    alone: list[Said] = [("a", forth, back) for _, forth, back in said]
    before = compute_fairness(build(alone)).fairness
    after = compute_fairness(build([*alone, ("a", 1.0, 0.0)])).fairness
    assert after is not None and (before is None or after >= before)


def test_agreement_by_hand() -> None:
    """Shares of both ways round: 1, 3/4 (a win and a tie), 1/2, 1/4, 0."""
    table = {1.0: 1.0, 0.75: 1.0, 0.5: 0.5, 0.25: 0.0, 0.0: 0.0}
    for (share, agreed), is_first in product(table.items(), (True, False)):
        assert compute_agreed(share, is_first) == (agreed if is_first else 1 - agreed)
    [choice] = build([("x", FIRST, TIE)])
    assert choice.share == 0.75
    assert build([("x", FIRST, UNREAD)])[0].share is None
    assert build([("x", FIRST, FIRST)])[0].share == 0.5
