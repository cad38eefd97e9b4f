"""What chooses a setting, and what may rank methods."""

from __future__ import annotations

import pytest

from perpo_core.evidence.choosing import Criterion, choose, name_criteria
from schemas.compare_config import CompareConfig
from schemas.comparison import SweepPoint

REWARD = Criterion("grounding", "greedy_reward")
SAMPLES = {
    f"{task}/{split}": 9 for task in ("grounding", "ocr") for split in ("validation", "test")
}
DISTANCE = Criterion("ocr", "edit_distance")


def build_points(*values: float | None) -> list[SweepPoint]:
    return [
        SweepPoint(settings={"train.beta": n}, value=value, error=None if value else "broke")
        for n, value in enumerate(values)
    ]


def find_chosen(by: Criterion, *values: float | None) -> int:
    points = choose(build_points(*values), by, "dpo")
    [number] = [number for number, point in enumerate(points) if point.is_chosen]
    return number


def test_the_greatest_is_chosen_or_the_least_where_less_is_better() -> None:
    assert find_chosen(REWARD, 0.3, 0.5, 0.4) == 1
    assert find_chosen(DISTANCE, 0.3, 0.5, 0.2) == 2


def test_of_equals_the_first_and_what_failed_never() -> None:
    assert find_chosen(REWARD, None, 0.5, 0.5) == 1
    with pytest.raises(ValueError, match="every setting of dpo failed, the last with: broke"):
        find_chosen(REWARD, None, None)


def test_the_first_tasks_headline_ranks_and_what_ranks_chooses_unless_told() -> None:
    headline = Criterion("grounding", "acc_at_50")
    assert name_criteria(CompareConfig(), SAMPLES) == (headline, headline)
    by_ocr = CompareConfig(judge_by="ocr.edit_distance")
    assert name_criteria(by_ocr, SAMPLES) == (DISTANCE, DISTANCE)
    told = CompareConfig(choose_by="grounding.greedy_reward", judge_by="ocr.edit_distance")
    assert name_criteria(told, SAMPLES) == (REWARD, DISTANCE)


@pytest.mark.parametrize(
    ("compare", "said"),
    [
        (CompareConfig(choose_by="vqa.accuracy"), "wants test prompts of vqa, and the source has "),
        (CompareConfig(judge_by="grounding.speed"), "grounding has acc_at_50, mean_iou"),
    ],
)
def test_what_is_not_measured_is_refused(compare: CompareConfig, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        name_criteria(compare, SAMPLES)


def test_what_chooses_wants_validation_prompts_where_there_is_something_to_choose() -> None:
    no_validation = {name: n for name, n in SAMPLES.items() if "validation" not in name}
    swept = CompareConfig(sweep={"train.beta": [0.1, 0.3]})
    assert name_criteria(swept, SAMPLES) == name_criteria(CompareConfig(), no_validation)
    with pytest.raises(ValueError, match="wants validation prompts of grounding, and the source"):
        name_criteria(swept, no_validation)
