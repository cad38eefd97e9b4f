"""By which reading of answers the keys of a policy's scores, checkpoints and evaluations go.

Readings 2 and 3 differ in answers with tags of thoughts, of answers or of boxes, with location
tokens and with exponents. The built-in policy was never shown any: of 1,089,744 answers that it and
what was trained from it gave, two held a letter at all, and none reads otherwise. Its artifacts of
reading 2 therefore stay as they are.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from perpo_core.perception import judging
from perpo_core.policy.builtin_folder import BUILTIN_FOLDER
from schemas.run import PolicyRef

BUILTIN_READING = 2
"""To be taken out, with this file, once the built-in's answers read otherwise."""
TOKENIZER = "tokenizer.json"
MAX_BYTES = 100_000  # the built-in's has 14,908; others have millions and need not be parsed


def find_reading(policy: PolicyRef) -> int:
    """The reading that keys name: the present one, but for the built-in's descendants.

    They are told by their tokenizer, which training keeps.
    """
    file = policy.folder / TOKENIZER
    if not file.is_file() or file.stat().st_size > MAX_BYTES:
        return judging.READING
    is_builtin = load_vocabulary(file) == _load_builtin_vocabulary()
    return BUILTIN_READING if is_builtin else judging.READING


def load_vocabulary(file: Path) -> Any:
    """Tokens and merges of a tokenizer.json; None where it has none."""
    return json.loads(file.read_text(encoding="utf-8")).get("model")


@cache
def _load_builtin_vocabulary() -> Any:
    return load_vocabulary(BUILTIN_FOLDER / TOKENIZER)
