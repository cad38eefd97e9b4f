"""trl: pairs as TRL's DPOTrainer takes them, images inside, in Parquet.

Read in TRL 1.16: trl/data_utils.py (prepare_multimodal_messages fills the image parts in order and
raises where their number is not that of the images), trl/trainer/dpo_trainer.py (prompt, chosen,
rejected and images are kept, other columns left alone).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perpo_core.export.lists.files import Parquet
from perpo_core.export.lists.format import PAIRS, Format
from perpo_core.export.lists.messages import as_messages
from perpo_core.export.lists.pairs import Pair
from perpo_core.export.lists.pictures import Pictures
from perpo_core.export.lists.ranked import Ranked, Row
from schemas.arrow import EXPORTED_PAIRS

LOADS = """TRL's `DPOTrainer` (1.16):

```python
from datasets import load_dataset
from trl import DPOConfig, DPOTrainer

pairs = load_dataset("parquet", data_files="pairs-*.parquet", split="train")
args = DPOConfig("out", max_length=None)  # cutting a prompt would cut its image
DPOTrainer("MODEL", args=args, train_dataset=pairs).train()
```"""


def build_rows(ranked: Ranked, pairs: Sequence[Pair], pictures: Pictures) -> Iterator[Row]:
    """One row a pair."""
    for pair in pairs:
        yield {
            "sample_id": ranked.sample_id,
            "task": ranked.task,
            "images": pictures.embed(ranked.images),
            "prompt": ranked.messages,
            "chosen": as_messages(pair.better["text"]),
            "rejected": as_messages(pair.worse["text"]),
            "chosen_reward": pair.better["reward"],
            "rejected_reward": pair.worse["reward"],
        }


FORMAT = Format(
    files=Parquet("pairs", EXPORTED_PAIRS),
    build_rows=build_rows,
    choices=PAIRS,
    loads=LOADS,
    placeholders='a part `{"type": "image"}` of `content`, one for each of `images` in their order',
    lost="token ids, log-probabilities, the truth; TRL weighs no pair by its rewards",
)
