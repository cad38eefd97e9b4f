"""`perpo tune`: trials of train and evaluate, one after the other, and questions in between.

    a trial that a kill cut off, else a new one:  questions -> settings -> run -> its objectives

Every trial is an ordinary run under a name of its own, up to evaluate: samples, answers, scores and
lists are reused by content, nothing is promoted, and it has its report. The ledger
(perpo_core/tuning/study.py) knows of it before it begins, so that the same command again goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from optuna.distributions import BaseDistribution

from flows.recipes.runner import load_recorded
from flows.recipes.trial import run_trial
from flows.runs.checks import refuse_errors, refuse_full_disk
from flows.runs.records import load_records
from perpo_core.configuration.load import ConfigError, override_config
from perpo_core.policy.resolve import resolve_policy
from perpo_core.process.parent import ChildFailed
from perpo_core.process.troubles import DiskFull, explain
from perpo_core.store.locks import lock_name
from perpo_core.store.open import open_store
from perpo_core.store.store import Store
from perpo_core.tuning.answering import Ask, have_answered
from perpo_core.tuning.objectives import read_objectives
from perpo_core.tuning.ranges import build_distributions, describe_settings, write_overrides
from perpo_core.tuning.standing import compute_standing
from perpo_core.tuning.study import Study, Trial, open_study
from perpo_core.tuning.suggest import suggest
from perpo_core.tuning.words import describe_values
from schemas.artifact import Checkpoint, EvalReport
from schemas.config import RefreshConfig
from schemas.run import PolicyRef, RunRecord

MAX_FAILED_IN_A_ROW = 3
"""Trials, after which something else than their settings is wrong."""
Say = Callable[[str], None]


def tune(
    config: RefreshConfig,
    ask: Ask,
    say: Say,
    showing: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Study:
    """The study of a configuration, until all its trials have ended.

    `ask` is for a person; `showing` is what a trial runs in. Raises ValueError, one sentence, for
    what the user can mend; what the last of three failed trials raised.
    """
    store = open_store(config.store)
    policy = resolve_policy(config.policy, store)
    distributions = build_distributions(config)
    study = open_study(store, config, policy.digest)
    with lock_name(store, study.name) as check:
        refuse_errors(config, policy)
        wanted = ", ".join(objective.label for objective in study.objectives)
        say(f"study {study.name}: {config.tune.trials} trials for {wanted}")
        while (trial := take_next(study, distributions, ask)) is not None:
            check()
            refuse_full_disk(config)
            say(f"trial {trial.number} ({trial.how}): {describe_settings(trial.settings)}")
            try_out(study, trial, policy, showing)
            say(describe_ending(study, trial.number))
    return study


def take_next(study: Study, distributions: dict[str, BaseDistribution], ask: Ask) -> Trial | None:
    """The trial that is to be run now; None when there are no more."""
    running = compute_standing(study).running
    if running is not None:
        return running
    standing = have_answered(study, ask)
    if len(standing.trials) >= standing.config.trials:
        return None
    suggested = suggest(standing, distributions)
    return None if suggested is None else study.begin(suggested[0], distributions, suggested[1])


def try_out(
    study: Study,
    trial: Trial,
    policy: PolicyRef,
    showing: Callable[[], AbstractContextManager[None]],
) -> None:
    """Run a trial, or take the run that a kill left finished, and note what came of it."""
    try:
        settings = [f"name={trial.name}", *write_overrides(trial.settings)]
        config = override_config(study.record.config, settings)
        record = find_finished(study.store, trial, policy)
        if record is None:
            with showing():
                record = run_trial(config)
    except DiskFull:
        raise
    except (ConfigError, ValueError, ChildFailed) as error:
        study.fail(trial, explain(error))
        if is_hopeless(study):
            raise
        return
    finish(study, trial, record, policy)


def find_finished(store: Store, trial: Trial, policy: PolicyRef) -> RunRecord | None:
    """The run of a trial that ended before the ledger was told."""
    found = [
        record
        for record in load_records(store)
        if record.config.name == trial.name
        and record.status == "completed"
        and record.policy_digest == policy.digest
    ]
    return found[-1] if found else None


def is_hopeless(study: Study) -> bool:
    """Whether the last trials all failed."""
    ended = [trial for trial in study.list_trials() if trial.state != "running"]
    last = ended[-MAX_FAILED_IN_A_ROW:]
    return len(last) == MAX_FAILED_IN_A_ROW and all(each.state == "failed" for each in last)


def finish(study: Study, trial: Trial, record: RunRecord, policy: PolicyRef) -> None:
    """Note what a run has of the objectives; raises ValueError where it is no trial of this."""
    if record.policy_digest != policy.digest:
        raise ValueError(
            f"another policy was promoted while study {study.name} went on; the same command "
            "begins a study from that one"
        )
    checkpoint = load_recorded(study.store, record, "train")
    evaluation = load_recorded(study.store, record, "evaluate")
    assert isinstance(checkpoint, Checkpoint) and isinstance(evaluation, EvalReport)
    split = study.record.config.tune.split
    values = read_objectives(study.store, study.objectives, split, checkpoint, evaluation)
    [samples] = [each.digest for each in evaluation.parents if each.kind == "samples"]
    study.finish(trial, values, record.run_id, samples)


def describe_ending(study: Study, number: int) -> str:
    """What came of a trial, in a line."""
    trial = study.list_trials()[number]
    if trial.values is None:
        return f"trial {number} failed: {trial.error}"
    return f"trial {number}: {describe_values(study.objectives, trial.values)}"
