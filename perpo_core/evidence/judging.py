"""From what every run answered to what can be said of the methods.

Everything is of the test split, which chose nothing. A method's change is against the answers of
the start policy in its own runs (they are the same unless its settings ask for other answers); two
methods are compared on the same prompts and seeds.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from perpo_core.evidence.best_of_n import compute_best_of_n
from perpo_core.evidence.bootstrap import compare_methods
from perpo_core.evidence.choosing import Criterion
from perpo_core.evidence.headroom import compute_headroom
from perpo_core.evidence.holm import judge_family
from perpo_core.evidence.trials import Settings
from perpo_core.evidence.values import Values, require_same_samples, stack
from perpo_core.evidence.verdicts import describe_result
from perpo_core.stages.evaluate import Answers, build_request, read_answers
from perpo_core.store.store import Store
from schemas.artifact import Checkpoint, EvalReport, SampleSet
from schemas.base import Split, TaskName
from schemas.compare_config import START
from schemas.comparison import (
    ComparisonReport,
    MethodResult,
    Pair,
    Reading,
    SweepPoint,
    TaskResult,
)
from schemas.config import RefreshConfig
from schemas.evidence_statistics import Difference
from schemas.run import PolicyRef

SPLIT: Split = "test"
START_LABEL = "start"


@dataclass(frozen=True)
class Judged:
    """A method's runs at its best setting, by seed."""

    method: str
    sweep: Sequence[SweepPoint]
    chosen: Settings
    config: RefreshConfig
    """Of the first seed's run."""
    checkpoints: Sequence[Checkpoint]
    evaluations: Sequence[EvalReport]

    def is_asked_like(self, other: Judged) -> bool:
        """Whether held-out answers are sampled and judged in the same way."""
        return self.config.score == other.config.score and build_request(
            self.config
        ) == build_request(other.config)


@dataclass(frozen=True)
class Statistician:
    """How differences are told."""

    resamples: int
    seed: int

    def compare(self, first_SP: Values, second_SP: Values, images: Sequence[str]) -> Difference:
        """Of second minus first."""
        return compare_methods(first_SP, second_SP, images, self.resamples, self.seed)


@dataclass(frozen=True)
class Side:
    """What one policy, or one a seed, answered to a task's test prompts."""

    answers: Sequence[Answers]
    values: Mapping[str, Values]
    """Metric name -> [S, P]."""

    @classmethod
    def build(cls, answers: Sequence[Answers]) -> Side:
        return cls(answers, stack(answers))


def judge(
    store: Store,
    config: RefreshConfig,
    policy: PolicyRef,
    samples: SampleSet,
    criteria: tuple[Criterion, Criterion],
    start_evaluation: EvalReport,
    judged: Sequence[Judged],
) -> ComparisonReport:
    """What `perpo compare` reports; raises ValueError where answers cannot be compared.

    `criteria`: what chose the settings, and what ranks. The start's best of n is sampled and judged
    as the first method's answers are: who is asked otherwise has no share of that headroom.
    """
    chooses, judges = criteria
    statistician = Statistician(config.compare.resamples, config.evaluate.seed)
    before = {each.method: _read_sides(store, each.evaluations, "base") for each in judged}
    after = {each.method: _read_sides(store, each.evaluations, "trained") for each in judged}
    start = _read_sides(store, [start_evaluation], "base")
    for task, side in start.items():
        sides = [side, *(each[task] for each in (*before.values(), *after.values()))]
        require_same_samples([each.answers[0].sample_ids for each in sides])
    best_of = {
        task: _compute_best(side.answers[0])[:, : config.compare.best_of]
        for task, side in start.items()
    }
    methods = [
        _describe_method(
            config, each, before[each.method], after[each.method],
            best_of if each.is_asked_like(judged[0]) else {}, statistician,
        )
        for each in judged
    ]  # fmt: skip
    # As many sampled answers as the methods have: a best of n is compared with one of the same n.
    contenders = {START: _read_sides(store, judged[0].evaluations[:1], "base"), **after}
    pairs = compare_pairs(
        {name: sides[judges.task] for name, sides in contenders.items()},
        judges,
        statistician,
    )
    report = ComparisonReport(
        name=config.name,
        policy_digest=policy.digest,
        samples_digest=samples.digest,
        task=judges.task,
        judge_by=judges.name,
        choose_by=chooses.name,
        num_seeds=config.compare.seeds,
        num_prompts={task: len(side.answers[0].sample_ids) for task, side in start.items()},
        start=_describe_start(start, best_of),
        methods=methods,
        pairs=pairs,
        verdicts=[],
    )
    return report.model_copy(update={"verdicts": list(describe_result(report))})


