"""Prompts without the policy's special tokens, and true texts that an answer can hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from perpo_core.doctor.findings import Finding
from perpo_core.doctor.policy import load_special_tokens, load_tokenizer
from perpo_core.stages.collect.sources.rows import SampleRow
from schemas.config import RefreshConfig


def check_texts(config: RefreshConfig, folder: Path, rows: list[SampleRow]) -> Iterator[Finding]:
    """Each row's prompt and true text, with the policy's own tokenizer."""
    special = load_special_tokens(folder)
    for row in rows:
        asked = "\n".join(list_texts(row["prompt"]))
        found = sorted(token for token in special if token in asked)
        if found:
            yield Finding(
                "error",
                f"source: {row['row']}: the prompt contains {found[0]!r}, a special token of the "
                "policy; remove it",
            )
    tokenizer = load_tokenizer(folder)
    if tokenizer is not None:
        yield from _check_lengths(config, tokenizer, rows)


def list_texts(messages: list[dict[str, Any]]) -> list[str]:
    """All that is said in a chat."""
    parts = [part for message in messages for part in message["content"]]
    return [part["text"] for part in parts if part["type"] == "text"]


def _check_lengths(
    config: RefreshConfig, tokenizer: Tokenizer, rows: list[SampleRow]
) -> Iterator[Finding]:
    max_tokens = config.generate.max_tokens
    texts = [row for row in rows if row["target"]["text"] is not None]
    lengths = [len(tokenizer.encode(row["target"]["text"]).ids) + 1 for row in texts]  # end token
    too_long = [length for length in lengths if length > max_tokens]
    if too_long:
        yield Finding(
            "warning",
            f"source: {len(too_long)} of {len(texts)} true texts are longer than "
            f"generate.max_tokens ({max_tokens}), the longest has {max(too_long)} tokens: answers "
            "cut off there never enter a list",
        )
