"""Paraphrases of an instruction: what is asked for, and what of a reply is one.

ZEPO (arXiv 2406.11370) asks a model for other words of the instruction at temperature 0.9 and names
one word that must not change [CODE: zepo.py, get_instruction]. Ours: the new instruction stands
between two tags, so that thoughts, remarks and replies that were cut off are told from it, and
whatever in it has a meaning of its own (placeholders, tags, the form of a verdict) has to be there
again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from perpo_core.perception.rewards.outside import JudgeOptions
from perpo_core.stages.outside.questions import Question
from perpo_core.stages.outside.server import Reply
from perpo_core.store.keys import compute_hash, derive_seed

VERSION = 1  # raised when paraphrases are asked for in other words
ASKED = """\
The instruction below tells a judge how to compare two answers to a question. Say it in other \
words: be free with words, order and tone, and keep what it means.{kept}

Instruction:
{instruction}

Write the new instruction between <instruction> and </instruction>, and nothing after it."""
KEPT = " Keep these as they stand, letter by letter: {words}."
WRITTEN = re.compile(r"<instruction>(.*?)</instruction>", re.DOTALL | re.IGNORECASE)
FIXED = re.compile(
    r"\{\{?\s*[A-Za-z_][\w.]*\s*\}?\}"  # {answer}, {{ answer }}
    r"|</?[A-Za-z][\w-]*>"  # <answer>, </answer>
    r"|\b(?:Better: (?:A|B|tie)|Score: N)\b"  # what a verdict is read from
)
NO_REPLY, NO_INSTRUCTION, SAID_BEFORE = "no reply", "no instruction in the reply", "said before"


def find_fixed(instruction: str, keep: Iterable[str] = ()) -> list[str]:
    """What a paraphrase has to have as it stands, in the order of the instruction.

    >>> find_fixed("Judge {question}. End with Better: A, Better: B or Better: tie.")
    ['{question}', 'Better: A', 'Better: B', 'Better: tie']

    Raises ValueError for a word to keep that the instruction has not.
    """
    missing = [word for word in keep if word not in instruction]
    if missing:
        raise ValueError(f"--keep {missing[0]!r}: the instruction has no such words; correct it")
    return list(dict.fromkeys([*FIXED.findall(instruction), *keep]))


def ask_paraphrase(
    instruction: str, fixed: Sequence[str], options: JudgeOptions, seed: int, number: str
) -> Question:
    """One paraphrase; `number` tells it from the others of the same instruction and seed."""
    kept = KEPT.format(words=", ".join(fixed)) if fixed else ""
    said = ASKED.format(kept=kept, instruction=instruction.strip())
    request = {
        "model": options.model,
        "max_tokens": options.max_tokens,
        "temperature": options.temperature,
        "seed": derive_seed(seed, number),
        **options.extra,
    }
    digest = compute_hash(["paraphrase", VERSION, request, said, seed, number])

    def build_body() -> dict[str, Any]:
        return {**request, "messages": [{"role": "user", "content": said}]}

    return Question(digest, build_body)


@dataclass(frozen=True)
class Paraphrases:
    """Those of one round that can be compared, and why others cannot."""

    instructions: list[str]
    dropped: dict[str, int]


def read_paraphrases(
    replies: Iterable[Reply], fixed: Sequence[str], known: Collection[str]
) -> Paraphrases:
    """Of the replies in their order; `known` instructions are not compared again."""
    found: list[str] = []
    dropped: Counter[str] = Counter()
    for reply in replies:
        text, why = _read(reply, fixed)
        if why is None and _squeeze(text) in map(_squeeze, (*known, *found)):
            why = SAID_BEFORE
        if why is None:
            found.append(text)
        else:
            dropped[why] += 1
    return Paraphrases(found, dict(sorted(dropped.items())))


def _read(reply: Reply, fixed: Sequence[str]) -> tuple[str, str | None]:
    """The instruction as it will stand in its file, and why it is of no use."""
    if reply.text is None:
        return "", NO_REPLY
    written = [text.strip() for text in WRITTEN.findall(reply.text)]
    if not written or not written[-1]:
        return "", NO_INSTRUCTION
    text = written[-1] + "\n"
    lost = [word for word in fixed if word not in text]
    return text, f"lost {lost[0]}" if lost else None


def _squeeze(text: str) -> str:
    return " ".join(text.split())
