"""Settings of `perpo bootstrap`: how the built-in policy is made."""

from __future__ import annotations

from pydantic import Field

from schemas.base import Section


class DialogueStage(Section):
    """A supervised stage on scenes with dialogues."""

    steps: int = Field(ge=1, le=10_000_000)
    """Optimiser steps."""
    batch_scenes: int = Field(ge=1, le=4096)
    """Scenes a step, each with several dialogues."""
    learning_rate: float = Field(gt=0, le=1)
    """Peak; cosine afterwards."""
    warmup_steps: int = Field(default=200, ge=0, le=1_000_000)
    """Steps in which it rises."""


class BootstrapConfig(Section):
    """The defaults are the recipe of the weights in the package."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the initial weights, the scenes and the noise."""
    vision_steps: int = Field(default=4000, ge=1, le=10_000_000)
    """Steps that teach the vision tower where digits are."""
    vision_batch_scenes: int = Field(default=48, ge=1, le=4096)
    """Scenes a step."""
    vision_learning_rate: float = Field(default=1.5e-3, gt=0, le=1)
    """Peak, linear rise over a tenth of the steps and linear fall."""
    reading: DialogueStage = DialogueStage(
        steps=2000, batch_scenes=8, learning_rate=1e-3, warmup_steps=100
    )
    """Looking at image tokens: lookups and maps, the vision tower frozen."""
    answers: DialogueStage = DialogueStage(steps=6000, batch_scenes=16, learning_rate=1e-3)
    """Answering questions from noisy labels, the vision tower frozen."""
    comparisons: DialogueStage = DialogueStage(
        steps=5000, batch_scenes=16, learning_rate=5e-4, warmup_steps=50
    )
    """Most questions about extremes, from exact labels."""
    careless: DialogueStage = DialogueStage(
        steps=400, batch_scenes=16, learning_rate=2e-4, warmup_steps=50
    )
    """The same from careless labels."""
    threads: int = Field(default=2, ge=1, le=256)
    """CPU threads."""
