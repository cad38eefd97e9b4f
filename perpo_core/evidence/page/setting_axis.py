"""Over which setting methods stand: list size, beta, how many lists.

Methods that differ in nothing but numbers are a line, one for every combination of what is no
number, such as the objective.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from pydantic import JsonValue

from schemas.comparison import ComparisonReport, MethodResult, Settings

LEAST = 3
"""Fewer methods are no line."""

Own = tuple[MethodResult, Settings]
"""A method and its settings without those of the sweep."""


@dataclass(frozen=True)
class Line:
    """Methods that differ in nothing but numbers."""

    label: str
    points: list[tuple[float, MethodResult]]
    """(value of the setting, method), ascending."""


@dataclass(frozen=True)
class SettingAxis:
    """A setting, and lines that stand over the same values of it."""

    setting: str
    lines: list[Line]

    @property
    def places(self) -> list[float]:
        """The values, ascending."""
        return [place for place, _ in self.lines[0].points]


def find_axis(report: ComparisonReport) -> SettingAxis | None:
    """The first of the methods' own settings that is another number for each of a line.

    None where there is none, where a line would be of too few methods, and where lines would not
    stand over the same numbers.
    """
    groups = _group(report)
    firsts = [own for (_, own), *_ in groups]
    labels = _name_lines([_list_words(own) for own in firsts])
    for setting in firsts[0]:
        lines = [
            Line(label, _list_points(group, setting))
            for label, group in zip(labels, groups, strict=True)
        ]
        axis = SettingAxis(setting, lines)
        if all(_is_line(line, axis.places) for line in lines):
            return axis
    return None


def _group(report: ComparisonReport) -> list[list[Own]]:
    """Methods with the same words, in the order of the configuration."""
    swept = {name for m in report.methods for point in m.sweep for name in point.settings}
    groups: defaultdict[str, list[Own]] = defaultdict(list)
    for method in report.methods:
        own = {name: value for name, value in method.settings.items() if name not in swept}
        groups[json.dumps(_list_words(own), sort_keys=True)].append((method, own))
    return list(groups.values())


def _list_words(settings: Settings) -> Settings:
    return {name: value for name, value in settings.items() if not _is_number(value)}


def _list_points(group: Sequence[Own], setting: str) -> list[tuple[float, MethodResult]]:
    """Empty unless every method has a number there, and each another one."""
    points: dict[float, MethodResult] = {}
    for method, own in group:
        if _is_number(value := own.get(setting)):
            points.setdefault(value, method)
    return sorted(points.items(), key=lambda point: point[0]) if len(points) == len(group) else []


def _is_line(line: Line, places: list[float]) -> bool:
    return len(places) >= LEAST and [place for place, _ in line.points] == places


def _is_number(value: JsonValue) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _name_lines(words: Sequence[Settings]) -> list[str]:
    """By the words that lines do not share; "trained" where there are none."""
    apart = [
        [(name, value) for name, value in own.items() if not _is_shared(name, value, words)]
        for own in words
    ]
    return [", ".join(_name(*each) for each in own) or "trained" for own in apart]


def _is_shared(name: str, value: Any, words: Sequence[Settings]) -> bool:
    return all(name in other and other[name] == value for other in words)


def _name(name: str, value: JsonValue) -> str:
    return value if isinstance(value, str) else f"{name.rpartition('.')[2]} {json.dumps(value)}"
