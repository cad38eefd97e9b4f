"""JSON objects: of the rarest values in the data, k of K - 1 portions are null at degree k.

Keys and layout stay, so that what is left is an object. Values that are null already say nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from perpo_core.perception.degrading.base import (
    Degrader,
    Spread,
    Unit,
    Versions,
    remove_by_degree,
    split_key_units,
)
from perpo_core.perception.json_objects import parse_json_object
from perpo_core.perception.rewards.base import Reading

NO_OBJECT, TOO_FEW = "no object is stated", "too few values in the object"
_STRING = r'"(?:[^"\\]|\\.)*+"'
SCALAR = re.compile(
    rf"(?P<key>{_STRING}\s*+:)|(?P<value>{_STRING}|-?[0-9][0-9.eE+-]*+|true|false)|null", re.DOTALL
)


def find_values(answer: str) -> list[Unit]:
    """The scalars of the one object in an answer, null left out; [] where there is none."""
    if parse_json_object(answer)[0] is None:
        return []
    start = answer.index("{")
    end = json.JSONDecoder().raw_decode(answer, start)[1]
    found = SCALAR.finditer(answer, start, end)
    return [Unit(*each.span(), each[0]) for each in found if each.lastgroup == "value"]


def _put_null(answer: str, gone: Sequence[Unit]) -> str:
    pieces, at = [], 0
    for unit in gone:
        pieces += [answer[at : unit.start], "null"]
        at = unit.end
    return "".join([*pieces, answer[at:]])


def degrade_object(answer: str, reading: Reading, spread: Spread) -> Versions:
    """An object whose first k portions of the rarest values are null."""
    del reading
    if parse_json_object(answer)[0] is None:
        return None, NO_OBJECT
    portions = split_key_units(find_values(answer), spread, num_left=0)
    if portions is None:
        return None, TOO_FEW
    return remove_by_degree(answer, portions, _put_null), None


VALUES = Degrader(degrade_object, lambda answer: {unit.name for unit in find_values(answer)})
