"""`perpo compare`: methods against each other, each at its best setting, over several seeds.

    the sweeps of all methods  -> each one's best setting on validation
    a run a method and seed    -> judged on test
    from all of them           -> the report

Within a line all methods' runs are side by side, so that no GPU waits for the end of a method, and
so are the closer looks at what each method's first seed trained. Every trial is an ordinary run up
to evaluate: samples, answers, lists and trainings that the store has are reused by content, and
nothing is promoted. A trial that a run has finished already is taken from that run's record, so
that one more method runs only itself, and the same command goes on after a kill.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from flows.recipes.finished import is_same, list_made
from flows.recipes.runner import load_recorded
from flows.recipes.side_by_side import run_side_by_side
from flows.recipes.trial import run_trial
from flows.runs.checks import refuse_errors, refuse_full_disk
from flows.runs.own_state import run_watched
from flows.runs.records import load_records
from perpo_core.evidence.choosing import (
    Criterion,
    choose,
    get_chosen,
    name_criteria,
)
from perpo_core.evidence.costs import read_cost
from perpo_core.evidence.judging import Judged, judge
from perpo_core.evidence.same_test import require_same_test
from perpo_core.evidence.trials import (
    Trial,
    build_start,
    check_trials,
    describe_trial,
    list_judged,
    list_settings,
    list_sources,
    list_sweep,
)
from perpo_core.evidence.writing import write_comparison
from perpo_core.policy.resolve import resolve_policy
from perpo_core.process.parent import ChildFailed
from perpo_core.process.troubles import DiskFull, explain
from perpo_core.store.locks import Check, lock_name
from perpo_core.store.open import open_store
from perpo_core.store.store import Store
from schemas.artifact import Checkpoint, EvalReport, SampleSet
from schemas.base import TaskName
from schemas.comparison import (
    ComparisonCosts,
    ComparisonReport,
    SweepPoint,
    TaskLook,
    TrialCost,
)
from schemas.config import RefreshConfig
from schemas.run import PolicyRef, RunRecord
from tasks.look import look
from tasks.stages import STAGE_TASKS
from tasks.watch import get_watcher, watched_by

Failure = ValueError | ChildFailed
Tried = tuple[Trial, RunRecord | Failure]
"""A trial and its record, or why it failed."""


def name_compare() -> str:
    """Such as "compare digits"."""
    config: Any = flow_run.parameters["config"]
    return f"compare {config['name'] if isinstance(config, dict) else config.name}"


@flow(name="compare", flow_run_name=name_compare, persist_result=False)
def compare(config: RefreshConfig) -> ComparisonReport:
    """The methods of [compare] against each other and against the policy they begin from.

    Raises ValueError, one sentence, for what the user can mend; ChildFailed if an engine broke.
    """
    return run_watched(lambda: run_comparison(config))


def run_comparison(config: RefreshConfig) -> ComparisonReport:
    """What `compare` does."""
    check_trials(config)
    store = open_store(config.store)
    with lock_name(store, f"compare-{config.name}") as check:
        policy = resolve_policy(config.policy, store)
        refuse_errors(config, policy)
        samples = collect(config, policy)
        criteria = name_criteria(config.compare, samples.per_split)
        for trial in list_sources(config):
            require_same_test(store, samples, collect(trial.config, policy), trial.method)
        trials = Trials(config, store, policy, check)
        judged = judge_methods(trials, choose_settings(trials, criteria[0]))
        start = find_start(trials, judged[0])
        report = judge(store, config, policy, samples, criteria, start, judged)
        costs = ComparisonCosts(trials=trials.costs)
        try:
            looks = look_at_all(trials, samples, judged) if config.compare.look else {}
        except DiskFull:
            raise
        except (ValueError, ChildFailed) as error:
            path = write_comparison(store, config.name, report, costs)
            raise ValueError(
                f"a closer look failed, and what was judged is in {path}: {explain(error)}"
            ) from error
        report = report.add_looks(looks)
        write_comparison(store, config.name, report, costs)
        return report


def collect(config: RefreshConfig, policy: PolicyRef) -> SampleSet:
    """What trials share, to see which tasks there are."""
    state: Any = STAGE_TASKS["collect"](config, policy, False, return_state=True)
    samples: SampleSet = state.result()
    return samples


@dataclass
class Trials:
    """Runs trials, or takes what runs have finished already."""

    config: RefreshConfig
    store: Store
    policy: PolicyRef
    check: Check
    """Raises ValueError once another machine may compare the same."""
    costs: list[TrialCost] = field(default_factory=list)

    def run(self, trials: Sequence[Trial]) -> list[RunRecord | Failure]:
        """The record of each, or why it failed."""
        finished = self._find_finished()
        works = [partial(self._take_or_run, trial, finished) for trial in trials]
        found = run_side_by_side(works, self.config.compare.side_by_side)
        for trial, record in zip(trials, found, strict=True):
            if isinstance(record, RunRecord):
                self.costs.append(read_cost(self.store, trial, record))
        return found

    def run_all(self, trials: Mapping[str, Sequence[Trial]]) -> dict[str, list[Tried]]:
        """The trials of all methods at once, and what came of each, by method."""
        flat = [trial for tried in trials.values() for trial in tried]
        found = iter(zip(flat, self.run(flat), strict=True))
        return {method: list(islice(found, len(tried))) for method, tried in trials.items()}

    def load(self, record: RunRecord) -> tuple[Checkpoint, EvalReport]:
        """What it trained, and what that is worth."""
        checkpoint = load_recorded(self.store, record, "train")
        evaluation = load_recorded(self.store, record, "evaluate")
        assert isinstance(checkpoint, Checkpoint) and isinstance(evaluation, EvalReport)
        return checkpoint, evaluation

    def _find_finished(self) -> dict[str, RunRecord]:
        """What a trial is -> the newest run that finished it."""
        return {
            describe_trial(record.config): record
            for record in load_records(self.store)
            if record.status == "completed" and record.policy_digest == self.policy.digest
        }

    def _take_or_run(self, trial: Trial, finished: dict[str, RunRecord]) -> RunRecord | Failure:
        record = finished.get(describe_trial(trial.config))
        if record is not None and self._is_current(record, trial.config):
            return record
        self.check()
        refuse_full_disk(trial.config)
        try:
            with get_watcher().splitting(trial.name) as watcher, watched_by(watcher):
                record = run_trial(trial.config)
        except DiskFull:
            raise
        except (ValueError, ChildFailed) as error:
            return error
        if record.policy_digest != self.policy.digest:
            raise ValueError(
                f"another policy was promoted while {self.config.name} was compared; the same "
                "command compares from that one, and a folder in policy.model from one that stays"
            )
        return record

    def _is_current(self, record: RunRecord, config: RefreshConfig) -> bool:
        return is_same(record, config, list_made(self.store, config, self.policy))


def judge_methods(trials: Trials, sweeps: Mapping[str, list[SweepPoint]]) -> list[Judged]:
    """Each method at its best setting, under every seed; raises ValueError if one run failed."""
    # A sweep of one value leaves nothing to choose, and is the method's setting all the same.
    chosen = {
        method: get_chosen(sweep) or list_settings(trials.config, method)[0]
        for method, sweep in sweeps.items()
    }
    found = trials.run_all(
        {method: list_judged(trials.config, method, chosen[method]) for method in sweeps}
    )
    return [
        Judged(
            method, sweep, chosen[method], found[method][0][0].config, *_load(trials, found[method])
        )
        for method, sweep in sweeps.items()
    ]


def _load(
    trials: Trials, found: Sequence[Tried]
) -> tuple[Sequence[Checkpoint], Sequence[EvalReport]]:
    for trial, record in found:
        if not isinstance(record, RunRecord):
            raise ValueError(f"{trial.name} failed, and every seed is needed: {explain(record)}")
    loaded = [trials.load(record) for _, record in found if isinstance(record, RunRecord)]
    checkpoints, evaluations = zip(*loaded, strict=True)
    return checkpoints, evaluations


def look_at_all(
    trials: Trials, samples: SampleSet, judged: Sequence[Judged]
) -> dict[str, dict[TaskName, TaskLook]]:
    """Method -> what its first seed shows beside the metrics."""
    works = [partial(look_at, trials, samples, each) for each in judged]
    looks = run_side_by_side(works, trials.config.compare.side_by_side)
    return {each.method: found for each, found in zip(judged, looks, strict=True)}


def look_at(trials: Trials, samples: SampleSet, judged: Judged) -> dict[TaskName, TaskLook]:
    """Of one method."""
    trials.check()
    with get_watcher().splitting(judged.config.name) as watcher, watched_by(watcher):
        watcher.note("a closer look")
        first = judged.checkpoints[0], judged.evaluations[0]
        return look(judged.config, trials.policy, samples, *first)


def find_start(trials: Trials, judged: Judged) -> EvalReport:
    """The evaluation whose base answers tell what the start policy could reach."""
    trial = build_start(trials.config, judged.method, judged.chosen)
    if trial is None:
        return judged.evaluations[0]
    [record] = trials.run([trial])
    if not isinstance(record, RunRecord):
        raise ValueError(f"{trial.name} failed, which tells the headroom: {explain(record)}")
    return trials.load(record)[1]


def choose_settings(trials: Trials, by: Criterion) -> dict[str, list[SweepPoint]]:
    """Every method's settings with what each has on validation; [] for one without a sweep.

    Raises ValueError, one sentence, for a method of which every setting failed.
    """
    methods = trials.config.compare.methods
    found = trials.run_all({method: list_sweep(trials.config, method) for method in methods})
    return {
        method: choose([_read_point(trials, each, by) for each in tried], by, method)
        if tried
        else []
        for method, tried in found.items()
    }


def _read_point(trials: Trials, tried: Tried, by: Criterion) -> SweepPoint:
    trial, record = tried
    settings = dict(trial.settings)
    if isinstance(record, ChildFailed):  # without paths and last lines, which never are the same
        return SweepPoint(settings=settings, error=f"{record.module} {record.reason}")
    if isinstance(record, ValueError):
        return SweepPoint(settings=settings, error=explain(record))
    return SweepPoint(settings=settings, value=by.read(trials.load(record)[1]))
