"""Settings of `perpo bootstrap`: how the built-in policy is made."""

from __future__ import annotations

from pydantic import Field

from schemas.config import Section


class BootstrapConfig(Section):
    """The defaults are the recipe of the weights in the package."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the initial weights, the scenes and the noise."""
    vision_steps: int = Field(default=1000, ge=1, le=10_000_000)
    """Steps that teach the vision tower where digits are."""
    vision_batch_scenes: int = Field(default=48, ge=1, le=4096)
    """Scenes a step."""
    vision_learning_rate: float = Field(default=1.5e-3, gt=0, le=1)
    """Peak, linear rise over a tenth of the steps and linear fall."""
    steps: int = Field(default=2500, ge=1, le=10_000_000)
    """Supervised steps of the whole model."""
    batch_scenes: int = Field(default=24, ge=1, le=4096)
    """Scenes a supervised step, each with several questions."""
    learning_rate: float = Field(default=1.5e-3, gt=0, le=1)
    """Peak of the supervised training; cosine afterwards."""
    warmup_steps: int = Field(default=200, ge=0, le=1_000_000)
    """Steps in which it rises."""
    threads: int = Field(default=2, ge=1, le=256)
    """CPU threads."""
    workers: int = Field(default=0, ge=0, le=64)
    """Processes that compose scenes beside the training; 0 composes in turn."""
