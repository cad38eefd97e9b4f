"""What a check found: fine, doubtful or wrong, each in one sentence."""

from __future__ import annotations

from typing import Literal, NamedTuple

Level = Literal["ok", "warning", "error"]


class Finding(NamedTuple):
    """One line of `perpo doctor`; an error keeps a refresh from starting."""

    level: Level
    what: str
