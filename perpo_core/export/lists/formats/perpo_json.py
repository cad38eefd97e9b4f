"""perpo-json: what the official PerPO code trains on (perpo_core/perception/perpo_json.py).

Its loader puts the image before the question itself, and takes the answers in the order of the file
for the order of their rewards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from perpo_core.export.lists.files import JsonArray
from perpo_core.export.lists.format import Format
from perpo_core.export.lists.messages import check_words, write_question
from perpo_core.export.lists.pairs import Pair
from perpo_core.export.lists.pictures import Pictures
from perpo_core.export.lists.ranked import Ranked, Row
from perpo_core.perception.perpo_json import PerpoRecord, write_truth
from perpo_core.perception.rewards.base import Target

LOADS = """The official code (github.com/ningerhhh/PerPO at e39a24a): `--data_path lists.json` and
this folder as its image folder; `--best_of_n` is the number of answers that every list has at
least.
`perpo_core.perception.perpo_json` reads it back."""


def build_rows(ranked: Ranked, pairs: Sequence[Pair], pictures: Pictures) -> Iterator[Row]:
    """One row, the list. Raises CannotSay."""
    del pairs
    question = write_question(ranked)
    answers = [check_words(answer["text"]) for answer in ranked.answers]
    record = PerpoRecord(
        image_id=ranked.images[0],
        image_path=pictures.place(ranked.images[0]),
        question=question,
        answer=write_truth(cast(Target, ranked.target)),
        answers_gen=answers,
        iou_scores=[answer["reward"] for answer in ranked.answers],
    )
    yield record.model_dump()


FORMAT = Format(
    files=JsonArray("lists.json"),
    build_rows=build_rows,
    choices=("list",),
    loads=LOADS,
    placeholders="none: the loader puts the image before the question",
    lost="the task, ids, ranks of ties, token ids, log-probabilities; of a truth its further "
    "accepted forms and what lies beyond two decimals",
)
