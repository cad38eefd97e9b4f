"""How many lists of a task hold an answer: what `train.pairs = "popular"` goes by.

Counted once over all lists that are trained on, before the first of them is, so that the loss of a
list does not depend on the batch it lies in, nor on order, processes or steps. The lists alone
decide, which a training's key names. A list counts an answer once; two answers are the same where a
reader sees the same (read_answer).

RosePO (arXiv 2410.12519) rejects popular items, says its abstract; the count is ours. An answer
that is common whatever is asked ("[0.0, 0.0, 1.0, 1.0]", "1") is what a policy says without
looking. Where no answer repeats, as boxes with many digits hardly do, all worse ones tie.

By hand: lists ("7", "3"), ("7", "7", "4") and ("3",) of one task: "7" 2, "3" 2, "4" 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np

from perpo_core.stages.train.closeness import read_answer


class Popularity:
    """An AnswerColumn (perpo_core/stages/train/data.py); 16 bytes an answer, however long it is."""

    def __init__(self, lists: Iterable[tuple[str, Sequence[str]]]) -> None:
        """`lists`: task and texts of the answers of each list."""
        ids = (i for task, texts in lists for i in {_identify(task, text) for text in texts})
        self._ids, self._counts = np.unique(np.fromiter(ids, np.uint64), return_counts=True)

    def __call__(self, row: dict[str, Any]) -> list[float]:
        """Of a list that was counted."""
        ids = [_identify(row["task"], response["text"]) for response in row["responses"]]
        places = np.searchsorted(self._ids, np.array(ids, np.uint64))
        return [float(count) for count in self._counts[places]]


def _identify(task: str, text: str) -> int:
    """The same for the same answer; of two others, with a probability of 2^-64."""
    content = f"{task}\n{read_answer(text)}".encode()
    return int.from_bytes(blake2b(content, digest_size=8).digest())
