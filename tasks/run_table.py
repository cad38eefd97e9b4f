"""One table of a run for its page in the UI: what it used and made, and where its report is."""

from __future__ import annotations

from collections.abc import Iterator

from prefect.artifacts import create_markdown_artifact

from perpo_core.report.markdown import escape
from perpo_core.report.tables import format_duration
from perpo_core.store.store import Store
from schemas.artifact import Counts
from schemas.run import RunRecord, StageRecord

SHORT = 12  # digits of a key or digest, as everywhere
HEAD = "| stage | | artifact | digest | key | rows kept | taken over | time |"
RULE = "| --- | --- | --- | --- | --- | ---: | ---: | ---: |"


def publish_run(
    store: Store, record: RunRecord, report_url: str | None, view_url: str | None = None
) -> None:
    """Publish the table, also of a run that stopped halfway."""
    text = "What each stage used and made"
    table = describe_run(store, record, report_url, view_url)
    create_markdown_artifact(table, key="perpo-run", description=text)


def describe_run(
    store: Store, record: RunRecord, report_url: str | None, view_url: str | None = None
) -> str:
    """The table as markdown."""
    link = [f"[Report of {record.run_id}]({report_url})", ""] if report_url else []
    link += [f"[Its lists, samples and answers]({view_url})", ""] if view_url else []
    ended = [escape(record.error.partition("\n")[0]), ""] if record.error else []
    model = escape(record.config.policy.model)
    policy = f"From the policy `{record.policy_digest[:SHORT]}` (policy.model = {model})."
    return "\n".join([*link, *ended, policy, "", HEAD, RULE, *_list_stages(store, record)])


def _list_stages(store: Store, record: RunRecord) -> Iterator[str]:
    for stage in record.config.stages:
        entry = record.stages.get(stage)
        if entry is None:
            yield f"| {stage} | not run | | | | | | |"
            continue
        artifact = store.load(entry.kind, entry.key)
        kept, taken_over = _describe_rows(artifact.counts if artifact else None)
        yield (
            f"| {stage} | {describe_how(entry)} | {entry.kind} | `{entry.digest[:SHORT]}` "
            f"| `{entry.key[:SHORT]}` | {kept} | {taken_over} | {format_duration(entry.seconds)} |"
        )


def describe_how(entry: StageRecord) -> str:
    """reused, made, or made by force."""
    if entry.reused:
        return "reused"
    return "**forced**" if entry.forced else "**made**"


def _describe_rows(counts: Counts | None) -> tuple[str, str]:
    if counts is None:
        return "", ""
    return f"{counts.num_kept:,} of {counts.num_in:,}", f"{counts.num_reused:,}"
