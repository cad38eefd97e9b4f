"""What a page is asked for: a tab, its filters, words to look for, and which page of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args
from urllib.parse import urlencode

from pydantic import Field, ValidationError

from schemas.base import Frozen

TabName = Literal["lists", "samples", "dropped", "predictions"]
TABS: tuple[TabName, ...] = get_args(TabName)
MAX_NAME = 200  # characters; longer than any name or reason of ours
MAX_WORDS = 200


class QueryError(ValueError):
    """An address asks for something that no page has; the message is one sentence."""


class Query(Frozen):
    """The part of an address behind the question mark; what is not said filters nothing."""

    task: str = Field(default="", max_length=MAX_NAME)
    split: str = Field(default="", max_length=MAX_NAME)
    stage: str = Field(default="", max_length=MAX_NAME)
    reason: str = Field(default="", max_length=MAX_NAME)
    error: Literal["", "any", "none"] = ""
    """Whether an answer could not be read."""
    change: Literal["", "better", "worse", "same", "text"] = ""
    """How the trained policy's greedy answer stands to the base's; text: it is another text."""
    least: float | None = None
    """Of best minus worst reward, or of trained minus base."""
    most: float | None = None
    order: Literal["", "widest", "narrowest"] = ""
    """By that difference; "": as the rows lie in their files."""
    q: str = Field(default="", max_length=MAX_WORDS)
    """Looked for in prompts and answers, capital or small."""
    page: int = Field(default=1, ge=1, le=10**9)
    start: int = Field(default=0, ge=0, le=10**9)
    """Where the search goes on, among the rows that the filters leave."""

    def encode(self, **changes: Any) -> str:
        """The same with changes, as an address says it; what is as by default is left out."""
        changed = self.model_copy(update=changes)
        return urlencode(changed.model_dump(exclude_defaults=True))


def parse_query(given: Mapping[str, str]) -> Query:
    """A form leaves what is not filled in empty; raises QueryError."""
    said = {name: value for name, value in given.items() if value.strip()}
    try:
        return Query.model_validate(said)
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(str(part) for part in problem["loc"])
        raise QueryError(
            f"{name[:MAX_NAME]}: {problem['msg']}; remove it from the address"
        ) from error
