"""llava: LLaVA's conversations, answered by the better answer, with both for LLaVA-NeXT's DPO.

Read at LLaVA-VL/LLaVA-NeXT 0a40a16: llava/train/train_dpo.py (prompt, answer, chosen, rejected and
image; it puts the one <image> before the prompt itself), and train.py's roles, human and gpt alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perpo_core.export.lists.files import JsonArray
from perpo_core.export.lists.format import PAIRS, CannotSay, Format
from perpo_core.export.lists.messages import (
    MARK,
    NAMES,
    split_prompt,
    write_answers,
    write_content,
    write_question,
)
from perpo_core.export.lists.pairs import Pair
from perpo_core.export.lists.pictures import Pictures
from perpo_core.export.lists.ranked import Ranked, Row

LOADS = """LLaVA and what reads its JSON: `--data_path pairs.json --image_folder .`. Supervised
training learns `conversations`, which end with the better answer; LLaVA-NeXT's `train_dpo.py`
compares `chosen` with `rejected`. It takes one question behind one image: rows of several images or
turns have no `prompt` for it."""


def build_rows(ranked: Ranked, pairs: Sequence[Pair], pictures: Pictures) -> Iterator[Row]:
    """One row a pair. Raises CannotSay."""
    system, turns = split_prompt(ranked)
    if system:
        raise CannotSay("a system message")
    said = [{"from": NAMES[t["role"]], "value": write_content(t, f"{MARK}\n")} for t in turns]
    prompt, answers = _find_prompt(ranked), write_answers(pairs)
    files = [pictures.place(name) for name in ranked.images]
    for pair, (better, worse) in zip(pairs, answers, strict=True):
        yield {
            "id": ranked.sample_id,
            "image": files[0] if len(files) == 1 else files,
            "conversations": [*said, {"from": "gpt", "value": better}],
            **prompt,
            "answer": better,
            "chosen": better,
            "rejected": worse,
            "chosen_reward": pair.better["reward"],
            "rejected_reward": pair.worse["reward"],
        }


def _find_prompt(ranked: Ranked) -> Row:
    try:
        return {"prompt": write_question(ranked)}
    except CannotSay:
        return {}


FORMAT = Format(
    files=JsonArray("pairs.json"),
    build_rows=build_rows,
    choices=PAIRS,
    loads=LOADS,
    placeholders="`<image>` and a line break in the words of a turn, one for each image",
    lost="token ids, log-probabilities, the truth; a system message has no place",
)
