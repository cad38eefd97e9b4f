"""Prompts and answers in the words of other formats.

A text format marks the place of an image with <image> and counts the marks, so that a text whose
own words hold one cannot be said in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from perpo_core.export.lists.format import CannotSay
from perpo_core.export.lists.pairs import Pair
from perpo_core.export.lists.ranked import Ranked, Row

MARK = "<image>"
IN_WORDS = f"`{MARK}` in the words of a message, one for each of `images` in their order"
"""What a card says of marks in rows that have messages and images."""
NAMES = {"user": "human", "assistant": "gpt"}
"""ShareGPT's and LLaVA's names of who speaks."""


def as_messages(text: str) -> list[Row]:
    """An answer as TRL's chosen, rejected and completion are."""
    return [{"role": "assistant", "content": [{"type": "text", "text": text}]}]


def check_words(text: str) -> str:
    """The text; raises CannotSay where it holds a mark of its own."""
    if MARK in text:
        raise CannotSay(f"the word {MARK} in a text")
    return text


def write_answers(pairs: Sequence[Pair]) -> list[tuple[str, str]]:
    """The better and the worse answer of each pair. Raises CannotSay."""
    return [(check_words(pair.better["text"]), check_words(pair.worse["text"])) for pair in pairs]


def write_content(message: Row, mark: str = MARK) -> str:
    """What a message says, with a mark where each image stands. Raises CannotSay."""
    return "".join(
        mark if part["type"] == "image" else check_words(part["text"])
        for part in message["content"]
    )


def split_prompt(ranked: Ranked) -> tuple[str, list[Row]]:
    """The system message's words, "" for none, and the turns: user first and last, one by one.

    Raises CannotSay for a prompt of another build.
    """
    system, turns = "", ranked.messages
    if turns[0]["role"] == "system":
        system, turns = write_system(turns[0]), turns[1:]
    roles = [turn["role"] for turn in turns]
    if len(roles) % 2 == 0 or any(
        role != ("user", "assistant")[place % 2] for place, role in enumerate(roles)
    ):
        raise CannotSay("turns that are not of user and assistant in alternation")
    return system, turns


def write_system(message: Row) -> str:
    """The words of a system message; raises CannotSay where it shows an image."""
    if any(part["type"] == "image" for part in message["content"]):
        raise CannotSay("an image in the system message")
    return write_content(message)


def write_question(ranked: Ranked) -> str:
    """The words of a prompt that is one question behind one image. Raises CannotSay."""
    system, turns = split_prompt(ranked)
    if system:
        raise CannotSay("a system message")
    if len(turns) > 1:
        raise CannotSay("several turns")
    if len(ranked.images) != 1:
        raise CannotSay("several images" if ranked.images else "no image")
    if turns[0]["content"][0]["type"] != "image":
        raise CannotSay("an image behind the words")
    return write_content(turns[0], mark="")
