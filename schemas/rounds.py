"""What `perpo rounds` keeps in the store: refreshes one after the other, and what each gave.

No time of day and no run id: the same rounds give the same bytes, however often they were
interrupted. What a round took is in its run.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.artifact import Counts, Metric
from schemas.base import Digest, Frozen, TaskName
from schemas.evidence_statistics import Headroom

MAX_ROUNDS = 50
Decision = Literal["promoted", "not promoted", "waiting for approval", "rejected"]
"""What became of a round: only a promoted one has another after it."""


class Diversity(Frozen):
    """How different the answers of one task are that a round sampled for training.

    Defined in perpo_core/rounds/diversity.py. The last three are None where no sample has two
    judged answers.
    """

    num_samples: int = Field(ge=0)
    """Prompts with their truth."""
    num_answers: float = Field(ge=0)
    """Answers a sample, the mean."""
    num_different: float = Field(ge=0)
    """Different texts among them, the mean."""
    num_judged: int = Field(ge=0)
    """Samples with two judged answers or more, over which the following are means."""
    equal_share: float | None
    """Share of the samples whose answers all have the same reward: nothing to learn from them."""
    reward_gap: float | None
    """Best minus worst reward of a sample's answers."""
    reward_difference: float | None
    """Mean |difference| of the rewards of two different answers of a sample (Gini)."""


class TaskOfRound(Frozen):
    """One task in one round, test split."""

    headline: str
    """The metric that is told first."""
    against_before: dict[str, Metric]
    """Metric -> the policy that the round began with (base), and what it trained."""
    against_start: dict[str, Metric]
    """Metric -> the policy of the first round's beginning (base), and what this round trained."""
    headroom_closed: float | None
    """(trained - before) / (before's best of n - before) of the greedy reward; None without
    headroom."""
    start_headroom: Headroom | None
    """(trained - start) / (start's best of n - start): what all rounds so far have closed."""
    num_lists: int = Field(ge=0)
    diversity: Diversity | None
    """None where nothing of this task was sampled for training."""


class Round(Frozen):
    """One refresh of the chain."""

    number: int = Field(ge=1)
    name: str
    """Of its runs."""
    policy_digest: Digest
    """What it began with."""
    trained_digest: Digest
    decision: Decision
    reason: str | None = None
    """Why it was not promoted, in words."""
    generate_seed: int
    train_seed: int
    num_prompts: int = Field(ge=0)
    """Training prompts that were answered."""
    num_stale_prompts: int = Field(ge=0)
    """Of those, answered by an earlier policy (generate.max_policy_age)."""
    num_samples: int
    """Answers sampled a prompt in the evaluation: the n of best of n."""
    lists: Counts
    tasks: dict[TaskName, TaskOfRound]


class RoundsReport(Frozen):
    """<store>/reports/rounds-<name>.json"""

    schema_version: Literal[1] = 1
    name: str
    num_asked: int = Field(ge=1, le=MAX_ROUNDS)
    max_policy_age: int
    policy_digest: Digest
    """What the first round began with."""
    rounds: list[Round]
    verdict: list[str]
    """What the intervals say, a sentence each."""

    @property
    def has_ended(self) -> bool:
        """Whether the last round has none after it."""
        return bool(self.rounds) and self.rounds[-1].decision != "promoted"
