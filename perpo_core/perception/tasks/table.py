"""Tables: the table in the image, as HTML or Markdown."""

from __future__ import annotations

import re

from perpo_core.perception.degrading import CELLS
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
from perpo_core.perception.truths.row import Size
from perpo_core.perception.truths.tables import parse_table_text
from perpo_core.perception.truths.texts import OTHER_NAMES

NO_TEXT = re.compile(r"<[^>]*>|[|:\s-]")  # tags, and what Markdown draws lines with


def find_harm(target: Target, size: Size, small: Size) -> Harm | None:
    """What scaling down does to the text in the cells."""
    return find_text_harm(NO_TEXT.sub("", get_text(target)), size, small)


TABLE = Task(
    name="table",
    label="tables",
    rewards=("teds", "teds_structure"),
    measure="teds",
    metrics={
        "teds": GreedyMetric("TEDS", lambda teds_P: teds_P),
        "exact_table": GreedyMetric("exact tables", lambda teds_P: as_values(teds_P == 1)),
    },
    headline="teds",
    truth_keys=("answer",),
    several_keys=("answer",),
    other_names={"answer": OTHER_NAMES},
    parse_truth=parse_table_text,
    write_truth=write_text,
    get_words=get_text,
    find_harm=find_harm,
    degrader=CELLS,
    look=Look("#4b5563", "#a6b0bd", ":"),
)
