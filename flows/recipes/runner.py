"""Makes the stages of one run through their Prefect tasks and keeps the run's record true.

The record is written after every stage and when the run ends, however it ends: whoever looks sees
how far it got, and `perpo rerun` starts from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from flows.runs.checks import refuse_full_disk
from flows.runs.endings import describe_ending
from flows.runs.links import find_profiles, find_report_url, find_view_url
from flows.runs.records import close_killed, count_runs, load_records, new_run_id, write_record
from perpo_core.process.troubles import DiskFull
from perpo_core.store.left_out import list_left_out
from perpo_core.store.open import open_store
from perpo_core.store.provenance import utc_now
from perpo_core.store.store import DamagedArtifact, Store
from schemas.artifact import AnyArtifact
from schemas.base import ALL_STAGES, StageName
from schemas.config import RefreshConfig
from schemas.run import PolicyRef, RunRecord, RunStatus, StageRecord
from tasks.aside import told_aside
from tasks.run_table import publish_run
from tasks.stages import CACHED, STAGE_TASKS
from tasks.summaries import publish_report
from tasks.watch import get_watcher


class Runner:
    """`runner(stage, *parents)` is the artifact of a stage, made, reused or taken from a record.

    Stages before `start` come from the record `earlier` and are never made; with `only`, the
    stages after `start` take no part, and never do those after `last`. Stages from `force_from` on
    are made anew. With `profile`, profiles of the stages that it makes lie beside the run.
    """

    def __init__(
        self,
        config: RefreshConfig,
        policy: PolicyRef,
        *,
        start: StageName = ALL_STAGES[0],
        only: bool = False,
        last: StageName = ALL_STAGES[-1],
        force_from: StageName | None = None,
        earlier: RunRecord | None = None,
        profile: bool = False,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.check = check
        """Raises ValueError once another machine may run the same (perpo_core/store/locks.py)."""
        self.store = open_store(config.store)
        self.policy = policy
        self.start, self.only, self.earlier = start, only, earlier
        self.last = last
        self.forced = ALL_STAGES[ALL_STAGES.index(force_from) :] if force_from else ()
        started_at = utc_now()
        self.started_s = time.monotonic()
        self.record = RunRecord(
            run_id=new_run_id(self.store, config.name, started_at),
            number=count_runs(self.store) + 1,
            status="running",
            config=config,
            policy_digest=policy.digest,
            policy_folder=self.store.relate(policy.folder),
            started_at=started_at,
            flow_run_id=flow_run.id,
        )
        self.profile = find_profiles(self.store, self.record) if profile else None

    def __call__(self, stage: StageName, *parents: Any) -> AnyArtifact | None:
        self.check()
        if ALL_STAGES.index(stage) < ALL_STAGES.index(self.start):
            return self._take_recorded(stage)
        if (self.only and stage != self.start) or ALL_STAGES.index(stage) > ALL_STAGES.index(
            self.last
        ):
            get_watcher().skip(stage, "not asked for")
            return None
        return self._make(stage, *parents)

    def _make(self, stage: StageName, *parents: Any) -> AnyArtifact:
        """The stage's artifact through its task; raises what the stage raised."""
        watcher = get_watcher()
        watcher.start(stage)
        started_s = time.monotonic()
        with _reporting_failure(stage):
            refuse_full_disk(self.record.config)
            state: Any = STAGE_TASKS[stage](
                self.record.config,
                self.policy,
                stage in self.forced,
                *parents,
                profile=self.profile,
                return_state=True,
            )
            artifact: AnyArtifact = state.result()
        if self.profile and self.profile.is_dir():
            self.store.publish(self.profile)
        self._note(stage, artifact, state.name == CACHED, time.monotonic() - started_s)
        return artifact

    def _take_recorded(self, stage: StageName) -> AnyArtifact:
        """The very artifact the earlier run had, verified."""
        assert self.earlier is not None, "stages can only be left out of a recorded run"
        started_s = time.monotonic()
        get_watcher().start(stage)
        with _reporting_failure(stage):
            artifact = load_recorded(self.store, self.earlier, stage)
        self._note(stage, artifact, True, time.monotonic() - started_s)
        return artifact

    def _note(self, stage: StageName, artifact: AnyArtifact, reused: bool, seconds: float) -> None:
        get_watcher().finish(stage, reused, seconds, artifact.counts)
        entry = StageRecord(
            kind=artifact.kind,
            key=artifact.key,
            digest=artifact.digest,
            reused=reused,
            forced=stage in self.forced and not reused,
            seconds=seconds,
        )
        self.update(stages={**self.record.stages, stage: entry})

    def update(self, **changes: Any) -> None:
        """Change the record, here and on disk."""
        self.record = self.record.model_copy(update=changes)
        write_record(self.store, self.record)

    def end(self, status: RunStatus, error: str | None = None) -> None:
        """Record how and when it ended; the seconds are real ones, even if the clock was set."""
        took = timedelta(seconds=time.monotonic() - self.started_s)
        self.update(status=status, ended_at=self.record.started_at + took, error=error)

    def report(self) -> None:
        """Write report.html and report.json of what the run has, and the page of all runs."""
        from perpo_core.report import write_report  # matplotlib is slow to import

        get_watcher().note("writing the report")
        path = write_report(self.store, self.record)
        self.update(report=path.absolute().relative_to(self.store.root))
        self.report_trends()
        url = find_report_url(self.store, self.record)
        assert url is not None, "the report was written a moment ago"
        with told_aside("report"):
            publish_report(url)
            publish_run(self.store, self.record, url, find_view_url(self.store, self.record))
        get_watcher().note("")

    def report_trends(self) -> None:
        """Write the page of all runs."""
        from perpo_core.report.trends import write_trends  # matplotlib is slow to import

        write_trends(self.store, load_records(self.store))


