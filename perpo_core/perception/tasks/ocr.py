"""OCR: the text of the image."""

from __future__ import annotations

from perpo_core.perception.degrading import WORDS
from perpo_core.perception.legibility import Harm, find_text_harm
from perpo_core.perception.rewards.base import Target
from perpo_core.perception.rewards.edit_similarity import find_text
from perpo_core.perception.tasks.base import (
    GreedyMetric,
    Look,
    Task,
    as_values,
    get_text,
    write_text,
)
from perpo_core.perception.truths.row import Size
from perpo_core.perception.truths.texts import OTHER_NAMES, parse_text


def find_harm(target: Target, size: Size, small: Size) -> Harm | None:
    """What scaling down does to the text."""
    return find_text_harm(get_text(target), size, small)


OCR = Task(
    name="ocr",
    label="OCR",
    rewards=(
        "edit_similarity",
        "edit_similarity_words",
        "cer",
        "wer",
        "word_f1",
        "bleu",
        "chrf",
        "meteor",
    ),
    measure="edit_similarity",  # which is 1 exactly where the text is right
    metrics={
        "edit_distance": GreedyMetric("edit distance", lambda similar_P: 1 - similar_P, True),
        "exact": GreedyMetric("exact match", lambda similar_P: as_values(similar_P == 1)),
    },
    headline="edit_distance",
    truth_keys=("answer",),
    several_keys=("answer",),
    other_names={"answer": OTHER_NAMES},
    parse_truth=parse_text,
    write_truth=write_text,
    get_words=get_text,
    read_words=lambda text, target: find_text(text, get_text(target))[0],
    marks_differences=True,
    find_harm=find_harm,
    degrader=WORDS,
    look=Look("#b8610b", "#e69f4c", "--"),
)
