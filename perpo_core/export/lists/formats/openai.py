"""openai: pairs as OpenAI's preference fine-tuning takes them, images as data URLs.

Read in OpenAI's API description 2.3.0, FineTunePreferenceRequestInput: input.messages,
preferred_output and non_preferred_output of one assistant message each, nothing else; images may
stand in the user's messages. Together, Fireworks and Azure take the same lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perpo_core.export.lists.files import JsonLines
from perpo_core.export.lists.format import PAIRS, CannotSay, Format
from perpo_core.export.lists.pairs import Pair
from perpo_core.export.lists.pictures import Pictures
from perpo_core.export.lists.ranked import Ranked, Row

LOADS = """Whoever takes OpenAI's preference format: upload `pairs.jsonl` for method `dpo`. OpenAI's
own guide says that DPO there is for text at present; the format allows images."""


def build_rows(ranked: Ranked, pairs: Sequence[Pair], pictures: Pictures) -> Iterator[Row]:
    """One row a pair. Raises CannotSay."""
    urls = iter([pictures.write_url(name) for name in ranked.images])
    messages = [_build_message(message, urls) for message in ranked.messages]
    for pair in pairs:
        yield {
            "input": {"messages": messages},
            "preferred_output": [{"role": "assistant", "content": pair.better["text"]}],
            "non_preferred_output": [{"role": "assistant", "content": pair.worse["text"]}],
        }


def _build_message(message: Row, urls: Iterator[str]) -> Row:
    """Images in the user's messages alone; the others are plain text, as every taker reads them."""
    if message["role"] == "user":
        content = [
            {"type": "image_url", "image_url": {"url": next(urls)}}
            if part["type"] == "image"
            else part
            for part in message["content"]
        ]
        return {"role": "user", "content": content}
    if any(part["type"] == "image" for part in message["content"]):
        raise CannotSay("an image in a message that is not the user's")
    words = "".join(part["text"] for part in message["content"])
    return {"role": message["role"], "content": words}


FORMAT = Format(
    files=JsonLines("pairs.jsonl"),
    build_rows=build_rows,
    choices=PAIRS,
    loads=LOADS,
    placeholders="the image itself, as a data URL in a part `image_url`",
    lost="rewards, ids, token ids, log-probabilities, the truth: other keys are refused there",
)
