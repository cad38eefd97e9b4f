"""The search itself: round by round, paraphrases of the fairest instruction so far.

ZEPO (arXiv 2406.11370; zepo.py, zepo [CODE]): the first round compares the instruction itself and
candidates - 1 paraphrases of it, every later one paraphrases of the fairest so far, which only a
strictly fairer one replaces. Ours: among equally fair ones the more consistent is better, and one
under which the judge decides too little is never taken (fairness.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from perpo_core.judge_tuning.fairness import Fairness
from perpo_core.judge_tuning.paraphrases import Paraphrases
from schemas.judge_tuning import JudgeTuning

Measure = Callable[[Sequence[str]], list[Fairness]]
"""Of the judge's choices under each of some instructions."""
Paraphrase = Callable[[str, int, int, Sequence[str]], Paraphrases]
"""Of an instruction, the round from 1, how many, and the instructions known by now."""


@dataclass(frozen=True)
class Tried:
    """An instruction that was compared."""

    instruction: str
    fairness: Fairness


@dataclass(frozen=True)
class Round:
    """What one round found."""

    tried: list[Tried]
    dropped: dict[str, int]
    best: Tried
    """So far."""


def search(
    first: str,
    settings: JudgeTuning,
    measure: Measure,
    paraphrase: Paraphrase,
    log: Callable[[str], None],
) -> list[Round]:
    """All rounds; the last one's best is what was looked for.

    Raises ValueError where the judge decides nothing in the first round.
    """
    rounds: list[Round] = []
    known: list[str] = []
    for number in range(1, settings.rounds + 1):
        source, own = (rounds[-1].best.instruction, []) if rounds else (first, [first])
        made = paraphrase(source, number, settings.candidates - len(own), [*known, *own])
        instructions = [*own, *made.instructions]
        measured = measure(instructions)
        tried = [Tried(*pair) for pair in zip(instructions, measured, strict=True)]
        if not rounds:
            require_decided(tried)
        so_far = rounds[-1].best if rounds else tried[0]
        of_first = rounds[0].tried[0] if rounds else tried[0]
        rounds.append(Round(tried, made.dropped, choose(so_far, tried, of_first)))
        known += instructions
        log(f"round {number} of {settings.rounds}: {describe_best(rounds[-1])}")
    return rounds


def choose(best: Tried, tried: Sequence[Tried], first: Tried) -> Tried:
    """The best of all; only what is better replaces what was there before."""
    for each in tried:
        if each.fairness.is_of_use(first.fairness) and each.fairness.rank > best.fairness.rank:
            best = each
    return best


def describe_best(found: Round) -> str:
    """Such as "5 instructions compared, fairness -0.0250 so far"."""
    fairness = found.best.fairness.fairness
    said = "no fairness" if fairness is None else f"fairness {float(fairness):.4f}"
    dropped = sum(found.dropped.values())
    return f"{len(found.tried)} instructions compared, {dropped} dropped; {said} so far"


def require_decided(tried: Sequence[Tried]) -> None:
    """Raise ValueError where the judge preferred no answer under any of the instructions."""
    if any(each.fairness.num_decided for each in tried):
        return
    fairness = tried[0].fairness
    raise ValueError(
        f"the judge preferred no answer in {fairness.num_tied + fairness.num_unread} comparisons, "
        "neither under its instruction nor under paraphrases, so that there is no fairness to "
        f"improve: {fairness.first_error or 'all are ties'}; correct the instruction or the "
        "judge's options"
    )
