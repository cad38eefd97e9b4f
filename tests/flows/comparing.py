"""Whether a whole refresh came out as an undisturbed one: rows, digests and numbers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from perpo_core.store.keys import hash_file
from perpo_core.store.store import Store
from schemas.base import StageName
from tests.flows.whole import list_digests, load_artifact, load_report

PARTS = ("metrics", "validation", "counts")  # of report.json
ROW_KEYS: dict[StageName, tuple[str, ...]] = {
    "generate": ("prompt_id", "index"), "score": ("sample_id", "index"),
    "materialize": ("sample_id",),
}  # fmt: skip


def compare_rows(store: Path, expected: Path, name: str | None = None) -> tuple[int, int]:
    """(lost, doubled) rows of the newest run of that name, over all stages that have rows."""
    lost = doubled = 0
    for stage, key in ROW_KEYS.items():
        rows, wanted = (read_keys(s, stage, key, name) for s in (store, expected))
        lost += len(wanted.keys() - rows.keys())
        doubled += sum(count - 1 for count in rows.values())
    return lost, doubled


def find_differences(store: Path, expected: Path, name: str | None = None) -> list[str]:
    """What is not the same in both: stages by their digest, parts of the report, preferences."""
    report, wanted = load_report(store, name), load_report(expected, name)
    same = {part: report[part] == wanted[part] for part in PARTS}
    same |= {
        stage: digest == list_digests(wanted)[stage]
        for stage, digest in list_digests(report).items()
    }
    same["lists"] = hash_lists(store, name) == hash_lists(expected, name)
    return [part for part, equal in same.items() if not equal]


def read_keys(
    store: Path, stage: StageName, key: tuple[str, ...], name: str | None
) -> Counter[tuple[Any, ...]]:
    """How often each row is there."""
    artifact = load_artifact(store, stage, name)
    rows: Counter[tuple[Any, ...]] = Counter()
    for path in Store(store).paths(artifact):
        table = pq.read_table(path, columns=list(key)).to_pydict()
        rows.update(zip(*(table[column] for column in key), strict=True))
    return rows


def hash_lists(store: Path, name: str | None = None) -> list[str]:
    """Of the files that are trained on."""
    artifact = load_artifact(store, "materialize", name)
    return [hash_file(path) for path in Store(store).paths(artifact)]
