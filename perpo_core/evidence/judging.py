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

from perpo_core.evidence.best_of_n import estimate_best_of_n
from perpo_core.evidence.bootstrap import compare_methods
from perpo_core.evidence.choosing import Criterion
from perpo_core.evidence.headroom import compute_headroom_closed
from perpo_core.evidence.holm import adjust
from perpo_core.evidence.trials import Settings
from perpo_core.evidence.values import Values, stack
from perpo_core.evidence.verdicts import describe_result
from perpo_core.stages.evaluate import Answers, read_answers
from perpo_core.store.store import Store
from schemas.artifact import Checkpoint, EvalReport, SampleSet
from schemas.base import TaskName
from schemas.compare_config import START
from schemas.comparison import ComparisonReport, MethodResult, Pair, Reading, SweepPoint, TaskResult
from schemas.config import RefreshConfig
from schemas.evidence_statistics import Difference
from schemas.run import PolicyRef

SPLIT = "test"
CLEAR = 0.05
START_LABEL = "start"


@dataclass(frozen=True)
class Judged:
    """A method's runs at its best setting, by seed."""

    method: str
    sweep: Sequence[SweepPoint]
    chosen: Settings
    checkpoints: Sequence[Checkpoint]
    evaluations: Sequence[EvalReport]


@dataclass(frozen=True)
class Statistician:
    """How differences are told."""

    resamples: int
    seed: int
    best_of: int

    def compare(self, first_SP: Values, second_SP: Values, images: Sequence[str]) -> Difference:
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
    chooses: Criterion,
    judges: Criterion,
    judged: Sequence[Judged],
) -> ComparisonReport:
    """What `perpo compare` reports; raises ValueError where answers cannot be compared."""
    evaluate = config.evaluate
    best_of = min(config.compare.best_of, evaluate.num_samples)
    statistician = Statistician(evaluate.bootstrap_resamples, evaluate.seed, best_of)
    before = {each.method: _read_sides(store, each.evaluations, "base") for each in judged}
    after = {each.method: _read_sides(store, each.evaluations, "trained") for each in judged}
    start = {task: Side.build(side.answers[:1]) for task, side in before[judged[0].method].items()}
    methods = [
        _describe_method(config, each, before[each.method], after[each.method], statistician)
        for each in judged
    ]
    contenders = {START: start, **after}
    pairs = compare_pairs(
        {name: sides[judges.task] for name, sides in contenders.items()}, judges, statistician
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
        start=_describe_start(start, statistician),
        methods=methods,
        pairs=pairs,
        verdicts=[],
    )
    return report.model_copy(update={"verdicts": list(describe_result(report))})


def compare_pairs(
    sides: Mapping[str, Side], judges: Criterion, statistician: Statistician
) -> list[Pair]:
    """Every two, the better mean first, with Holm's correction over all of them."""
    found = []
    for pair in itertools.combinations(sides, 2):
        means = [float(sides[name].values[judges.metric].mean()) for name in pair]
        worse, better = pair if (means[1] > means[0]) != judges.is_lower_better else pair[::-1]
        difference = statistician.compare(
            sides[better].values[judges.metric],
            sides[worse].values[judges.metric],
            sides[better].answers[0].images,
        )
        found.append((better, worse, difference))
    adjusted = adjust([difference.p_value for _, _, difference in found])
    return [
        Pair(better=better, worse=worse, difference=difference, p_holm=p, is_clear=p < CLEAR)
        for (better, worse, difference), p in zip(found, adjusted, strict=True)
    ]


def _read_sides(
    store: Store, evaluations: Sequence[EvalReport], policy: str
) -> dict[TaskName, Side]:
    by_seed = [read_answers(store, evaluation, SPLIT, policy) for evaluation in evaluations]
    return {task: Side.build([answers[task] for answers in by_seed]) for task in by_seed[0]}


def _describe_start(start: Mapping[TaskName, Side], statistician: Statistician) -> MethodResult:
    tasks = {
        task: TaskResult(
            metrics={name: _read(values) for name, values in side.values.items()},
            best_of_n=_build_curve(side, statistician),
        )
        for task, side in start.items()
    }
    return MethodResult(name=START, label=START_LABEL, settings={}, tasks=tasks)


def _describe_method(
    config: RefreshConfig,
    judged: Judged,
    before: Mapping[TaskName, Side],
    after: Mapping[TaskName, Side],
    statistician: Statistician,
) -> MethodResult:
    method = config.compare.methods[judged.method]
    tasks = {task: _describe_task(before[task], side, statistician) for task, side in after.items()}
    return MethodResult(
        name=judged.method,
        label=method.label or judged.method,
        settings={**method.settings, **judged.chosen},
        sweep=list(judged.sweep),
        steps=[checkpoint.history[-1].step for checkpoint in judged.checkpoints],
        tasks=tasks,
    )


def _describe_task(before: Side, after: Side, statistician: Statistician) -> TaskResult:
    images = after.answers[0].images
    metrics = {
        name: _read(values_SP).model_copy(
            update={"change": statistician.compare(values_SP, before.values[name], images)}
        )
        for name, values_SP in after.values.items()
    }
    headroom = compute_headroom_closed(
        after.values["greedy_reward"],
        before.values["greedy_reward"],
        _estimate_most(before, statistician),
        images,
        statistician.resamples,
        statistician.seed,
    )
    return TaskResult(
        metrics=metrics, best_of_n=_build_curve(after, statistician), headroom_closed=headroom
    )


def _read(values_SP: Values) -> Reading:
    return Reading(
        value=float(values_SP.mean()), per_seed=[float(mean) for mean in values_SP.mean(axis=1)]
    )


def _build_curve(side: Side, statistician: Statistician) -> list[float]:
    """Mean over prompts and seeds for n = 1, 2, ..., best_of."""
    curves = [
        estimate_best_of_n(answers.sampled_P_N)[:, : statistician.best_of].mean(axis=0)
        for answers in side.answers
    ]
    return [float(value) for value in np.mean(curves, axis=0)]


def _estimate_most(side: Side, statistician: Statistician) -> Values:
    """[S, P] expected reward of the best of `best_of` samples."""
    column = statistician.best_of - 1
    return np.stack([estimate_best_of_n(each.sampled_P_N)[:, column] for each in side.answers])
