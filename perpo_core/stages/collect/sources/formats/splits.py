"""The split that a record is in: as it says, as its file is called, as the source's settings say.

What published data sets call their splits is theirs: val and dev are validation, testA and testB,
the people and the objects of RefCOCO, are test.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Any

from schemas.base import SPLITS, Split
from schemas.sources import ConvertedSource

OFFICIAL: dict[str, Split] = {
    **{split: split for split in SPLITS},
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "testa": "test",
    "testb": "test",
}
SHARD = re.compile(r"(?:.*/)?([A-Za-z]+)(?:-\d+-of-\d+[^/]*\.parquet|/data-\d+-of-\d+\.arrow)")
"""How `datasets` calls the files of a split."""


def find_split(said: Any, file: str, config: ConvertedSource) -> Any:
    """One of ours, None where nothing says one, or what the record says, which is refused."""
    name = said if said not in (None, "") else file
    for pattern, split in config.splits.items():
        if fnmatchcase(str(name), pattern):
            return split
    if said not in (None, ""):
        return OFFICIAL.get(str(said).lower(), said)
    shard = SHARD.fullmatch(file)
    return OFFICIAL.get(shard[1].lower()) if shard else None
