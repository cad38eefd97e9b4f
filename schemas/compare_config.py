"""The compare section of the configuration: methods against each other (`perpo compare`)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue, StringConstraints, model_validator

from schemas.base import Section

MethodName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_]{0,23}$")]
MetricName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+\.[a-z0-9_]+$")]
"""TASK.METRIC."""
Values = Annotated[list[JsonValue], Field(min_length=1, max_length=64)]
START = "start"
"""What the policy that all begin from is called: no method may be called so."""
MAX_TRIALS = 10_000


class CompareMethod(Section):
    """One of what is compared."""

    label: str | None = Field(default=None, min_length=1, max_length=60)
    """As tables and figures name it; None: its own name."""
    settings: dict[str, JsonValue] = Field(default={}, max_length=64)
    """Dotted setting -> value, on top of the configuration: { "train.objective" = "dpo" }."""
    sweep: dict[str, Values] = Field(default={}, max_length=8)
    """As compare.sweep, for this method: a setting that both name is tried with these values."""


class CompareConfig(Section):
    """Methods against each other, each at its best setting, over several seeds."""

    methods: dict[MethodName, CompareMethod] = Field(default={}, max_length=64)
    """Name -> what it is: [compare.methods.dpo], settings = { "train.objective" = "dpo" }. What is
    not set is as the configuration has it, so that all have the same data and steps."""
    sweep: dict[str, Values] = Field(default={}, max_length=8)
    """Dotted setting -> values: every combination is tried with every method and its best is kept,
    by `choose_by` on the validation split: { "train.learning_rate" = [2e-5, 5e-5, 1e-4] }."""
    choose_by: MetricName | None = None
    """What the best setting has most of (least, where less is better) on the validation split,
    TASK.METRIC. None: `judge_by`, so that each method is at its best in what is judged."""
    judge_by: MetricName | None = None
    """What the methods are ranked by on the test split. None: the first task's headline metric."""
    seeds: int = Field(default=5, ge=1, le=100)
    """How often each method is judged at its best setting; the sweep has the first seed."""
    vary: list[str] = Field(default=["generate.seed", "train.seed"], min_length=1, max_length=8)
    """Settings that a seed adds to: 0 with the first, 1 with the second, and so on. With
    generate.seed the methods of a seed share its answers and lists."""
    resamples: int = Field(default=10_000, ge=100, le=1_000_000)
    """Of the bootstrap behind every interval; 40 for every two of start and methods at least."""
    look: bool = True
    """Whether each method's first seed is looked at closer: how it ranks the start's answers, with
    the right image and a wrong one, and how far it went from the start (docs/probes.md)."""
    side_by_side: int = Field(default=1, ge=1, le=64)
    """Trials that run at once. On GPUs each has its share of those that are visible; on a CPU each
    has train.threads and generate.processes of its own."""
    best_of: int = Field(default=20, ge=1, le=256)
    """Length of the start policy's best-of-n curve, whose end is the headroom; methods have one of
    evaluate.num_samples. Where this is more, the start answers the test prompts once more."""

    @model_validator(mode="after")
    def _check_methods(self) -> CompareConfig:
        if START in self.methods:
            raise ValueError(
                f'no method may be called "{START}", which is the policy that all begin from; '
                "rename it"
            )
        return self
