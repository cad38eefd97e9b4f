"""Every row and image of a source of files, with the policy that shall answer them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from perpo_core.collect import compute_samples_key
from perpo_core.doctor.settings import check_gates
from perpo_core.doctor.texts import check_texts
from perpo_core.findings import Finding, Level
from perpo_core.sources import jsonl
from perpo_core.sources.rows import SampleRow, SetAside
from perpo_core.store import open_store
from perpo_core.troubles import explain
from schemas.base import SPLITS
from schemas.config import DigitsSource, JsonlSource, RefreshConfig

MAX_NAMED_ROWS = 20  # bad rows said one by one; all are counted


def check_source(config: RefreshConfig, policy_folder: Path | None = None) -> Iterator[Finding]:
    """Every row of a source of files; not again when the store already holds its samples.

    `policy_folder`: a sound one, against which prompts and true texts are checked too.
    """
    source = config.source
    if isinstance(source, DigitsSource):
        yield Finding("ok", "source: digit scenes, exact by construction")
        return
    try:
        key = compute_samples_key(config)
        rows = None if _holds_samples(config, key) else list(_slim_rows(source))
    except (OSError, ValueError) as error:
        yield Finding("error", f"source: {explain(error)}")
        return
    if rows is None:
        yield Finding("ok", "source: unchanged since its samples were collected")
        return
    bad = [row for row in rows if isinstance(row, SetAside)]
    good = [row for row in rows if not isinstance(row, SetAside)]
    yield from _report_bad_rows(source, bad)
    yield from _report_splits(config, good)
    yield from _report_conflicts(good)
    if policy_folder is not None:
        yield from check_texts(config, policy_folder, good)
    if good:
        yield Finding("ok", f"source: {len(good)} rows are usable")


def _holds_samples(config: RefreshConfig, key: str) -> bool:
    return open_store(config.store).load("samples", key) is not None


def _slim_rows(source: JsonlSource) -> Iterator[SampleRow | SetAside]:
    """The check pass without image bytes, so that all rows can be held at once."""
    for row in jsonl.check_samples(source):
        yield row if isinstance(row, SetAside) else {**row, "images": []}


def _report_bad_rows(source: JsonlSource, bad: list[SetAside]) -> Iterator[Finding]:
    level: Level = "error" if source.on_bad_row == "fail" else "warning"
    for row in bad[:MAX_NAMED_ROWS]:
        yield Finding(level, f"source: {row.detail}")
    if len(bad) > MAX_NAMED_ROWS:
        counts = ", ".join(f"{n} x {what}" for what, n in Counter(r.reason for r in bad).items())
        yield Finding(level, f"source: {len(bad)} bad rows in all: {counts}")


def _report_splits(config: RefreshConfig, rows: list[SampleRow]) -> Iterator[Finding]:
    counts = Counter((row["task"], row["split"]) for row in rows)
    if not any(split == "train" for _, split in counts):
        yield Finding("error", "source: the train split is empty; give the source training rows")
    for task in sorted({task for task, _ in counts}):
        for split in SPLITS:
            if not counts[task, split]:
                yield Finding("warning", f"source: {task} has no {split} samples")
    yield from check_gates(config, {task for task, split in counts if split == "validation"})


def _report_conflicts(rows: list[SampleRow]) -> Iterator[Finding]:
    """The same image and question with another truth: allowed, and nearly always a mistake."""
    first: dict[str, str] = {}
    conflicts = [
        (first[row["prompt_id"]], row["row"])
        for row in rows
        if first.setdefault(row["prompt_id"], row["row"]) != row["row"]
    ]
    if conflicts:
        yield Finding(
            "warning",
            f"source: {len(conflicts)} rows ask an earlier row's question with another truth, "
            f"first {conflicts[0][1]} after {conflicts[0][0]}",
        )
