"""swift: pairs as ms-swift's messages with rejected_response.

Read at modelscope/ms-swift a374875: swift/dataset/preprocessor/core.py (MessagesPreprocessor; a
rejected_response that equals the answer is an error, and by default the row is deleted; further
columns are left out), swift/template/vision_utils.py at 030e65c (ROOT_IMAGE_DIR).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perpo_core.export.lists.files import JsonLines
from perpo_core.export.lists.format import PAIRS, CannotSay, Format
from perpo_core.export.lists.messages import IN_WORDS, split_prompt, write_answers, write_content
from perpo_core.export.lists.pairs import Pair
from perpo_core.export.lists.pictures import Pictures
from perpo_core.export.lists.ranked import Ranked, Row

LOADS = """ms-swift, from any folder:

```sh
ROOT_IMAGE_DIR=FOLDER swift rlhf --rlhf_type dpo --model MODEL --strict true \\
    --dataset FOLDER/pairs.jsonl
```"""


def build_rows(ranked: Ranked, pairs: Sequence[Pair], pictures: Pictures) -> Iterator[Row]:
    """One row a pair. Raises CannotSay."""
    system, turns = split_prompt(ranked)
    messages = [{"role": turn["role"], "content": write_content(turn)} for turn in turns]
    if system:
        messages = [{"role": "system", "content": system}, *messages]
    answers = write_answers(pairs)
    if any(better == worse for better, worse in answers):
        raise CannotSay("two answers of the same text with different rewards")
    images = [pictures.place(name) for name in ranked.images]
    for pair, (better, worse) in zip(pairs, answers, strict=True):
        yield {
            "sample_id": ranked.sample_id,
            "messages": [*messages, {"role": "assistant", "content": better}],
            "rejected_response": worse,
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
    lost="token ids, log-probabilities, the truth; rewards are in the file and read by nothing",
)
