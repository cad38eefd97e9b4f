"""Every row and image of a source of files, with the policy that shall answer them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from perpo_core.doctor.boxes import check_boxes
from perpo_core.doctor.brightness import check_brightness
from perpo_core.doctor.findings import Finding, Level
from perpo_core.doctor.near_duplicates import Looks, report_near_duplicates
from perpo_core.doctor.prompts import check_collected, check_prompts
from perpo_core.doctor.scaling import check_scaling
from perpo_core.doctor.splits import NumImages, check_splits, count_images, count_scenes
from perpo_core.doctor.truths import check_collected_truths, check_truths
from perpo_core.process.troubles import explain
from perpo_core.stages.collect import compute_samples_key
from perpo_core.stages.collect.sources import rows_source
from perpo_core.stages.collect.sources.digits_source import preview_samples
from perpo_core.stages.collect.sources.rows import SampleRow, SetAside
from perpo_core.stages.samples import read_samples
from perpo_core.store.open import open_store
from schemas.artifact import SampleSet
from schemas.config import RefreshConfig
from schemas.sources import DigitsSource, RowsSource

MAX_NAMED_ROWS = 20  # bad rows said one by one; all are counted


def check_source(
    config: RefreshConfig, policy_folder: Path | None = None, policy_digest: str | None = None
) -> Iterator[Finding]:
    """Every row of a source of files; not again when the store already holds its samples.

    `policy_folder`: a sound one, against which prompts and true texts are checked too.
    """
    source = config.source
    try:
        collected, looks = _find_collected(config), Looks()
        rows = [] if collected else list(_read_rows(source, looks))
    except (OSError, ValueError) as error:
        yield Finding("error", f"source: {explain(error)}")
        return
    good = [row for row in rows if not isinstance(row, SetAside)]
    if isinstance(source, DigitsSource):
        yield Finding("ok", "source: digit scenes, exact by construction")
        yield from check_splits(config, count_scenes(source))
    elif collected:
        yield Finding("ok", "source: unchanged since its samples were collected")
        yield from check_splits(config, _count_collected(config, collected))
    else:
        yield from _check_rows(config, source, rows, looks)
    if collected:
        yield from check_collected_truths(config, collected, policy_folder)
    else:
        yield from check_truths(config, policy_folder, good)
    if policy_folder is not None and collected:
        yield from check_collected(config, collected, policy_folder, policy_digest)
    elif policy_folder is not None:
        yield from check_prompts(config, policy_folder, good)
    if good and isinstance(source, RowsSource):
        yield Finding("ok", f"source: {len(good)} rows are usable")


def _read_rows(source: DigitsSource | RowsSource, looks: Looks) -> Iterator[SampleRow | SetAside]:
    """Every row of files; of scenes, which cannot be wrong, a few for their prompts."""
    if isinstance(source, DigitsSource):
        return preview_samples(source)
    return rows_source.check_samples(source, looks.note)


def _check_rows(
    config: RefreshConfig,
    source: RowsSource,
    rows: list[SampleRow | SetAside],
    looks: Looks,
) -> Iterator[Finding]:
    bad = [row for row in rows if isinstance(row, SetAside)]
    good = [row for row in rows if not isinstance(row, SetAside)]
    yield from check_boxes(rows)
    yield from _report_bad_rows(source, bad)
    yield from check_splits(config, count_images(good))
    yield from _report_conflicts(good)
    yield from check_scaling(source, good)
    yield from check_brightness(good)
    yield from report_near_duplicates(good, looks)


def _find_collected(config: RefreshConfig) -> SampleSet | None:
    """The source's samples, if the store holds them."""
    samples = open_store(config.store).load("samples", compute_samples_key(config))
    return samples if isinstance(samples, SampleSet) else None


def _count_collected(config: RefreshConfig, samples: SampleSet) -> NumImages:
    """The parts of the source's samples in the store."""
    store = open_store(config.store)
    if not all(path.is_file() for path in store.paths(samples)):
        # In a bucket: a look fetches nothing, and rows stand for images.
        parts = {name.partition("/"): rows for name, rows in samples.per_split.items()}
        return {(task, split): rows for (task, _, split), rows in parts.items() if rows}
    columns = ["task", "split", "image_id"]
    return count_images(read_samples(store, samples, columns).to_pylist())


def _report_bad_rows(source: RowsSource, bad: list[SetAside]) -> Iterator[Finding]:
    level: Level = "error" if source.on_bad_row == "fail" else "warning"
    passed_over = Counter(row.reason for row in bad if row.is_sound)
    if passed_over:
        counts = ", ".join(f"{number} x {reason}" for reason, number in passed_over.items())
        yield Finding("ok", f"source: records that are not asked about: {counts}")
    bad = [row for row in bad if not row.is_sound]
    for row in bad[:MAX_NAMED_ROWS]:
        yield Finding(level, f"source: {row.detail}")
    if len(bad) > MAX_NAMED_ROWS:
        counts = ", ".join(f"{n} x {what}" for what, n in Counter(r.reason for r in bad).items())
        yield Finding(level, f"source: {len(bad)} bad rows in all: {counts}")


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
