"""What a study of `perpo tune` keeps in the store besides its journal."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from schemas.base import Digest, Frozen
from schemas.config import RefreshConfig
from schemas.tune_config import UserName

Choice = Literal["first", "second", "same"]


class StudyRecord(Frozen):
    """<store>/tuning/<study>/study.json: what was asked, for whoever looks without the file."""

    schema_version: Literal[1] = 1
    name: str
    key: Digest
    """Of all that makes two trials of the same settings the same."""
    config: RefreshConfig
    """As resolved; a trial's own differs in name and settings."""
    objectives: list[str]
    """In the order of a trial's values."""
    started_at: AwareDatetime


class Comparison(Frozen):
    """A line of comparisons.jsonl."""

    first: list[int] = Field(min_length=1)
    """Numbers of the trials that were shown, ascending: one, or those of a front."""
    second: list[int] = Field(min_length=1)
    choice: Choice
    by: UserName
    at: AwareDatetime
