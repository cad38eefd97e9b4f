"""What every schema shares: frozen pydantic models that refuse unknown names."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Address = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9+]*://\S+$")]
"""Of a store that is no folder, such as s3://bucket/prefix."""
PlaceText = Annotated[str, BeforeValidator(lambda place: place and str(place))]
"""A folder, as text or Path, or an Address: what a form or a schedule can say."""


def refuse_empty(place: object) -> object:
    """Raise ValueError for text that holds nothing: as a Path it would be the working directory."""
    if isinstance(place, str) and not place.strip():
        raise ValueError('is empty; name a folder ("." is this one) or s3://bucket/prefix')
    return place


TaskName = Annotated[str, "task"]
"""A task, by the name that it has in perpo_core/perception/tasks, where it is checked."""
RewardName = Annotated[str, "reward"]
"""A reward, by the name that it has in perpo_core/perception/rewards, where it is checked."""
BoxFormatName = Literal[
    "norm1", "norm1_padded", "norm1_cxcywh", "norm100", "norm999", "norm999_padded", "norm1000",
    "norm1000_yxyx", "pixels", "pixels_resized", "loc1024_yxyx", "loc1000", "patch32",
    "points_percent",
]  # fmt: skip
"""How a text states a box (perpo_core/perception/boxes/formats.py)."""
Split = Literal["train", "selection", "validation", "test"]
"""What a prompt is for, and nothing else.

train: sampled, ranked and trained on. selection: chooses, among checkpoints and whatever else is
compared to keep the best (settings, seeds). validation: judges what was chosen; the gates look
here. test: shown in the report; decides nothing.

Nothing that chooses may look at validation or test: the best of several is partly the luckiest, and
only prompts that chose nothing tell the two apart (docs/gates.md has it in figures).
"""
CHOOSING_SPLIT: Split = "selection"
JUDGING_SPLIT: Split = "validation"
StageName = Literal[
    "collect", "generate", "score", "materialize", "contrast", "train", "evaluate", "promote",
]  # fmt: skip
ALL_STAGES: tuple[StageName, ...] = get_args(StageName)  # in the order of the DAG
STAGES: tuple[StageName, ...] = tuple(stage for stage in ALL_STAGES if stage != "contrast")
"""Those of every run; RefreshConfig.stages are those of one."""
SPLITS: tuple[Split, ...] = ("train", "selection", "validation", "test")


class Frozen(BaseModel):
    """Immutable; unknown keys are an error; NaN and infinity are not numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PixelLimits(Frozen):
    """What a policy's image processor is held to, pixels of a whole image; None: its own limits."""

    min_pixels: int | None = None
    max_pixels: int | None = None

    def describe(self) -> dict[str, int]:
        """What is set: nothing of it in a key where nothing is."""
        return self.model_dump(exclude_none=True)


NO_LIMITS = PixelLimits()


class Section(Frozen):
    """A section of the configuration; docstrings under fields become their descriptions."""

    model_config = ConfigDict(use_attribute_docstrings=True)
