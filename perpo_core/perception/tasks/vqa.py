"""Short answers to questions about an image, of which several may be accepted."""

from __future__ import annotations

from collections import Counter

from perpo_core.perception.boxes import Frame
from perpo_core.perception.degrading import WORDS
from perpo_core.perception.legibility import Harm, find_side_harm
from perpo_core.perception.rewards.base import Target, list_truths
from perpo_core.perception.rewards.vqa_accuracy import VqaOptions, compute_vote
from perpo_core.perception.rewards.vqa_words import normalize_answer
from perpo_core.perception.tasks.base import (
    GreedyMetric,
    Look,
    Task,
    WrittenTruth,
    as_values,
)
from perpo_core.perception.truths.answers import KEYS, parse_answer
from perpo_core.perception.truths.row import Size
from perpo_core.perception.truths.texts import OTHER_NAMES

MAX_SHOWN = 5  # accepted answers in a report


def get_words(target: Target) -> str:
    """The accepted answers, each once."""
    answers = list(dict.fromkeys(truth["text"] or "" for truth in list_truths(target)))
    more = f" / {len(answers) - MAX_SHOWN} more" if len(answers) > MAX_SHOWN else ""
    return " / ".join(answers[:MAX_SHOWN]) + more


def write_truth(target: Target, box_format: str, frame: Frame) -> WrittenTruth:
    """The answer that most gave; of votes that are split it is worth less than 1."""
    del box_format, frame
    answers = [truth["text"] or "" for truth in list_truths(target)]
    votes = Counter(map(normalize_answer, answers))
    [(most, num_votes)] = votes.most_common(1)
    text = next(answer for answer in answers if normalize_answer(answer) == most)
    is_vote = len(answers) >= VqaOptions().votes_from
    return WrittenTruth(text, compute_vote(num_votes, len(answers)) if is_vote else 1.0)


def find_harm(target: Target, size: Size, small: Size) -> Harm | None:
    """What scaling down does to whatever is asked about."""
    del target
    return find_side_harm(size, small)


VQA = Task(
    name="vqa",
    label="VQA",
    rewards=(
        "vqa_accuracy",
        "anls",
        "relaxed_number",
        "choice_letter",
        "edit_similarity",
        "word_f1",
        "bleu",
        "chrf",
        "meteor",
    ),
    measure="vqa_accuracy",
    metrics={
        "vqa_accuracy": GreedyMetric("VQA accuracy", lambda accuracy_P: accuracy_P),
        "full_agreement": GreedyMetric(
            "share of fully right answers", lambda accuracy_P: as_values(accuracy_P == 1)
        ),
    },
    headline="vqa_accuracy",
    truth_keys=KEYS,
    several_keys=KEYS,
    other_names={"answers": OTHER_NAMES},
    parse_truth=parse_answer,
    write_truth=write_truth,
    get_words=get_words,
    find_harm=find_harm,
    degrader=WORDS,
    look=Look("#0e7f8f", "#5fc6d3", "-"),
)
