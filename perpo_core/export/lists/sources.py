"""Whose the data are: licences and sources of the samples whose lists are in an export."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from perpo_core.export.lists.tally import Tally, shorten
from perpo_core.store.row_reader import read_columns

UNSTATED = "not stated"


def count_licences(parts: Sequence[Path], tally: Tally) -> Counter[tuple[str, str]]:
    """(licence, source) -> lists, the most frequent first; read file by file."""
    kept = np.sort(np.frombuffer(tally.short_ids, dtype=np.uint64))
    found: Counter[tuple[str, str]] = Counter()
    for part in parts:
        rows = read_columns(part, ["sample_id", "licence", "source"])
        ids = np.array([shorten(name) for name in rows["sample_id"].to_pylist()], dtype=np.uint64)
        chosen = rows.filter(np.isin(ids, kept))
        stated = (chosen[name].fill_null("").to_pylist() for name in ("licence", "source"))
        found.update(
            (licence or UNSTATED, source or UNSTATED)
            for licence, source in zip(*stated, strict=True)
        )
    return Counter(dict(found.most_common()))
