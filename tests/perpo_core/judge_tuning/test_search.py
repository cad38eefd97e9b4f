"""The search by itself: what replaces what, what is paraphrased, what is compared."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import pytest

from perpo_core.judge_tuning.fairness import Fairness
from perpo_core.judge_tuning.paraphrases import Paraphrases
from perpo_core.judge_tuning.search import Round, search
from schemas.judge_tuning import JudgeTuning

SETTINGS = JudgeTuning(candidates=3, rounds=3)


def build(first_share: str, consistency: str = "1/2", num_decided: int = 10) -> Fairness:
    return Fairness(Fraction(first_share), Fraction(consistency), num_decided, 0, 0)


class Script:
    """Instructions are named by round and number, and are worth what the script says."""

    def __init__(self, worth: dict[str, Fairness], settings: JudgeTuning = SETTINGS) -> None:
        self._worth, self._settings = worth, settings
        self.sources: list[str] = []
        self.compared: list[list[str]] = []
        self.known: list[list[str]] = []

    def measure(self, instructions: Sequence[str]) -> list[Fairness]:
        self.compared.append(list(instructions))
        return [self._worth.get(each, build("1")) for each in instructions]

    def paraphrase(
        self, source: str, number: int, num_wanted: int, known: Sequence[str]
    ) -> Paraphrases:
        self.sources.append(source)
        self.known.append(list(known))
        return Paraphrases([f"{number}{'abc'[each]}" for each in range(num_wanted)], {})

    def run(self) -> list[Round]:
        return search("first", self._settings, self.measure, self.paraphrase, lambda said: None)


def test_the_first_round_compares_the_instruction_itself_and_later_ones_the_fairest() -> None:
    script = Script({"1b": build("3/4"), "2a": build("1/4")})
    rounds = script.run()
    assert script.compared == [["first", "1a", "1b"], ["2a", "2b", "2c"], ["3a", "3b", "3c"]]
    # 1/4 is as far from a half as 3/4, and only what is fairer replaces.
    assert script.sources == ["first", "1b", "1b"] and rounds[-1].best.instruction == "1b"
    assert script.known[1] == ["first", "1a", "1b"]


def test_a_fairer_one_of_a_later_round_is_taken_and_paraphrased() -> None:
    script = Script({"1a": build("3/4"), "2c": build("9/20"), "3a": build("11/20", "1")})
    rounds = script.run()
    assert script.sources == ["first", "1a", "2c"]
    assert rounds[-1].best.instruction == "3a", "of equally fair ones the more consistent"


def test_the_first_of_equals_stays() -> None:
    rounds = Script({name: build("1/2", "1") for name in ("1a", "1b", "2a")}).run()
    assert rounds[-1].best.instruction == "1a"


def test_what_decides_too_little_is_never_taken() -> None:
    rounds = Script({"1a": build("1/2", "1", num_decided=4), "2a": build("1/2", "1", 5)}).run()
    assert rounds[0].best.instruction == "first" and rounds[-1].best.instruction == "2a"


def test_an_instruction_that_decides_nothing_gives_way_to_any_that_does() -> None:
    nothing = Fairness(None, None, 0, 0, 10, "no verdict")
    assert Script({"first": nothing}).run()[0].best.instruction == "1a"
    with pytest.raises(ValueError, match="preferred no answer in 10 comparisons"):
        Script(dict.fromkeys(["first", "1a", "1b"], nothing)).run()


def test_one_candidate_and_one_round_measure_what_there_is() -> None:
    script = Script({}, JudgeTuning(candidates=1, rounds=1))
    assert script.run()[-1].best.instruction == "first" and script.compared == [["first"]]
