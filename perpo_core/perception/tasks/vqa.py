"""Short answers to questions about an image, of which several may be accepted."""

from __future__ import annotations

from perpo_core.perception.legibility import Harm, find_side_harm
from perpo_core.perception.rewards.base import Target, list_truths
from perpo_core.perception.tasks.base import GreedyMetric, Look, Task, as_values
from perpo_core.perception.truths.answers import KEYS, parse_answer
from perpo_core.perception.truths.row import Size
from perpo_core.perception.truths.texts import OTHER_NAMES

MAX_SHOWN = 5  # accepted answers in a report


def get_words(target: Target) -> str:
    """The accepted answers, each once."""
    answers = list(dict.fromkeys(truth["text"] or "" for truth in list_truths(target)))
    more = f" / {len(answers) - MAX_SHOWN} more" if len(answers) > MAX_SHOWN else ""
    return " / ".join(answers[:MAX_SHOWN]) + more


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
    get_words=get_words,
    find_harm=find_harm,
    look=Look("#0e7f8f", "#5fc6d3", "-"),
)
