"""One run among others: what it measured, how it ended, and what changed since the run before.

Numbers come from the run's report.json, which outlives its artifacts
(perpo_core/housekeeping/__init__.py). A run without one, such as a failed run, is there with what
its record says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from perpo_core.promotion.approvals import load_approvals
from perpo_core.promotion.pointer import find_line, load_history
from perpo_core.report.load import find_stopped_stage
from perpo_core.store.lenient import Unreadable, parse_dropping
from perpo_core.store.store import Store
from schemas.report import Report
from schemas.run import RunRecord

Outcome = Literal[
    "promoted", "promoted before", "rolled back", "waiting for approval", "rejected",
    "not promoted", "completed", "failed", "unfinished",
]  # fmt: skip
MAX_DIFFERENCES = 8  # more settings than a reader compares; the rest is counted
UNTOLD = ("name", "store")


@dataclass(frozen=True)
class Night:
    """One run."""

    record: RunRecord
    report: Report | None
    """None where it wrote none, or one of another version."""
    outcome: Outcome
    differences: tuple[str, ...]
    """From the run of the same name before it."""


def list_nights(store: Store, records: Sequence[RunRecord]) -> list[Night]:
    """Runs of one name, oldest first, each compared with the one before."""
    history = load_history(store)
    moved = {entry.promotion_key for entry in history if not entry.rolled_back}
    standing = {entry.promotion_key for entry in find_line(history)}
    answers = {entry.promotion_key: entry.answer for entry in load_approvals(store)}
    reports = load_reports(store, records)
    nights: list[Night] = []
    seen: set[str] = set()
    for record, report in zip(records, reports, strict=True):
        entry = record.stages.get("promote")
        outcome = find_outcome(record, moved, standing, answers, seen)
        before = nights[-1] if nights else None
        differences = tuple(describe_differences(before, record, report)) if before else ()
        nights.append(Night(record, report, outcome, differences))
        seen |= {entry.key} if entry else set()
    return nights


def load_reports(store: Store, records: Sequence[RunRecord]) -> list[Report | None]:
    """report.json of every run as far as this version reads it; None if there is none of use."""
    names = [f"reports/{record.run_id}/report.json" for record in records]
    bodies = store.read_all(names)
    return [_parse_report(store, name, bodies.get(name)) for name in names]


def _parse_report(store: Store, name: str, body: bytes | None) -> Report | None:
    try:
        return None if body is None else parse_dropping(Report, body, "report")[0]
    except Unreadable as damage:
        store.leave_out(name, str(damage))
        return None


def find_outcome(
    record: RunRecord,
    moved: set[str | None],
    standing: set[str | None],
    answers: dict[str, Any],
    seen: set[str],
) -> Outcome:
    """How a run ended.

    `moved` are the decisions that moved the pointer, `standing` those that no roll-back undid,
    `seen` those of earlier runs.
    """
    if record.status != "completed":
        return "failed" if record.status == "failed" else "unfinished"
    entry = record.stages.get("promote")
    if entry is None:
        return "completed"
    if entry.key in moved and entry.key not in standing:
        return "rolled back"
    if entry.key in moved:
        return "promoted before" if entry.key in seen else "promoted"
    if answers.get(entry.key) in ("waiting", "rejected"):
        return "rejected" if answers[entry.key] == "rejected" else "waiting for approval"
    return "not promoted"


def describe_differences(before: Night, record: RunRecord, report: Report | None) -> Iterator[str]:
    """Policy, samples and settings that are not as in the run before, a line each."""
    if record.policy_digest != before.record.policy_digest:
        digests = before.record.policy_digest[:12], record.policy_digest[:12]
        yield f"policy {digests[0]} \u2192 {digests[1]}"
    yield from _compare_samples(before, record, report)
    settings = list(_compare_settings(before.record, record))
    yield from settings[:MAX_DIFFERENCES]
    if len(settings) > MAX_DIFFERENCES:
        yield f"and {len(settings) - MAX_DIFFERENCES} more settings"


def _compare_samples(before: Night, record: RunRecord, report: Report | None) -> Iterator[str]:
    entries = before.record.stages.get("collect"), record.stages.get("collect")
    if not all(entries) or entries[0].digest == entries[1].digest:  # type: ignore[union-attr]
        return
    counts = [each.counts.get("collect") if each else None for each in (before.report, report)]
    if counts[0] is None or counts[1] is None:
        yield "other samples"
        return
    old, new = counts[0].num_kept, counts[1].num_kept
    change = f"{new - old:+,}".replace("-", "\u2212") if new != old else "as many, but others"
    yield f"samples {old:,} \u2192 {new:,} ({change})"


def _compare_settings(before: RunRecord, record: RunRecord) -> Iterator[str]:
    old, new = (
        _flatten(before.config.model_dump(mode="json") | before.unread),
        _flatten(record.config.model_dump(mode="json") | record.unread),
    )
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name) and name not in UNTOLD:
            yield f"{name} {_show(old, name)} \u2192 {_show(new, name)}"


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        nested = _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else None
        flat |= nested if nested is not None else {f"{prefix}{name}": value}
    return flat


def _show(values: dict[str, Any], name: str) -> str:
    if name not in values or values[name] is None:
        return "none"
    value = values[name]
    if isinstance(value, list):
        return ", ".join(str(each) for each in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def describe_failure(record: RunRecord) -> str:
    """Where and why a run ended, in a sentence."""
    stage = find_stopped_stage(record)
    where = f"stopped in {stage}" if stage else "stopped after its last stage"
    why = (record.error or "").partition("\n")[0]  # the rest is a log's last lines
    return f"{record.run_id} {where}" + (f": {why}" if why else "")
