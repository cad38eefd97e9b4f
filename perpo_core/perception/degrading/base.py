"""What makes an answer worse: a function of it, how it is read, and what is drawn."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from perpo_core.perception.rewards.base import Reading

Versions = tuple[list[str] | None, str | None]
"""(the texts of degree 0, 1, ..., K - 1, None), or (None, why there are none, in a few words)."""


@dataclass(frozen=True)
class Spread:
    """How many degrees there are, and what decides where an answer loses what."""

    num_degrees: int
    """K, at least 2."""
    rng: random.Random
    num_answers_of: Mapping[str, int] = field(default_factory=dict)
    """Unit -> the answers of the data that hold it, of the same task; one that is not here: 0."""


@dataclass(frozen=True)
class Degrader:
    """How answers of a kind are made worse."""

    degrade: Callable[[str, Reading, Spread], Versions]
    """Of the part of an answer that answers (perpo_core.perception.find_answer)."""
    list_units: Callable[[str], Iterable[str]] = lambda answer: ()
    """What of an answer can be rare in the data; nothing where nothing is removed."""


@dataclass(frozen=True)
class Unit:
    """A piece of an answer that can be removed: answer[start:end], and what it is counted as."""

    start: int
    end: int
    name: str


def split_key_units(
    units: Sequence[Unit], spread: Spread, num_left: int
) -> list[list[Unit]] | None:
    """K - 1 portions of the key units, the rarest of all first; None where there are too few.

    Key is the rarer half of the units, and at least one a portion; `num_left` units stay at least.
    Units that are as rare are drawn.
    """
    num_portions = spread.num_degrees - 1
    if len(units) < num_portions + num_left:
        return None
    drawn = spread.rng.sample(units, len(units))
    drawn.sort(key=lambda unit: spread.num_answers_of.get(unit.name, 0))
    num_key = max(num_portions, len(units) // 2)
    ends = [num_key * (portion + 1) // num_portions for portion in range(num_portions)]
    return [drawn[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def remove_by_degree(
    answer: str, portions: Sequence[Sequence[Unit]], remove: Callable[[str, list[Unit]], str]
) -> list[str]:
    """The answer, and of every degree k what is left without its first k portions."""
    gone: list[Unit] = []
    texts = [answer]
    for portion in portions:
        gone = sorted([*gone, *portion], key=lambda unit: unit.start)
        texts.append(remove(answer, gone))
    return texts
