"""The gates of a promotion: what must have been measured, and what was.

Gates look at the validation split only, whose prompts chose nothing. A gate on a task that the
validation split lacks cannot be measured: it is listed as such, it neither passes nor fails, and of
each kind of gate that is configured (min_gain, max_loss) at least one must have been measured, and
one at all, so that nothing is promoted unseen. Gains are signed so that more is better, also for
edit_distance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, get_args

from perpo_core.perception.tasks import LOWER_IS_BETTER
from perpo_core.stages.evaluate import list_metrics
from schemas.artifact import Counts, Gate, Metric, Opponent
from schemas.base import TaskName
from schemas.benchmarks import Benchmarks
from schemas.config import PromoteConfig

FAILED, NOT_MEASURED = "gate failed", "not measured"
Validation = dict[TaskName, dict[str, Metric]]
Kind = Literal["min_gain", "max_loss"]
KINDS: tuple[Kind, ...] = get_args(Kind)
OF_BENCHMARKS = "max_loss_benchmarks"


def compute_gates(
    config: PromoteConfig,
    validation: Validation,
    against: Opponent = "start",
    benchmarks: Benchmarks | None = None,
) -> list[Gate]:
    """Every configured gate and what was measured, in order of kind, task and metric.

    `validation` and `benchmarks` compare the trained policy with the opponent. Raises ValueError if
    a gate names no metric of its task.
    """
    gates = []
    for task, metric, limit in _iterate(config, "min_gain"):
        rule = f"min_gain: lower 95% end of the gain in {metric} > {limit:g}"
        measured = _measure(validation, task, metric, compute_gain_low)
        passed = measured is not None and measured > limit
        gates.append(_build_gate(task, metric, rule, measured, passed, against))
    for task, metric, limit in _iterate(config, "max_loss"):
        rule = f"max_loss: mean gain in {metric} >= {-limit:g}"
        measured = _measure(validation, task, metric, compute_gain)
        passed = measured is not None and measured >= -limit
        gates.append(_build_gate(task, metric, rule, measured, passed, against))
    return gates + list(_build_benchmark_gates(config, benchmarks or {}, against))


def _build_benchmark_gates(
    config: PromoteConfig, benchmarks: Benchmarks, against: Opponent
) -> Iterator[Gate]:
    """A mean alone: a benchmark's answers are not here, so that nothing can be paired."""
    for name, limits in sorted(config.max_loss_benchmarks.items()):
        for metric, limit in sorted(limits.items()):
            found = benchmarks.get(name, {}).get(metric)
            measured = found.gain if found else None
            rule = f"{OF_BENCHMARKS}: gain in {metric} >= {-limit:g}"
            passed = measured is not None and measured >= -limit
            yield _build_gate(f"benchmark {name}", metric, rule, measured, passed, against)


def list_gated(config: PromoteConfig, kind: Kind) -> list[TaskName]:
    """The tasks that a kind of gate names a metric of; "ocr = {}" names none."""
    gates: dict[TaskName, dict[str, float]] = getattr(config, kind)
    return sorted(task for task, limits in gates.items() if limits)


def compute_gain(name: str, metric: Metric) -> float:
    """The mean change, signed so that more is better."""
    return -metric.delta if name in LOWER_IS_BETTER else metric.delta


def compute_gain_low(name: str, metric: Metric) -> float:
    """The pessimistic end of the interval of the gain."""
    return -metric.delta_high if name in LOWER_IS_BETTER else metric.delta_low


def decide(gates: list[Gate]) -> bool:
    """True if no measured gate failed and of each kind that is configured one was measured.

    Kinds are counted for each opponent by itself; without any gate nothing was measured.
    """
    failed = any(not gate.passed for gate in gates if gate.measured is not None)
    return not failed and find_unmeasured(gates) is None


def find_unmeasured(gates: list[Gate]) -> str | None:
    """What nobody has looked at, in words; None if of each kind of gate one was measured."""
    if not gates:
        return "promote.min_gain and promote.max_loss name no metric, so that nothing was measured"
    blind = {_get_kind(gate) for gate in gates}
    blind -= {_get_kind(gate) for gate in gates if gate.measured is not None}
    for against, kind in sorted(blind):
        tasks = {gate.task for gate in gates if _get_kind(gate) == (against, kind)}
        return (
            f"promote.{kind} names only {' and '.join(sorted(tasks))}, of which there are no "
            f"{_name_missing(kind)}, so that no gate of this kind was measured"
        )
    return None


def count_gates(gates: list[Gate]) -> Counts:
    """How many passed, failed, and could not be measured."""
    passed = sum(gate.passed for gate in gates)
    skipped = sum(gate.measured is None for gate in gates)
    dropped = {FAILED: len(gates) - passed - skipped, NOT_MEASURED: skipped}
    return Counts(
        num_in=len(gates),
        num_kept=passed,
        dropped={reason: count for reason, count in dropped.items() if count},
    )


def describe_gate(gate: Gate) -> str:
    """One line for logs and reports."""
    if gate.measured is None:
        return f"gate skipped: {gate.task}, {gate.rule}"
    verdict = "passed" if gate.passed else "failed"
    return f"gate {verdict}: {gate.task}, {gate.rule}; measured {gate.measured:+.4f}"


def _name_missing(kind: str) -> str:
    """What a gate that was not measured would have been measured on."""
    return "scores" if kind == OF_BENCHMARKS else "validation prompts"


def _get_kind(gate: Gate) -> tuple[Opponent, str]:
    return gate.against, gate.rule.partition(":")[0]


def _iterate(config: PromoteConfig, kind: Kind) -> Iterator[tuple[TaskName, str, float]]:
    gates: dict[TaskName, dict[str, float]] = getattr(config, kind)
    for task, limits in sorted(gates.items()):
        for metric, limit in sorted(limits.items()):
            if metric not in list_metrics(task):
                raise ValueError(
                    f"promote.{kind}.{task} names the metric {metric!r}, which {task} does not "
                    f"have; choose one of {', '.join(list_metrics(task))}"
                )
            yield task, metric, limit


def _measure(
    validation: Validation,
    task: TaskName,
    metric: str,
    compute: Callable[[str, Metric], float],
) -> float | None:
    return compute(metric, validation[task][metric]) if task in validation else None


def _build_gate(
    task: TaskName, metric: str, rule: str, measured: float | None, passed: bool, against: Opponent
) -> Gate:
    if against == "champion":
        rule += ", against the policy promoted until now"
    if measured is None:
        missing = _name_missing(rule.partition(":")[0])
        rule += f" (not measured: no {missing} of this task)"
    return Gate(
        task=task, metric=metric, rule=rule, measured=measured, passed=passed, against=against
    )
