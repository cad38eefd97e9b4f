"""What a card is built from: one run's record and artifacts, and what the base states."""

from __future__ import annotations

from dataclasses import dataclass, field

from perpo_core.export.origin import Origin
from perpo_core.perception.tasks import TASKS
from perpo_core.report.load import RunArtifacts
from schemas.artifact import Checkpoint
from schemas.base import TaskName
from schemas.config import RefreshConfig
from schemas.run import RunRecord

ARXIV_ID = "2502.04371"
MODEL_CARD = "README.md"


@dataclass(frozen=True)
class RunFacts:
    """What the card of anything that a run made may say."""

    run: RunRecord
    artifacts: RunArtifacts
    origin: Origin

    @property
    def config(self) -> RefreshConfig:
        return self.run.config

    @property
    def tasks(self) -> list[TaskName]:
        """The tasks that the run's samples hold; all of them where the samples are gone."""
        samples = self.artifacts.samples
        if samples is None:
            return list(TASKS)
        named = {name.partition("/")[0] for name, rows in samples.per_split.items() if rows}
        return [task for task in TASKS if task in named]


@dataclass(frozen=True)
class CardFacts(RunFacts):
    """All that a model card says comes from here."""

    checkpoint: Checkpoint
    is_adapter: bool = False
    """The folder holds a LoRA adapter, not the merged model."""
    licence: dict[str, str] = field(default_factory=dict)
    """What the base's own card states; {} leaves it to the user."""
    base_digest: str | None = None
    """What the policy is an adapter on; None where the checkpoint has whole weights."""
    joined_rank: int | None = None
    """Of that adapter, which those of earlier rounds are part of."""

    @property
    def rank(self) -> int:
        """Of the adapter."""
        return self.joined_rank or self.config.train.lora_rank

    @property
    def is_start_kept(self) -> bool:
        """No checkpoint beat the start, so that these are the start's weights."""
        return self.checkpoint.chosen_step == 0

    @property
    def start_name(self) -> str:
        """What an adapter goes onto: the base, or the result of an earlier round."""
        if self.base_digest is not None:
            return self.origin.name if self.origin.digest == self.base_digest else "START_POLICY"
        return "START_POLICY" if self.origin.earlier_runs else self.origin.name
