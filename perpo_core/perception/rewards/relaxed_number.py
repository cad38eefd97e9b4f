"""Short answers about charts: right within 5%, as ChartQA measures (arXiv 2203.10244, section 5.1).

Where truth and answer are numbers: |p - t| <= tolerance * |t|. Anything else, a number against a
word included, is right where it is the same text without case. A percentage is its hundredth, so
that 12% is 0.12 and not 12. As pix2struct's relaxed_correctness, which others copied; besides,
commas between thousands and one full stop at the end are read over, and a truth of 0 asks for 0 by
value.
"""

from __future__ import annotations

import math
import re

from pydantic import Field

from perpo_core.perception.find_answer import find_answer
from perpo_core.perception.numerals import write_plainly
from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target
from perpo_core.perception.rewards.edit_similarity import normalize_text
from schemas.base import Section

NUMBER = re.compile(
    r"[-+]?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[-+]?[0-9]+)?(\s?%)?",
    re.IGNORECASE,
)


class RelaxedNumberOptions(Section):
    """Of the reward relaxed_number."""

    tolerance: float = Field(default=0.05, ge=0, le=1)
    """Share of the truth that an answer may be off by."""


def compute_relaxed_number(
    text: str, target: Target, reading: Reading, options: RelaxedNumberOptions
) -> RewardResult:
    """1.0 if the answer is right, else 0.0; a blank answer is wrong unless the truth is blank."""
    assert target["text"] is not None
    stated, problem = find_answer(text)
    if stated is None:
        return RewardResult(None, error=problem)
    answer, truth = (_simplify(part, reading) for part in (stated, target["text"]))
    p, t = parse_number(answer), parse_number(truth)
    if p is None or t is None:
        return RewardResult(float(answer.lower() == truth.lower()), parsed=answer)
    return RewardResult(float(abs(p - t) <= options.tolerance * abs(t)), parsed=p)


def parse_number(text: str) -> float | None:
    """The number that a text is; None where it is anything else, or beyond a float.

    >>> parse_number("1,234.5"), parse_number("12%"), parse_number("12 kg")
    (1234.5, 0.12, None)
    """
    match = NUMBER.fullmatch(text)
    if match is None:
        return None
    number = float(text.rstrip("% ").replace(",", "")) / (100 if match[1] else 1)
    return number if math.isfinite(number) else None


def _simplify(text: str, reading: Reading) -> str:
    return (
        write_plainly(normalize_text(text, reading.collapse_whitespace)).strip().removesuffix(".")
    )


RELAXED_NUMBER = Reward("relaxed_number", compute_relaxed_number, options=RelaxedNumberOptions)
