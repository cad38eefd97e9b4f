"""hf: whole lists for datasets, with the best and the worst answer under TRL's names.

One file is both our list and TRL's pair: DPOTrainer takes prompt, chosen, rejected and images and
leaves the other columns alone. Content parts have no key for an image: Arrow would put it, empty,
under every part, and the templates of Qwen2-VL test for it, so that one image would become two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perpo_core.export.lists.files import Parquet
from perpo_core.export.lists.format import Format
from perpo_core.export.lists.messages import as_messages
from perpo_core.export.lists.pairs import Pair
from perpo_core.export.lists.pictures import Pictures
from perpo_core.export.lists.ranked import Ranked, Row
from schemas.arrow import EXPORTED_LISTS

LOADS = """`datasets` opens it with pictures, and TRL's `DPOTrainer` (1.16) trains on it as it is,
on the best against the worst answer:

```python
from datasets import load_dataset

lists = load_dataset("parquet", data_files="lists-*.parquet", split="train")
best = lists[0]["responses"][0]["text"], lists[0]["responses"][0]["reward"]
```

For `DPOTrainer`: `max_length=None`, `precompute_ref_log_probs=False`."""


def build_rows(ranked: Ranked, pairs: Sequence[Pair], pictures: Pictures) -> Iterator[Row]:
    """One row, the list."""
    del pairs
    yield {
        "sample_id": ranked.sample_id,
        "task": ranked.task,
        "images": pictures.embed(ranked.images),
        "prompt": ranked.messages,
        "chosen": as_messages(ranked.answers[0]["text"]),
        "rejected": as_messages(ranked.answers[-1]["text"]),
        "responses": ranked.answers,
        "reward_gap": ranked.gap,
        "target": ranked.target,
    }


FORMAT = Format(
    files=Parquet("lists", EXPORTED_LISTS),
    build_rows=build_rows,
    choices=("list",),
    loads=LOADS,
    placeholders='a part `{"type": "image"}` of `content`, one for each of `images` in their order',
    lost="nothing of a list",
)
