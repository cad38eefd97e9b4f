"""Extraction: what a document says, as the fields of a JSON object."""

from __future__ import annotations

import json
from typing import Any

from perpo_core.perception.degrading import VALUES
from perpo_core.perception.find_answer import find_answer
from perpo_core.perception.json_objects import parse_json_object, write_object
from perpo_core.perception.legibility import Harm, find_text_harm
from perpo_core.perception.rewards.base import Target
from perpo_core.perception.tasks.base import (
    GreedyMetric,
    Look,
    Task,
    as_values,
    get_text,
    write_text,
)
from perpo_core.perception.truths.objects import parse_object
from perpo_core.perception.truths.row import Size
from perpo_core.perception.truths.texts import OTHER_NAMES


def read_words(text: str, target: Target) -> str | None:
    """The object that an answer states, written as the true one is; else what it says instead."""
    del target
    stated, _ = find_answer(text)
    found, _ = parse_json_object(stated or "")
    return stated if found is None else write_object(found)


def find_harm(target: Target, size: Size, small: Size) -> Harm | None:
    """What scaling down does to the values; keys need not stand in the image."""
    return find_text_harm("".join(_list_texts(json.loads(get_text(target)))), size, small)


def _list_texts(value: Any) -> list[str]:
    if isinstance(value, dict | list):
        inside = value.values() if isinstance(value, dict) else value
        return [text for part in inside for text in _list_texts(part)]
    return [] if value is None or isinstance(value, bool) else [str(value)]


EXTRACTION = Task(
    name="extraction",
    label="extraction",
    rewards=("json_f1",),
    measure="json_f1",
    metrics={
        "field_f1": GreedyMetric("F1 of fields", lambda f1_P: f1_P),
        "exact_object": GreedyMetric("all fields right", lambda f1_P: as_values(f1_P == 1)),
    },
    headline="field_f1",
    truth_keys=("answer",),
    several_keys=("answer",),
    other_names={"answer": OTHER_NAMES},
    parse_truth=parse_object,
    write_truth=write_text,
    get_words=get_text,
    read_words=read_words,
    marks_differences=True,
    find_harm=find_harm,
    degrader=VALUES,
    look=Look("#6b6f10", "#c3c94a", "--"),
)
