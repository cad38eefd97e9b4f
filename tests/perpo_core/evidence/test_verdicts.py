"""The sentences of a comparison: they say of each pair what its interval says, and each once."""

from __future__ import annotations

from collections.abc import Callable

from perpo_core.evidence.verdicts import describe_result
from schemas.compare_config import START
from schemas.comparison import ComparisonReport, Pair
from tests.perpo_core.evidence.comparisons import build_report


def describe(report: ComparisonReport, is_clear: Callable[[Pair], bool]) -> list[str]:
    """With these pairs told apart, and no others."""
    pairs = [pair.model_copy(update={"is_clear": is_clear(pair)}) for pair in report.pairs]
    return list(describe_result(report.model_copy(update={"pairs": pairs})))


def test_pairs_that_are_not_told_apart_stand_once_under_the_first_of_the_two() -> None:
    report = build_report(4)
    first, second, third, last = [method.label for method in report.methods]
    said = describe(report, lambda pair: report.methods[-1].name in (pair.better, pair.worse))
    assert f"Not told apart: {first} from {second} and {third}; {second} from {third}." in said
    assert f"{last} is above {first}, {second} and {third}." in said


def test_one_short_sentence_where_no_method_is_told_from_another() -> None:
    said = describe(build_report(4), lambda pair: START in (pair.better, pair.worse))
    assert "No two of the methods are told apart." in said
    assert not [sentence for sentence in said if "Not told apart" in sentence]


def test_where_less_is_better_nobody_is_called_above_and_nothing_was_chosen_without_a_sweep() -> (
    None
):
    report = build_report(3, judge_by="ocr.edit_distance", seeds=1)
    methods = [method.model_copy(update={"sweep": []}) for method in report.methods]
    said = " ".join(describe(report.model_copy(update={"methods": methods}), lambda _: True))
    assert "etter than the start in OCR edit distance" in said or "orse than the start" in said
    assert (
        " is better than " in said and "above" not in said.lower() and "below" not in said.lower()
    )
    assert "chosen" not in said and "under 1 seed; p-values" in said


def test_two_methods_are_named_and_one_has_nothing_to_be_told_from() -> None:
    report = build_report(2)
    first, second = [method.label for method in report.methods]
    assert f"Not told apart: {first} from {second}." in describe(report, lambda _: False)
    alone = describe(build_report(1), lambda _: False)
    assert not [sentence for sentence in alone if "told apart" in sentence]
