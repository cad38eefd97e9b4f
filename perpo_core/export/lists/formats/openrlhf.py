"""openrlhf: pairs of chat messages for OpenRLHF's DPO and reward models.

Read at OpenRLHF/OpenRLHF 0008ea1: datasets/reward_dataset.py (prompt_key, chosen_key, rejected_key
and the tokenizer's chat template; text alone). Images are named in `images`, which forks and its
reinforcement learning of vision-language models (--data.image_key) read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perpo_core.export.lists.files import JsonLines
from perpo_core.export.lists.format import PAIRS, Format
from perpo_core.export.lists.messages import IN_WORDS, write_answers, write_content
from perpo_core.export.lists.pairs import Pair
from perpo_core.export.lists.pictures import Pictures
from perpo_core.export.lists.ranked import Ranked, Row

WARNING = (
    "OpenRLHF's own DPO and reward models read text alone: what it trains on these rows has not "
    "seen the images, which only forks that read `images` show it"
)
LOADS = f"""OpenRLHF, with `--apply_chat_template --prompt_key prompt --chosen_key chosen
--rejected_key rejected`. **{WARNING}.**"""


def build_rows(ranked: Ranked, pairs: Sequence[Pair], pictures: Pictures) -> Iterator[Row]:
    """One row a pair. Raises CannotSay."""
    prompt = [{"role": m["role"], "content": write_content(m)} for m in ranked.messages]
    answers = write_answers(pairs)
    images = [pictures.place(name) for name in ranked.images]
    for pair, (better, worse) in zip(pairs, answers, strict=True):
        yield {
            "sample_id": ranked.sample_id,
            "prompt": prompt,
            "chosen": [{"role": "assistant", "content": better}],
            "rejected": [{"role": "assistant", "content": worse}],
            "images": images,
            "chosen_reward": pair.better["reward"],
            "rejected_reward": pair.worse["reward"],
        }


FORMAT = Format(
    files=JsonLines("pairs.jsonl"),
    build_rows=build_rows,
    choices=PAIRS,
    loads=LOADS,
    placeholders=IN_WORDS,
    lost="the images, where the loader reads text alone; token ids, log-probabilities, the truth",
    warning=WARNING,
)
