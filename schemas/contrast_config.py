"""The contrast section of the configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from schemas.base import Section


class ContrastConfig(Section):
    """Two policies that disagree about what is good in an answer; read by train.objective = tis_dpo
    alone."""

    by: Literal["dpo", "sft", "prompt"] = "dpo"
    """dpo: the lists as they are ranked, and ranked the other way round; sft: the best answers, and
    the worst; prompt: the policy itself, once told to answer well and once badly, without
    training."""
    good_instruction: str = "Answer correctly and precisely."
    """by = prompt: what follows the question for the better policy."""
    bad_instruction: str = "Answer wrongly and carelessly."
    """by = prompt: and for the worse one."""
    epochs: float = Field(default=0.5, gt=0, le=1000)
    """dpo, sft: passes over the lists, of each of the two."""
    learning_rate: float = Field(default=5e-6, gt=0, le=1)
    """dpo, sft: peak learning rate of their adapters."""
    beta: float = Field(default=0.1, gt=0, le=100)
    """dpo: strength of the pull towards the start policy."""
    lora_rank: int = Field(default=128, ge=1, le=4096)
    """dpo, sft: rank of their adapters."""
    lora_alpha: int = Field(default=256, ge=1, le=65_536)
    """dpo, sft: scale of their adapters."""

    @model_validator(mode="after")
    def _check_instructions(self) -> ContrastConfig:
        if self.by == "prompt" and self.good_instruction == self.bad_instruction:
            raise ValueError(
                "good_instruction and bad_instruction are the same, so that no token could weigh "
                "more than another; give two"
            )
        return self
