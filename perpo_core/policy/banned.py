"""Tokens an answer must never hold: image placeholders and the structure around them.

A policy does sample them (22 of 512 answers of a random model), and one placeholder in an answer
later breaks training ("image features and image tokens do not match").
"""

from __future__ import annotations

import re
from typing import Any

STRUCTURE = re.compile(
    r"<\|?(image|img|video|vision|fake_token|global-img|row_\d+_col_\d+|im_patch|image_pad)"
)


def find_banned_ids(tokenizer: Any) -> list[int]:
    """Ids of vision, structure and padding tokens in a tokenizer's added vocabulary, ascending."""
    added = tokenizer.get_added_vocab()
    banned = {token_id for token, token_id in added.items() if STRUCTURE.match(token)}
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id != tokenizer.eos_token_id:
        banned.add(tokenizer.pad_token_id)
    return sorted(banned)
