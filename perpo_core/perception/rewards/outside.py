"""Rewards whose work is done outside this package: one's own function, and a judge on a server.

Here is what a configuration may say of them. Who has files, child processes and a network does the
work (perpo_core/stages/outside) and is handed to the Judge.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, field_validator, model_validator

from perpo_core.perception.rewards.base import Reward, RewardResult
from schemas.base import Section

OWN_FORM = "MODULE:FUNCTION"
OWN = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
RESERVED = ("model", "messages", "stream", "n")


class OwnOptions(Section):
    """Of one's own reward."""

    timeout_s: float = Field(default=10.0, gt=0, le=3600)
    """Seconds an answer may take; past them its process is ended, and it has no reward."""
    batch_rows: int = Field(default=64, ge=1, le=10_000)
    """Most answers a call."""
    low: float = Field(default=0.0, ge=-1_000_000, le=1_000_000)
    """Lowest value it returns; a lower one is an error."""
    high: float = Field(default=1.0, ge=-1_000_000, le=1_000_000)
    """Highest one."""

    @model_validator(mode="after")
    def _check_range(self) -> OwnOptions:
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} has to be below high {self.high:g}; correct them")
        return self


class JudgeOptions(Section):
    """Of a judge: a model behind an OpenAI-compatible server."""

    base_url: str = Field(default="http://127.0.0.1:8000/v1", repr=False)
    """Of the server, up to /chat/completions; the default is vLLM's own on this machine."""
    model: str = Field(min_length=1)
    """As the server calls it."""
    instruction: Path
    """Text file with what the judge is told, as its system message; relative to the configuration
    file."""
    mode: Literal["score", "order"] = "score"
    """score: one answer, and a number is read out of the reply; order: two answers to the same
    prompt, asked both ways round."""
    lowest: float = Field(default=0.0, ge=-1_000_000, le=1_000_000)
    """Of the numbers that the instruction asks for: reward 0. With mode = "score"."""
    highest: float = Field(default=10.0, ge=-1_000_000, le=1_000_000)
    """Reward 1."""
    comparisons: int = Field(default=4, ge=2, le=256)
    """Most other answers that an answer is compared with, with mode = "order"; 2 calls each."""
    images: bool = True
    """Show the images of the prompt, as data URLs."""
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", repr=False)
    """Name of the environment variable that holds the server's key; never the key. None: no key."""
    timeout_s: float = Field(default=120.0, gt=0, le=3600)
    """Longest wait for the server, seconds, of one call."""
    max_concurrency: int = Field(default=8, ge=1, le=1024)
    """Calls in flight at a time."""
    retries: int = Field(default=4, ge=0, le=20)
    """Further calls after a 429, a 5xx or no reply in time, and after nothing else."""
    backoff_s: float = Field(default=1.0, gt=0, le=60)
    """Seconds before the first retry, doubled at each further one; Retry-After goes first."""
    max_calls: int | None = Field(default=None, ge=1)
    """Most calls of a stage, retries included; answers beyond have no reward. None: no end."""
    max_tokens: int = Field(default=512, ge=1, le=32_768)
    """Longest reply."""
    temperature: float = Field(default=0.0, ge=0, le=2)
    """Of the judge's sampling."""
    extra: dict[str, JsonValue] = Field(default={})
    """Further fields of the request as they are, such as seed."""

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.username or parts.password:
            raise ValueError("a name or password stands in it; name a variable in api_key_env")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise ValueError("it has to be such as http://127.0.0.1:8000/v1; correct it")
        return url.rstrip("/")

    @field_validator("extra")
    @classmethod
    def _check_extra(cls, extra: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if taken := sorted({*RESERVED, *cls.model_fields} & extra.keys()):
            raise ValueError(f"{taken[0]} is not for this table; remove it")
        return extra

    @model_validator(mode="after")
    def _check_scale(self) -> JudgeOptions:
        if not self.lowest < self.highest:
            said = f"lowest {self.lowest:g} has to be below highest {self.highest:g}"
            raise ValueError(f"{said}; correct them")
        return self


@dataclass(frozen=True)
class OutsideReward(Reward):
    """A reward that a Judge hands on."""

    def fit(self, given: Mapping[str, Any] = MappingProxyType({})) -> OutsideReward:
        """With the range that its options say. Raises pydantic's ValidationError."""
        options = self.build_options(given)
        if isinstance(options, OwnOptions):
            return replace(self, low=options.low, high=options.high)
        return self


def _refuse(*given: Any) -> RewardResult:
    raise AssertionError(f"a Judge without an outside was asked for {given[:1]}")


JUDGE = OutsideReward("judge", _refuse, options=JudgeOptions, takes_all_truths=True)


def is_own(name: str) -> bool:
    """Whether it names one's own function, right or not."""
    return ":" in name


def find_outside(name: str) -> OutsideReward | None:
    """The reward of that name; None where it names none that is outside."""
    if name == JUDGE.name:
        return JUDGE
    if OWN.fullmatch(name):
        return OutsideReward(name, _refuse, options=OwnOptions, takes_all_truths=True)
    return None
