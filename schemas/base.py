"""What every schema shares: frozen pydantic models that refuse unknown names."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Task = Literal["grounding", "ocr", "counting"]
Split = Literal["train", "validation", "test"]
StageName = Literal["collect", "generate", "score", "materialize", "train", "evaluate", "promote"]
STAGES: tuple[StageName, ...] = (
    "collect",
    "generate",
    "score",
    "materialize",
    "train",
    "evaluate",
    "promote",
)  # in the order of the DAG
TASKS: tuple[Task, ...] = ("grounding", "ocr", "counting")
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class Frozen(BaseModel):
    """Immutable; unknown keys are an error; NaN and infinity are not numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Section(Frozen):
    """A section of the configuration; docstrings under fields become their descriptions."""

    model_config = ConfigDict(use_attribute_docstrings=True)
