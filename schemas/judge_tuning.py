"""`perpo judge tune`: its settings, and the report beside the instruction that it writes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.artifact import Metric
from schemas.base import Digest, Frozen, Section, TaskName


class JudgeTuning(Section):
    """How an instruction is looked for; candidates, rounds and documents are ZEPO's defaults."""

    candidates: int = Field(default=5, ge=1, le=100)
    """Instructions compared a round; in the first, the present one is among them."""
    rounds: int = Field(default=5, ge=1, le=100)
    """ZEPO's epochs: each paraphrases the fairest instruction so far."""
    documents: int = Field(default=10, ge=1, le=10_000)
    """Questions on whose answers instructions are compared."""
    check_documents: int = Field(default=20, ge=1, le=10_000)
    """Further ones, which choose nothing: the first and the last instruction are measured there."""
    pairs: int = Field(default=8, ge=1, le=10_000)
    """Most pairs of answers a document, of those that scoring would compare; 2 calls each."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the documents, the pairs and the paraphrases."""
    keep: tuple[str, ...] = ()
    """Words that every paraphrase has to have as they are, besides what perpo finds itself."""


class TriedInstruction(Frozen):
    """An instruction, and what the judge did under it."""

    instruction: str
    first_share: float | None
    """P(first): share of the decided comparisons that the answer shown first won, mean over the
    documents; None where nothing was decided."""
    fairness: float | None
    """-|P(first) - 1/2|."""
    consistency: float | None
    """Share of the pairs, of those decided both ways round, in which one answer won both."""
    num_decided: int
    """Comparisons that an answer won."""
    num_tied: int
    num_unread: int
    """Comparisons without a verdict."""
    is_of_use: bool
    """Whether at least half as much was decided as under the first instruction."""


class TuningRound(Frozen):
    """One round."""

    tried: list[TriedInstruction]
    """In the order in which they were compared."""
    dropped: dict[str, int]
    """Why a paraphrase was not compared -> how many."""
    best: TriedInstruction
    """The fairest so far, this round included."""


class JudgeTuningReport(Frozen):
    """FILE.json beside the instruction FILE."""

    schema_version: Literal[1] = 1
    task: TaskName
    model: str
    """The judge, as its server calls it."""
    writer: str
    """Who wrote the paraphrases."""
    settings: JudgeTuning
    candidates_key: Digest
    """Whose answers were compared."""
    sample_ids: list[str]
    """Of the documents."""
    check_sample_ids: list[str]
    kept_words: list[str]
    """What every paraphrase had to have."""
    rounds: list[TuningRound]
    before: TriedInstruction
    """The first instruction on the further documents."""
    after: TriedInstruction
    """The chosen one there; the same where nothing was fairer."""
    known_reward: str
    """Names of the rewards that are known without a judge, as the task weighs them."""
    agreement: Metric | None
    """There: share of the pairs in which the judge, asked both ways round, prefers the answer of
    the higher known reward; a half where it prefers none. base: before, trained: after. None where
    no pair was told apart by the known reward and read under both."""
    num_equal: int
    """Pairs left out of that, since both answers have the same known reward."""
    num_unread: int
    """Pairs left out, since a comparison had no verdict."""

    @property
    def instruction(self) -> str:
        """The chosen one."""
        return self.rounds[-1].best.instruction

    @property
    def is_changed(self) -> bool:
        """Whether a paraphrase was fairer than the first instruction."""
        return self.instruction != self.before.instruction
