"""llamafactory: pairs in LLaMA-Factory's sharegpt layout, with the dataset_info.json it asks for.

Read at hiyouga/LlamaFactory: data/converter.py at f816ae4 (SharegptDatasetConverter: turns
alternate and end with the user's, others are skipped with a warning), data/mm_plugin.py at 76a35a8
(the number of <image> over prompt and answer has to be that of the images).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from perpo_core.export.lists.files import JsonLines
from perpo_core.export.lists.format import PAIRS, Format
from perpo_core.export.lists.messages import NAMES, split_prompt, write_answers, write_content
from perpo_core.export.lists.pairs import Pair
from perpo_core.export.lists.pictures import Pictures
from perpo_core.export.lists.ranked import Ranked, Row

FILE, NAME = "pairs.jsonl", "perpo"
INFO = {
    NAME: {
        "file_name": FILE,
        "formatting": "sharegpt",
        "ranking": True,
        "columns": {
            "messages": "conversations",
            "chosen": "chosen",
            "rejected": "rejected",
            "system": "system",
            "images": "images",
        },
    }
}
LOADS = f"""LLaMA-Factory finds it by `dataset_info.json`, and its images relative to that folder:

```yaml
stage: dpo
dataset_dir: .
dataset: {NAME}
```"""


def build_rows(ranked: Ranked, pairs: Sequence[Pair], pictures: Pictures) -> Iterator[Row]:
    """One row a pair. Raises CannotSay."""
    system, turns = split_prompt(ranked)
    answers = write_answers(pairs)
    prompt = {
        "conversations": [
            {"from": NAMES[turn["role"]], "value": write_content(turn)} for turn in turns
        ],
        "system": system,
        "images": [pictures.place(name) for name in ranked.images],
    }
    for pair, (better, worse) in zip(pairs, answers, strict=True):
        yield {
            "sample_id": ranked.sample_id,
            **prompt,
            "chosen": {"from": "gpt", "value": better},
            "rejected": {"from": "gpt", "value": worse},
            "chosen_reward": pair.better["reward"],
            "rejected_reward": pair.worse["reward"],
        }


FORMAT = Format(
    files=JsonLines(FILE),
    build_rows=build_rows,
    choices=PAIRS,
    loads=LOADS,
    placeholders="`<image>` in the words of a turn, one for each of `images` in their order",
    lost="token ids, log-probabilities, the truth; rewards are in the file and read by nothing",
    beside={"dataset_info.json": json.dumps(INFO, indent=2) + "\n"},
)
