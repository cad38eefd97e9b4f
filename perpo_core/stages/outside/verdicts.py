"""What a judge's reply says: the last "Score: N" or "Better: A | B | tie" in it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from perpo_core.perception.rewards import Fault, RewardResult
from perpo_core.perception.rewards.outside import JudgeOptions
from perpo_core.stages.outside.server import Reply

SCORE = re.compile(r"score\W{0,5}?(-?\d+(?:\.\d+)?)", re.IGNORECASE)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
BETTER = re.compile(r"better\W{0,5}(a|b|tie)\b", re.IGNORECASE)
ALONE = re.compile(r"\W*(a|b|tie)\W*", re.IGNORECASE)
SHARES = {"a": 1.0, "tie": 0.5, "b": 0.0}
SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Verdict:
    """What the answer shown first gets of a comparison, or why there is none."""

    value: float | None
    error: str | None = None
    fault: Fault = "reward"


def read_score(reply: Reply, options: JudgeOptions) -> RewardResult:
    """(N - lowest) / (highest - lowest), N from the last "Score: N", or the reply itself."""
    if reply.text is None:
        return RewardResult(None, error=reply.error, fault=reply.fault)
    text = reply.text.strip()
    found = SCORE.findall(text) or ([text] if NUMBER.fullmatch(text) else [])
    if not found:
        return RewardResult(None, error=_refuse(text, '"Score: N"'), fault="reward")
    number = float(found[-1])
    if not options.lowest <= number <= options.highest:
        said = f"the judge gave {number:g}, which is not {options.lowest:g} to {options.highest:g}"
        return RewardResult(None, error=said, fault="reward")
    return RewardResult((number - options.lowest) / (options.highest - options.lowest), number)


def read_better(reply: Reply) -> Verdict:
    """1 for A, 0.5 for a tie, 0 for B."""
    if reply.text is None:
        return Verdict(None, reply.error, reply.fault)
    found = BETTER.findall(reply.text)
    alone = ALONE.fullmatch(reply.text)
    found = found or ([alone[1]] if alone else [])
    if not found:
        return Verdict(None, _refuse(reply.text, '"Better: A", "Better: B" or "Better: tie"'))
    return Verdict(SHARES[found[-1].lower()])


def _refuse(text: str, wanted: str) -> str:
    plain = " ".join(text.split())
    shown = plain[:SHOWN_CHARACTERS] + ("..." if len(plain) > SHOWN_CHARACTERS else "")
    return f"the judge's reply {shown!r} has no {wanted}"
