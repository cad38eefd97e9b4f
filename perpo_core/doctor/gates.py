"""Gates that can measure nothing, tasks that no gate looks at, and metrics that a task lacks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from perpo_core.doctor.findings import Finding
from perpo_core.stages.promote.gates import KINDS, Kind, compute_gates, list_gated
from schemas.base import TaskName
from schemas.config import PromoteConfig, RefreshConfig

NOTHING = "configuration: nothing can be promoted"
USUAL_LOSS = 0.01  # of a task that the default names no limit for


def check_metrics(config: RefreshConfig) -> Iterator[Finding]:
    """Gates on metrics that their task does not have."""
    try:
        compute_gates(config.promote, {})
    except ValueError as error:
        yield Finding("error", f"configuration: {error}")


def check_gates(
    config: RefreshConfig, tasks: Sequence[TaskName], judged: Sequence[TaskName]
) -> Iterator[Finding]:
    """What the gates cannot see, of the source's tasks; `judged` are those with validation samples.

    Nothing where promote.enabled = false: whatever such gates say, they move nothing.
    """
    if not config.promote.enabled:
        return
    gated = {kind: list_gated(config.promote, kind) for kind in KINDS}
    if not any(gated.values()):
        why = "promote.min_gain and promote.max_loss name no metric"
        yield Finding("warning", f"{NOTHING}: {why}; {_advise('min_gain', tasks)}")
        return
    if not gated["min_gain"]:
        what = "promote.min_gain names no metric: a policy that is no better is promoted too"
        yield Finding("warning", f"configuration: {what}; {_advise('min_gain', tasks)}")
    for kind, named in gated.items():
        yield from _check_kind(kind, named, tasks, judged)
    for task in tasks:
        if not any(task in named for named in gated.values()):
            what = f"no gate looks at {task}, which may get worse unseen"
            yield Finding("warning", f"configuration: {what}; {_advise('max_loss', [task])}")


def _check_kind(
    kind: Kind, named: Sequence[TaskName], tasks: Sequence[TaskName], judged: Sequence[TaskName]
) -> Iterator[Finding]:
    """Of one kind of gate one must be measured, and each on a task that the source has."""
    present = [task for task in named if task in tasks]
    if named and not set(named) & set(judged):
        ways = [f"give {' and '.join(present)} validation samples"] if present else []
        if others := judged or (() if present else tasks):
            ways.append(_advise(kind, others))
        yield Finding(
            "warning",
            f"{NOTHING}: promote.{kind} names only {' and '.join(named)}, of which the source has "
            f"no validation samples; {', or '.join(ways)}",
        )
        return
    for task in present:
        if task not in judged:
            what = f"promote.{kind} names {task}, which has no validation samples"
            yield Finding("warning", f"configuration: {what}")


def _advise(kind: Kind, tasks: Collection[TaskName]) -> str:
    """The setting, as a configuration file says it; losses with their default limits."""
    allowed = PromoteConfig().max_loss
    gates = [
        f"{task} = {{ {name} = {limit} }}"
        for task in tasks
        for name, limit in (
            allowed.get(task, {"greedy_reward": USUAL_LOSS})
            if kind == "max_loss"
            else {"sampled_reward": 0.0}
        ).items()
    ]
    return f"set promote.{kind} = {{ {', '.join(gates)} }}"
