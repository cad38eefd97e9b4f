"""The page on rewards against the rewards that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpo_core.perception.rewards import GENERAL, REWARDS, Reward
from perpo_core.perception.tasks import TASKS

PAGE = Path(__file__).parents[3] / "docs" / "rewards.md"


def load_rows() -> dict[str, list[str]]:
    """Reward -> the other cells of its row."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name.strip("`"): cells for name, *cells in rows}


def describe_tasks(reward: Reward) -> str:
    if reward.name in GENERAL:
        return "any"
    return ", ".join(
        f"{name} (default)" if reward.name == task.default_reward else name
        for name, task in TASKS.items()
        if reward.name in task.rewards
    )


def test_every_reward_has_a_row() -> None:
    assert sorted(load_rows()) == sorted(REWARDS)


@pytest.mark.parametrize("reward", REWARDS.values(), ids=REWARDS)
def test_a_row_says_what_fits_and_between_which_values(reward: Reward) -> None:
    fits, between, value = load_rows()[reward.name]
    assert fits == describe_tasks(reward)
    assert between == f"{reward.low:g} to {reward.high:g}"
    for option, field in (reward.options.model_fields if reward.options else {}).items():
        assert f"`{option}`" in value and f"{field.default}" in value


@pytest.mark.parametrize("reward", REWARDS.values(), ids=REWARDS)
def test_every_reward_fits_a_task(reward: Reward) -> None:
    assert describe_tasks(reward)
