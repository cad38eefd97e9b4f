"""Which tokens were found to matter, over the text of some answers: where an objective weighs them.

Of some lists the best answer, with the weights it has as the better of a pair, and the worst one
with those it has as the worse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from perpo_core.report.gallery import choose_in_turns
from perpo_core.report.pictures import show_text
from perpo_core.stages.train.token_table import TokenTable
from perpo_core.store.row_reader import RowReader
from schemas.base import TaskName
from schemas.train_config import TrainConfig

COLUMNS = ("sample_id", "task", "responses")
NUM_LISTS = 6
MAX_TOKENS = 80  # of an answer
TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class WeighedToken:
    """A token as the page shows it."""

    text: str
    weight: float
    heat: int
    """Percent of the way from a token about which nobody disagrees to the heaviest; 0 for lighter
    ones."""
    is_light: bool
    """Whether it weighs less than such a token."""


@dataclass(frozen=True)
class WeighedAnswer:
    """An answer, token by token."""

    role: str
    """best or worst."""
    reward: float
    tokens: list[WeighedToken]
    num_left_out: int


@dataclass(frozen=True)
class WeighedList:
    """The two ends of a list."""

    sample_id: str
    task: TaskName
    answers: list[WeighedAnswer]


def load_weighed_lists(
    lists: Sequence[Path], contrasts: Sequence[Path], policy_folder: Path, config: TrainConfig
) -> list[WeighedList]:
    """A few, the tasks taking turns, each in order of sample_id."""
    rows, table = RowReader(lists, COLUMNS), TokenTable(contrasts)
    tasks, ids = rows.iterate_column("task"), rows.iterate_column("sample_id")
    positions = [(task, i, n) for n, (task, i) in enumerate(zip(tasks, ids, strict=True))]
    path = policy_folder / TOKENIZER
    tokenizer = Tokenizer.from_file(str(path)) if path.is_file() else None
    return [
        _weigh_list(rows.read(number), table[number], tokenizer, config)
        for _, _, number in choose_in_turns(positions, NUM_LISTS)
    ]


def _weigh_list(
    row: dict[str, Any],
    contrasts: Sequence[Sequence[float]],
    tokenizer: Tokenizer | None,
    config: TrainConfig,
) -> WeighedList:
    responses = row["responses"]
    last = len(responses) - 1
    answers = [
        _weigh_answer(responses[0], contrasts[0], "best", tokenizer, config),
        _weigh_answer(responses[last], contrasts[last], "worst", tokenizer, config),
    ]
    return WeighedList(row["sample_id"], row["task"], answers)


def _weigh_answer(
    answer: dict[str, Any],
    contrasts: Sequence[float],
    role: str,
    tokenizer: Tokenizer | None,
    config: TrainConfig,
) -> WeighedAnswer:
    tokens = [
        _weigh_token(_decode(token, tokenizer), value, 1 if role == "best" else -1, config)
        for token, value in zip(answer["token_ids"], contrasts, strict=True)
    ]
    return WeighedAnswer(role, answer["reward"], tokens[:MAX_TOKENS], len(tokens[MAX_TOKENS:]))


def _weigh_token(text: str, contrast: float, sign: int, config: TrainConfig) -> WeighedToken:
    """As perpo_core/stages/train/objectives/tis_dpo.py weighs it."""
    low, high = sorted((sign * config.tis_low, sign * config.tis_high))
    exponent = min(max(sign * contrast, low), high)
    heat = max(exponent, 0.0) / high if high > 0 else 0.0
    weight = config.tis_scale * math.exp(exponent)
    return WeighedToken(text, weight, round(100 * heat), is_light=exponent < 0)


def _decode(token: int, tokenizer: Tokenizer | None) -> str:
    """Its text; its number where the policy has no tokenizer.json."""
    if tokenizer is None:
        return f"#{token}"
    return show_text(tokenizer.decode([token], skip_special_tokens=False)) or f"#{token}"
