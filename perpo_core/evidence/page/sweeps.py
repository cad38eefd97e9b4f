"""What was tried before anything was judged, and what each run took."""

from __future__ import annotations

from dataclasses import dataclass

from perpo_core.evidence.page.marks import Key
from perpo_core.evidence.page.runs import Runs, link_run
from perpo_core.evidence.page.tables import build_strip, list_contenders
from perpo_core.evidence.page.words import NONE, format_settings
from perpo_core.report.formats import format_number
from perpo_core.report.tables import format_duration
from schemas.comparison import ComparisonReport, MethodResult, SweepPoint, TrialCost


@dataclass(frozen=True)
class SweepRow:
    """One setting that was tried."""

    setting: str
    value: str
    place: float | None
    """On the strip that all methods share, 0 to 100; None: it failed."""
    link: str | None
    is_chosen: bool
    error: str | None


@dataclass(frozen=True)
class Sweep:
    """A method's settings, in the order in which they were tried."""

    key: Key
    name: str
    rows: list[SweepRow]
    """[]: there was nothing to choose."""


@dataclass(frozen=True)
class RunRow:
    """One run of a method."""

    what: str
    """The seed, or the setting that was tried."""
    run_id: str
    link: str
    times: list[str]
    """By stage of the table."""
    memory: str


@dataclass(frozen=True)
class RunList:
    key: Key
    name: str
    setting: str
    """All of its own settings and the chosen ones."""
    rows: list[RunRow]


def build_sweeps(report: ComparisonReport, runs: Runs) -> list[Sweep]:
    """Of every method; [] if none had anything to choose."""
    methods = list_contenders(report)[1:]
    values = [p.value for _, method in methods for p in method.sweep if p.value is not None]
    place = build_strip(values) if values else None

    def build_row(method: MethodResult, point: SweepPoint) -> SweepRow:
        return SweepRow(
            setting=format_settings(point.settings),
            value=NONE if point.value is None else format_number(point.value),
            place=None if point.value is None or place is None else place(point.value),
            link=runs.find_setting(method.name, point.settings),
            is_chosen=point.is_chosen,
            error=point.error,
        )

    if not any(method.sweep for _, method in methods):
        return []
    return [
        Sweep(key, method.name, [build_row(method, point) for point in method.sweep])
        for key, method in methods
    ]


def list_stages(runs: Runs) -> list[str]:
    """Those that any run has seconds of, in the order in which they come."""
    return list(dict.fromkeys(stage for trial in runs.trials for stage in trial.seconds))


def build_run_lists(report: ComparisonReport, runs: Runs) -> list[RunList]:
    """Every method's runs: the judged ones by seed, then the sweep's; the start's first."""
    stages = list_stages(runs)
    return [
        RunList(
            key=key,
            name=method.name,
            setting=format_settings(method.settings) or NONE,
            rows=[
                _build_run_row(trial, stages)
                for trial in (*runs.list_judged(method.name), *runs.list_sweep(method.name))
            ],
        )
        for key, method in list_contenders(report)
    ]


def _build_run_row(trial: TrialCost, stages: list[str]) -> RunRow:
    seconds = {str(stage): value for stage, value in trial.seconds.items()}
    of_sweep = trial.part == "sweep"
    what = format_settings(trial.settings) if of_sweep else f"seed {trial.seed}"
    return RunRow(
        what=what,
        run_id=trial.run_id,
        link=link_run(trial),
        times=[format_duration(seconds[s]) if s in seconds else NONE for s in stages],
        memory=NONE if trial.peak_memory_gb is None else f"{trial.peak_memory_gb:.2f} GB",
    )