def compare_pairs(
    sides: Mapping[str, Side], judges: Criterion, statistician: Statistician
) -> list[Pair]:
    """Every two, the better mean first, with Holm's correction over all of them."""
    names, differences = [], []
    for pair in itertools.combinations(sides, 2):
        means = [float(sides[name].values[judges.metric].mean()) for name in pair]
        worse, better = pair if (means[1] > means[0]) != judges.is_lower_better else pair[::-1]
        names.append((better, worse))
        images = sides[better].answers[0].images
        first_SP, second_SP = (sides[name].values[judges.metric] for name in (worse, better))
        differences.append(statistician.compare(first_SP, second_SP, images))
    return [
        Pair(
            better=better,
            worse=worse,
            difference=verdict.difference,
            p_holm=verdict.p_adjusted,
            is_clear=verdict.direction != "open",
        )
        for (better, worse), verdict in zip(names, judge_family(differences), strict=True)
    ]


def _read_sides(
    store: Store, evaluations: Sequence[EvalReport], policy: str
) -> dict[TaskName, Side]:
    by_seed = [read_answers(store, evaluation, SPLIT, policy) for evaluation in evaluations]
    return {task: Side.build([answers[task] for answers in by_seed]) for task in by_seed[0]}


def _describe_start(
    start: Mapping[TaskName, Side], best_of: Mapping[TaskName, Values]
) -> MethodResult:
    tasks = {
        task: TaskResult(
            metrics={name: _read(values) for name, values in side.values.items()},
            best_of_n=best_of[task].mean(axis=0).tolist(),
        )
        for task, side in start.items()
    }
    return MethodResult(name=START, label=START_LABEL, settings={}, tasks=tasks)


def _describe_method(
    config: RefreshConfig,
    judged: Judged,
    before: Mapping[TaskName, Side],
    after: Mapping[TaskName, Side],
    best_of: Mapping[TaskName, Values],
    statistician: Statistician,
) -> MethodResult:
    method = config.compare.methods[judged.method]
    tasks = {
        task: _describe_task(before[task], side, best_of.get(task), statistician)
        for task, side in after.items()
    }
    return MethodResult(
        name=judged.method,
        label=method.label or judged.method,
        settings={**method.settings, **judged.chosen},
        sweep=list(judged.sweep),
        steps=[checkpoint.history[-1].step for checkpoint in judged.checkpoints],
        tasks=tasks,
    )


def _describe_task(
    before: Side, after: Side, best_of_PN: Values | None, statistician: Statistician
) -> TaskResult:
    images = after.answers[0].images
    metrics = {
        name: _read(values_SP).model_copy(
            update={"change": statistician.compare(before.values[name], values_SP, images)}
        )
        for name, values_SP in after.values.items()
    }
    return TaskResult(
        metrics=metrics,
        best_of_n=_build_curve(after),
        headroom_closed=None
        if best_of_PN is None
        else compute_headroom(
            after.values["greedy_reward"],
            before.values["greedy_reward"][0],
            best_of_PN[:, -1],
            images,
            statistician.resamples,
            statistician.seed,
        ),
    )


def _read(values_SP: Values) -> Reading:
    return Reading(
        value=float(values_SP.mean()), per_seed=[float(mean) for mean in values_SP.mean(axis=1)]
    )


def _build_curve(side: Side) -> list[float]:
    """Mean over prompts and seeds for n = 1, 2, ..., sampled answers."""
    curves = [_compute_best(answers).mean(axis=0) for answers in side.answers]
    return [float(value) for value in np.mean(curves, axis=0)]


def _compute_best(answers: Answers) -> Values:
    """[P, N], for n = 1, ..., N"""
    return compute_best_of_n(answers.sampled_P_N, answers.sampled_P_N.shape[1])
