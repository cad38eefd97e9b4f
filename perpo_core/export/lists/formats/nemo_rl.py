"""nemo-rl: NeMo-RL's preference rows, which rank any number of completions, 0 the best.

Read at NVIDIA-NeMo/RL: data/datasets/preference_datasets/preference_dataset.py at 566c178 (context
and completions), data/processors.py at e1c91e6 (DPO and reward models take exactly two completions,
and no tie), data/llm_message_utils.py at 032482d (image parts name a file).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perpo_core.export.lists.files import JsonLines
from perpo_core.export.lists.format import PAIRS, Format
from perpo_core.export.lists.pairs import Pair
from perpo_core.export.lists.pictures import Pictures
from perpo_core.export.lists.ranked import Ranked, Row

LOADS = """NeMo-RL, started in this folder, since it opens images by the paths that it is given;
with datasets 5 or later, since earlier ones put an empty `image` under every part of text, which
templates take for a second image:

```yaml
data:
  train:
    dataset_name: PreferenceDataset
    data_path: preferences.jsonl
```

Its DPO and its reward models take two completions a row; lists (`--pairs list`) are for others."""


def build_rows(ranked: Ranked, pairs: Sequence[Pair], pictures: Pictures) -> Iterator[Row]:
    """One row a pair; without pairs one row with all answers, equal ones of one rank."""
    files = iter([pictures.place(name) for name in ranked.images])
    context = [
        {
            "role": message["role"],
            "content": [
                {"type": "image", "image": next(files)} if part["type"] == "image" else part
                for part in message["content"]
            ],
        }
        for message in ranked.messages
    ]
    whole = [(answer["rank"], answer) for answer in ranked.answers]
    for ranking in [[(0, pair.better), (1, pair.worse)] for pair in pairs] or [whole]:
        yield {
            "sample_id": ranked.sample_id,
            "context": context,
            "completions": [_build_completion(rank, answer) for rank, answer in ranking],
        }


def _build_completion(rank: int, answer: Row) -> Row:
    message = {"role": "assistant", "content": answer["text"]}
    return {"rank": rank, "completion": [message], "reward": answer["reward"]}


FORMAT = Format(
    files=JsonLines("preferences.jsonl"),
    build_rows=build_rows,
    choices=(*PAIRS, "list"),
    loads=LOADS,
    placeholders='a part `{"type": "image", "image": FILE}` of `content`',
    lost="token ids, log-probabilities, the truth; rewards are in the file and read by nothing",
)
