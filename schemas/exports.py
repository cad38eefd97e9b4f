"""What lists can be handed out as: names that the command line knows without anything heavy."""

from __future__ import annotations

from typing import Literal

ListFormatName = Literal[
    "hf",
    "trl",
    "trl-kto",
    "llamafactory",
    "swift",
    "nemo-rl",
    "openrlhf",
    "openai",
    "llava",
    "perpo-json",
]
"""Each is a module of perpo_core/export/lists/formats, with _ for -."""
PairsName = Literal["best-worst", "best-rest", "adjacent", "all", "list"]
"""What becomes a row. best-worst: the first of the best answers with the last of the worst.
best-rest: the first of the best with every worse one. adjacent: each with the next, where it is
worse. all: each with every worse one. list: the whole list in one row."""
