"""What a judge is asked: the body of a request, and its identity by content."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from perpo_core.perception.judging import Item
from perpo_core.perception.rewards import Target
from perpo_core.perception.rewards.outside import JudgeOptions
from perpo_core.store.keys import compute_hash
from perpo_core.vision.stored import write_data_url

VERSION = 1  # raised when what is asked is put in other words
SCORE = """\
Question:
{question}

Correct answer:
{truth}

Answer to judge:
{answer}

End with a line "Score: N", N a number from {lowest:g} to {highest:g}."""
BETTER = """\
Question:
{question}

Correct answer:
{truth}

Answer A:
{first}

Answer B:
{second}

End with a line "Better: A", "Better: B" or "Better: tie"."""


@dataclass(frozen=True)
class Question:
    """One call to be made."""

    digest: str
    """sha256 of all that the reply depends on."""
    build_body: Callable[[], dict[str, Any]]
    """Reads the images."""


def ask_score(item: Item, instruction: str, options: JudgeOptions) -> Question:
    """How good one answer is."""
    said = SCORE.format(
        question=_describe_prompt(item), truth=describe_truth(item.target), answer=item.text,
        lowest=options.lowest, highest=options.highest,
    )  # fmt: skip
    return _build(item, said, instruction, options)


def ask_better(
    item: Item, pair: tuple[str, str], instruction: str, options: JudgeOptions
) -> Question:
    """Which of two answers to an item's prompt is better."""
    said = BETTER.format(
        question=_describe_prompt(item), truth=describe_truth(item.target),
        first=pair[0], second=pair[1],
    )  # fmt: skip
    return _build(item, said, instruction, options)


def _build(item: Item, said: str, instruction: str, options: JudgeOptions) -> Question:
    assert item.row is not None, "who builds items for an outside gives them their rows"
    row = item.row
    request = {
        "model": options.model,
        "max_tokens": options.max_tokens,
        "temperature": options.temperature,
        **options.extra,
    }
    shown = row.columns["images"] if options.images else []
    digest = compute_hash([VERSION, request, instruction, shown, said])

    def build_body() -> dict[str, Any]:
        urls = map(write_data_url, row.read_images() if options.images else [])
        images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        content = [*images, {"type": "text", "text": said}]
        told = {"role": "system", "content": instruction}
        return {**request, "messages": [told, {"role": "user", "content": content}]}

    return Question(digest, build_body)


def _describe_prompt(item: Item) -> str:
    """The texts of its messages, each with who says it where there are several."""
    assert item.row is not None
    messages = item.row.columns["prompt"]
    texts = [
        "".join(part["text"] or "" for part in message["content"] if part["type"] == "text")
        for message in messages
    ]
    if len(messages) == 1:
        return texts[0]
    return "\n".join(f"{m['role']}: {text}" for m, text in zip(messages, texts, strict=True))


def describe_truth(target: Target) -> str:
    """All accepted truths; boxes as x1, y1, x2, y2, from 0 to 1 of the image."""
    truths = [target, *(target.get("others") or [])]
    return "\nor: ".join(_describe_one(dict(truth)) for truth in truths)


def _describe_one(truth: dict[str, Any]) -> str:
    for name in ("text", "count", "box", "boxes"):
        if (value := truth.get(name)) is not None:
            return value if isinstance(value, str) else json.dumps(value)
    return "(none)"