@contextmanager
def recording(runner: Runner) -> Iterator[None]:
    """The run's record says running inside, and afterwards how it ended."""
    close_killed(runner.store, runner.record.config.name)
    runner.store.prune(time.time())
    runner.update()
    try:
        yield
    except BaseException as error:  # Ctrl-C too: the record must not say "running" for ever
        status, sentence = describe_ending(error)
        with suppress(DiskFull):  # what went wrong first is what shall be told
            runner.end(status, sentence)
            if isinstance(error, Exception):  # whoever interrupts does not want to wait for a page
                runner.report_trends()
                with told_aside("run"):
                    view_url = find_view_url(runner.store, runner.record)
                    publish_run(runner.store, runner.record, None, view_url)
        raise
    finally:
        log_left_out()


def log_left_out() -> None:
    """Name what was left out of the store in the run's log; the command names it besides."""
    for sentence in list_left_out():
        get_run_logger().warning("%s", sentence)


def load_recorded(store: Store, record: RunRecord, stage: StageName) -> AnyArtifact:
    """The artifact a run recorded, verified; raises ValueError if it is not there as it was."""
    advice = f"rerun from {stage} or from a stage before it"
    if stage not in record.stages:
        raise ValueError(f"run {record.run_id} has no {stage} yet; {advice}")
    entry = record.stages[stage]
    artifact = store.load(entry.kind, entry.key)
    if artifact is None:
        raise ValueError(f"the {stage} of run {record.run_id} is not in the store; {advice}")
    if artifact.digest != entry.digest:
        raise ValueError(
            f"the {stage} of run {record.run_id} has been made anew since and came out "
            f"differently; {advice}"
        )
    try:
        store.verify(artifact)
    except DamagedArtifact as damage:
        raise ValueError(f"{damage}; {advice}") from damage
    return artifact


@contextmanager
def _reporting_failure(stage: StageName) -> Iterator[None]:
    try:
        yield
    except BaseException:
        get_watcher().fail(stage)
        raise
