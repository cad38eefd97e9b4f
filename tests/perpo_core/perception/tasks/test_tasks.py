"""What holds of every task, and what the house makes of a task's own file."""

from __future__ import annotations

import numpy as np
import pytest

from perpo_core.configuration.fields import describe_config
from perpo_core.configuration.load import ConfigError, load_config
from perpo_core.configuration.tasks import find_task_problems
from perpo_core.perception.boxes import Frame
from perpo_core.perception.judging import Item, Judge, describe_judging
from perpo_core.perception.rewards import Target
from perpo_core.perception.tasks import LOWER_IS_BETTER, TASKS
from perpo_core.report.style import load_style
from perpo_core.report.svg import TASK_COLOURS, VARIABLES
from schemas.config import RefreshConfig

FRAME = Frame(100, 100)
TARGET: Target = {"box": [0.0, 0.0, 0.5, 0.5], "text": "a", "count": 3, "boxes": []}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_task_says_what_it_needs(task):
    assert task.headline in task.metrics
    assert (task.get_shapes is None) == (task.read_shapes is None)
    assert task.get_shapes or task.get_words(TARGET), "a truth is drawn or told"
    rewards_P = np.array([0.0, 0.25, 1.0])
    for metric in task.metrics.values():
        values_P = metric.compute(rewards_P)
        rising = np.diff(-values_P if metric.lower_is_better else values_P)
        assert values_P.shape == (3,) and (rising >= 0).all(), "no metric turns a reward round"


def test_no_metric_means_two_things():
    for name in {name for task in TASKS.values() for name in task.metrics}:
        ways = [t.metrics[name].lower_is_better for t in TASKS.values() if name in t.metrics]
        assert set(ways) == {name in LOWER_IS_BETTER}


@pytest.mark.parametrize("name", TASKS)
def test_the_configuration_the_report_and_the_rewards_know_it(name):
    rewards = [field for field in describe_config() if field.key == f"score.{name}"]
    assert len(rewards) == 1 and TASKS[name].default_reward in rewards[0].allowed
    assert f"--{name}: {TASKS[name].look.light}" in load_style()
    assert VARIABLES[TASK_COLOURS[name]] == f"--{name}"
    result = Judge(RefreshConfig().score, "norm1").judge(Item("nothing", name, TARGET, FRAME))
    assert (result.reward is None) == (result.error is not None)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("lists.min_gap.groundin=0.5", "did you mean lists.min_gap.grounding?"),
        ("promote.max_loss.OCR={}", "did you mean promote.max_loss.ocr?"),
        ("promote.max_loss.x={}", "unknown key promote.max_loss.x; known here: "),
        ("promote.min_gain.count={}", "did you mean promote.min_gain.counting?"),
        ("score.groundin=iou", "unknown key score.groundin; did you mean score.grounding?"),
        ("score.ocr=iou", 'score.ocr = "iou" is not allowed; allowed: "edit_similarity"'),
        ("score.counting=exact", 'allowed: "count_accuracy" or "exact_match"'),
    ],
)  # fmt: skip
def test_names_of_no_task_are_refused_with_what_was_meant(setting: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(None, [setting])
    assert said in str(refused.value) and f'--set "{setting}"' in str(refused.value)


def test_a_reward_that_is_named_is_used_and_is_part_of_the_key() -> None:
    config = load_config(None, ["score.counting=exact_match"])
    judge = Judge(config.score, "norm1")
    assert judge.judge(Item("4", "counting", TARGET, FRAME)).reward == 0
    assert describe_judging(config, 3) != describe_judging(RefreshConfig(), 3)
    assert not list(find_task_problems(config))
