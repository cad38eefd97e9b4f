"""What a judge says of pairs of answers under an instruction, each asked both ways round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perpo_core.judge_tuning.documents import Document
from perpo_core.judge_tuning.fairness import Choice
from perpo_core.perception.rewards.outside import JudgeOptions
from perpo_core.stages.outside.asking import Asking
from perpo_core.stages.outside.order import Pair
from perpo_core.stages.outside.questions import Question, ask_better
from perpo_core.stages.outside.server import Reply
from perpo_core.stages.outside.verdicts import read_better

Asked = dict[tuple[str, Pair], tuple[Question, Question]]
"""sample_id and pair -> both ways round."""


def compare(
    instructions: Sequence[str],
    documents: Sequence[Document],
    options: JudgeOptions,
    asking: Asking,
) -> list[list[Choice]]:
    """The choices under each instruction, in the order of documents and pairs.

    Raises ValueError where a comparison has no reply: on the others alone it would be another
    judge's fairness.
    """
    asked = [_ask(instruction, documents, options) for instruction in instructions]
    questions = [question for each in asked for both in each.values() for question in both]
    replies = asking.ask(questions)
    require_replied(replies)
    return [_read(each, replies) for each in asked]


def _ask(instruction: str, documents: Sequence[Document], options: JudgeOptions) -> Asked:
    return {
        (document.sample_id, pair): (
            ask_better(document.items[pair[0]], pair, instruction, options),
            ask_better(document.items[pair[1]], (pair[1], pair[0]), instruction, options),
        )
        for document in documents
        for pair in document.pairs
    }


def _read(asked: Asked, replies: Mapping[str, Reply]) -> list[Choice]:
    return [
        Choice(document, pair, *(read_better(replies[question.digest]) for question in both))
        for (document, pair), both in asked.items()
    ]


def require_replied(replies: Mapping[str, Reply]) -> None:
    """Raise ValueError where a server left a question without a reply that it may give later."""
    missing = [each for each in replies.values() if each.text is None and each.fault == "server"]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(replies)} questions have no reply, the first: "
            f"{missing[0].error}; every reply so far is kept"
        )
