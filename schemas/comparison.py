"""What `perpo compare` finds: <store>/reports/compare-NAME/report.json, and what it cost.

The first holds nothing that depends on when or how fast it ran, so that the same question has the
same bytes; the second, costs.json, is of the machine and names the runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, JsonValue

from schemas.artifact import TaskDrift
from schemas.base import Digest, Frozen, StageName, TaskName
from schemas.evidence_statistics import Difference, Headroom
from schemas.probing import ImageProbe, ProbeWay
from schemas.ranking import TaskRanking

Settings = dict[str, JsonValue]
"""Dotted name -> value."""


class SweepPoint(Frozen):
    """One setting that was tried."""

    settings: Settings
    value: float | None = None
    """Of what chooses, on the validation split; None: the trial failed."""
    error: str | None = None
    is_chosen: bool = False


class Reading(Frozen):
    """One metric of one method, on the test split."""

    value: float
    """Mean over prompts and seeds."""
    per_seed: list[float]
    change: Difference | None = None
    """Against the start policy; None: of that itself."""


class TaskResult(Frozen):
    """What a method does in one task."""

    metrics: dict[str, Reading]
    best_of_n: list[float]
    """Expected reward of the best of n sampled answers, n = 1, 2, ..., mean over seeds."""
    headroom_closed: Headroom | None = None
    """None: the way to go is too short for a share, the answers are sampled or judged otherwise
    than those of the start, or it is the start."""


class TaskLook(Frozen):
    """A closer look at what the first seed trained, by task (perpo_core/evidence/looking.py)."""

    image: dict[ProbeWay, ImageProbe] = {}
    """What of its gain is there with other images too; {}: evaluate.probe_prompts is 0."""
    ranking: TaskRanking | None = None
    """How it ranks the start's sampled answers; None: there are no lists of them, or
    evaluate.probe_prompts is 0."""
    drift: TaskDrift | None = None
    """How far it went from the start."""


class MethodResult(Frozen):
    """One method at its best setting."""

    name: str
    label: str
    settings: Settings
    """Its own and the chosen ones."""
    sweep: list[SweepPoint] = []
    """[]: there was nothing to choose."""
    steps: list[int] = []
    """Optimiser steps, by seed."""
    tasks: dict[TaskName, TaskResult]
    looks: dict[TaskName, TaskLook] = {}
    """{}: compare.look is false, or it is the start."""


class Pair(Frozen):
    """Two methods, by what ranks them; the better one's mean is higher (or lower, where less is
    better), which alone says nothing."""

    better: str
    worse: str
    difference: Difference
    """Of better minus worse."""
    p_holm: float = Field(ge=0, le=1)
    """p-value after Holm's correction for all pairs."""
    is_clear: bool
    """Whether the corrected p-value is below 0.05."""


class ComparisonReport(Frozen):
    """report.json"""

    schema_version: Literal[1] = 1
    name: str
    policy_digest: Digest
    """Of the start."""
    samples_digest: Digest
    task: TaskName
    """Of the metric that ranks."""
    judge_by: str
    choose_by: str
    """TASK.METRIC"""
    num_seeds: int
    num_prompts: dict[TaskName, int]
    """Test prompts."""
    start: MethodResult
    methods: list[MethodResult]
    """In the order of the configuration."""
    pairs: list[Pair]
    """Every two of start and methods."""
    verdicts: list[str]
    """In words, as they follow from the intervals."""

    def add_looks(self, looks: Mapping[str, dict[TaskName, TaskLook]]) -> ComparisonReport:
        """With these by method."""
        methods = [
            method.model_copy(update={"looks": looks.get(method.name, {})})
            for method in self.methods
        ]
        return self.model_copy(update={"methods": methods})


class TrialCost(Frozen):
    """What one run took."""

    method: str
    part: Literal["sweep", "judged", "start"]
    settings: Settings
    seed: int
    run_id: str
    seconds: dict[StageName, float]
    """Of the work that made each stage's artifact, in whichever run that was."""
    peak_memory_gb: float | None
    """Of training."""


class ComparisonCosts(Frozen):
    """costs.json"""

    schema_version: Literal[1] = 1
    trials: list[TrialCost]
