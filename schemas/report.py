"""report.json: what a run did and whether the policy got better, for machines.

report.html beside it says the same for people. The names under `metrics`, `headroom_closed`,
`stages` and `counts` are a contract; new fields may be added.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from schemas.artifact import Counts, DegreeReading, Gate, Metric, Producer
from schemas.base import Digest, Frozen, StageName, TaskName
from schemas.benchmarks import Benchmarks, leave_out_no_benchmarks
from schemas.config import RefreshConfig
from schemas.probing import ImageProbe, ProbeWay
from schemas.run import RunStatus


class StageSummary(Frozen):
    """What one stage did in this run."""

    seconds: float = Field(ge=0)
    """Wall time in this run; for a reused stage, the time the look-up took."""
    reused: bool
    key: Digest
    digest: Digest


class PolicyDigests(Frozen):
    """The policies compared; trained is None when the run made no checkpoint."""

    base: Digest
    trained: Digest | None = None


class PromotionSummary(Frozen):
    """The decision and every gate behind it."""

    promoted: bool
    """As the gates decided."""
    approval: Literal["waiting", "approved", "rejected"] | None = None
    """With promote.approval the policy moves only when a person approves; None without."""
    gates: list[Gate]
    held: str | None = None
    """What kept the pointer where it was whatever the gates said."""
    champion_digest: Digest | None = None
    """The policy promoted until then, where that is not the policy the run started from."""
    champion_metrics: dict[TaskName, dict[str, Metric]] = {}
    """Test split: that policy (as base) against the trained one."""
    champion_validation: dict[TaskName, dict[str, Metric]] = {}
    """The same on the validation split, where the gates look."""


class Report(Frozen):
    """<store>/reports/<run-id>/report.json"""

    schema_version: Literal[1] = 1
    run_id: str
    status: RunStatus
    error: str | None = None
    verdict: str
    """A few words: better, worse or no clear change, by task, and whether it was promoted."""
    headline: str
    """One sentence with the numbers."""
    started_at: datetime
    ended_at: datetime | None = None
    config: RefreshConfig
    """As resolved."""
    policies: PolicyDigests
    metrics: dict[TaskName, dict[str, Metric]]
    """Test split: task -> metric -> base against trained."""
    validation: dict[TaskName, dict[str, Metric]]
    """The same on the validation split, where promotion's gates look."""
    headroom_closed: dict[TaskName, float | None]
    """(trained - base) / (best of n - base) of the greedy reward; None without headroom."""
    benchmarks: Benchmarks = {}
    """What harnesses of somebody else said of both policies; absent where none was asked."""
    image_probe: dict[TaskName, dict[ProbeWay, ImageProbe]] = {}
    """Test split: task -> what is shown instead of the image -> the gain with it."""
    image_line: str | None = None
    """One sentence: how much of the gain needs the image; None where nothing was probed."""
    promotion: PromotionSummary | None = None
    degree_reading: DegreeReading | None = None
    """How well the degrees of validation answers were told; None where train.degree_weight is 0."""
    warnings: list[str] = []
    """What a person should look into before trusting this training, a sentence each."""
    stages: dict[StageName, StageSummary]
    counts: dict[StageName, Counts]
    """Rows in, kept, dropped by reason and taken over from earlier artifacts, of every stage that
    finished; of generate in prompts."""
    missing: dict[StageName, str]
    """Stage -> why this report has nothing of it."""
    versions: dict[str, str]
    """Package -> version; several are joined by " / " where stages were made by different ones."""
    producers: dict[StageName, Producer]
    """Versions, device, threads and seed behind each stage's artifact."""

    @model_serializer(mode="wrap")
    def _leave_out_no_benchmarks(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return leave_out_no_benchmarks(serialize(self))
