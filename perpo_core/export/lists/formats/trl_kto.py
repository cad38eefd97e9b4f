"""trl-kto: answers labelled good and bad as TRL's KTOTrainer takes them, in Parquet.

Read in TRL 1.16: trl/trainer/kto_trainer.py (prompt, completion, label and images; chosen and
rejected beside images are refused). An answer has one label, so that only choices in which none is
better here and worse there can be made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perpo_core.export.lists.files import Parquet
from perpo_core.export.lists.format import Format
from perpo_core.export.lists.messages import as_messages
from perpo_core.export.lists.pairs import Pair
from perpo_core.export.lists.pictures import Pictures
from perpo_core.export.lists.ranked import Ranked, Row
from schemas.arrow import EXPORTED_ANSWERS

LOADS = """TRL's `KTOTrainer` (1.16):

```python
from datasets import load_dataset
from trl import KTOConfig, KTOTrainer

answers = load_dataset("parquet", data_files="answers-*.parquet", split="train")
args = KTOConfig("out", max_length=None)  # cutting a prompt would cut its image
KTOTrainer("MODEL", args=args, train_dataset=answers).train()
```"""


def build_rows(ranked: Ranked, pairs: Sequence[Pair], pictures: Pictures) -> Iterator[Row]:
    """One row an answer, each once: true where it is the better one of its pairs."""
    labelled = [(pair.better, True) for pair in pairs[:1]] + [(pair.worse, False) for pair in pairs]
    for answer, label in labelled:
        yield {
            "sample_id": ranked.sample_id,
            "task": ranked.task,
            "images": pictures.embed(ranked.images),
            "prompt": ranked.messages,
            "completion": as_messages(answer["text"]),
            "label": label,
            "reward": answer["reward"],
        }


FORMAT = Format(
    files=Parquet("answers", EXPORTED_ANSWERS),
    build_rows=build_rows,
    choices=("best-worst", "best-rest"),
    loads=LOADS,
    placeholders='a part `{"type": "image"}` of `content`, one for each of `images` in their order',
    lost="which answer was compared with which, token ids, log-probabilities, the truth",
)
