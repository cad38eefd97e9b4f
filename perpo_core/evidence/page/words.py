"""How numbers and settings are written, the same in the page, its figures and the Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from perpo_core.perception.tasks import LOWER_IS_BETTER, TASKS
from perpo_core.report.formats import format_signed
from perpo_core.report.summary import Reading
from schemas.evidence_statistics import Difference

NONE = "\u2013"
SMALLEST_P = 0.001
PLAIN_P = 0.1  # two decimals from here on


def format_interval(difference: Difference) -> str:
    """Such as "+0.012 to +0.034"."""
    return f"{format_signed(difference.low)} to {format_signed(difference.high)}"


def format_p(p_value: float) -> str:
    if p_value < SMALLEST_P:
        return f"< {SMALLEST_P}"
    return f"{p_value:.2f}" if p_value >= PLAIN_P else f"{p_value:.3f}"


def format_effect(difference: Difference) -> str:
    """Of standard deviations, signed; a dash where there is none."""
    if difference.effect_size is None:
        return NONE
    return f"{difference.effect_size:+.2f}".replace("-", "\u2212")


def format_percent(share: float) -> str:
    return f"{100 * share:.0f}%".replace("-", "\u2212")


def format_value(value: JsonValue) -> str:
    """A setting's value: text as it is, numbers short, anything else as JSON."""
    if isinstance(value, str):
        return value
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)


def format_settings(settings: Mapping[str, JsonValue]) -> str:
    """Such as "learning_rate 5e-05, beta 0.3": by the last names, where they are not the same."""
    tails = [name.rpartition(".")[2] for name in settings]
    return ", ".join(
        f"{tail if tails.count(tail) == 1 else name} {format_value(value)}"
        for (name, value), tail in zip(settings.items(), tails, strict=True)
    )


def read_change(metric: str, difference: Difference) -> Reading:
    """Better or worse only when the whole interval lies on one side of zero."""
    low, high = difference.low, difference.high
    if metric in LOWER_IS_BETTER:
        low, high = -high, -low
    return "better" if low > 0 else "worse" if high < 0 else "no clear change"


def shorten(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}\u2026"


def shorten_pair(first: str, second: str, most: int) -> tuple[str, str]:
    """Both in so many characters: the shorter one whole, where it has no more than its half."""
    half = most // 2
    of_first = max(half, most - len(second))
    of_second = max(half, most - len(first))
    return shorten(first, of_first), shorten(second, of_second)


def join_counts(counts: Mapping[str, int]) -> str:
    """Such as "grounding 2,048, OCR 512"."""
    return ", ".join(f"{TASKS[task].label} {count:,}" for task, count in counts.items())


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def find_scale(values: Sequence[float]) -> tuple[float, float]:
    """Smallest and largest, a little apart where they are the same."""
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)
