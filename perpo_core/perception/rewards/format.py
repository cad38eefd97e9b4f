"""Any task: 1 where the whole answer has the form that a regular expression says, else 0.

The form of DeepSeek-R1's format reward by default: thoughts in <think>, then the answer in <answer>
(arXiv 2501.12948, section 2.2). Thoughts are part of what is looked at, since tags are what is
asked for; white space around it does not matter, and a dot matches a line end. No answer is
unreadable.
"""

from __future__ import annotations

import regex
from pydantic import Field, field_validator

from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target
from schemas.base import Section

TIMEOUT_S = 1.0  # an expression may take time exponential in the text


class FormatOptions(Section):
    """Of the reward format."""

    pattern: str = Field(
        default=r"<think>.*?</think>\s*<answer>.*?</answer>", min_length=1, max_length=2000
    )
    """Regular expression, in the words of the `regex` package, that the whole answer matches."""

    @field_validator("pattern")
    @classmethod
    def _check_pattern(cls, pattern: str) -> str:
        try:
            regex.compile(pattern, regex.DOTALL)
        except regex.error as problem:
            raise ValueError(f"it is no regular expression: {problem}") from None
        return pattern


def compute_format(
    text: str, target: Target, reading: Reading, options: FormatOptions
) -> RewardResult:
    """1.0 if all of `text` matches the pattern, else 0.0; an error where that takes too long."""
    del target, reading
    try:
        found = regex.fullmatch(options.pattern, text.strip(), regex.DOTALL, timeout=TIMEOUT_S)
    except TimeoutError:
        return RewardResult(None, error=f"the pattern took more than {TIMEOUT_S:g} s")
    return RewardResult(float(found is not None))


FORMAT = Reward("format", compute_format, options=FormatOptions, takes_all_truths=True)
