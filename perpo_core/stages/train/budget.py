"""What a forward pass computes, in tokens, and a step's lists cut into passes that keep to it.

A family that shares its prompts computes each once (perpo_core.stages.train.packing). Another one
computes a row an answer, its prompt in every row and all rows as long as the longest
(perpo_core.stages.train.separate): there, 20 short answers about one image are 20 times its tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from perpo_core.stages.train.data import RankedList
from perpo_core.stages.train.families import find_obstacle
from perpo_core.stages.train.packing import PackableList

Count = Callable[[Sequence[PackableList]], int]
"""Tokens that one forward pass over the lists computes."""


def choose_count(model: Any) -> Count:
    """How a transformers image-text-to-text model computes the answers of a list."""
    return count_apart if find_obstacle(model) else count_packed


def count_packed(lists: Sequence[PackableList]) -> int:
    """Every prompt once, every answer once."""
    return sum(packable.lengths.total for packable in lists)


def count_apart(lists: Sequence[PackableList]) -> int:
    """A row an answer with its prompt before it, all padded to the longest."""
    rows = [
        packable.lengths.prefix + length
        for packable in lists
        for length in packable.lengths.answers
    ]
    return len(rows) * max(rows, default=0)


def split_by_tokens(
    lists: Sequence[RankedList], max_tokens: int, count: Count
) -> list[list[RankedList]]:
    """The lists in order, in parts of at most `max_tokens`; a longer list is a part alone."""
    parts: list[list[RankedList]] = []
    for ranked in lists:
        if parts and _count_with_crops([*parts[-1], ranked], count) <= max_tokens:
            parts[-1].append(ranked)
        else:
            parts.append([ranked])
    return parts


def _count_with_crops(lists: Sequence[RankedList], count: Count) -> int:
    """Of the two forward passes that the lists and their crops need."""
    crops = [ranked.crop.packable for ranked in lists if ranked.crop is not None]
    return count([ranked.packable for ranked in lists]) + count(crops)
