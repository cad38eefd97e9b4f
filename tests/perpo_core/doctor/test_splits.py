"""The doctor on parts of a source: too few to choose or to judge by, and gates that see nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perpo_core.doctor.settings import check_settings
from perpo_core.doctor.source import check_source
from perpo_core.stages import collect
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.store.store import Store
from schemas.base import Split
from schemas.config import RefreshConfig
from schemas.run import PolicyRef
from tests.perpo_core.cases import make_row, write_source

SPLITS_OF_ONE: tuple[Split, ...] = ("train", "validation", "test")
UNSEEN = "nothing can be promoted"


def write_rows(folder: Path, parts: dict[tuple[str, Split], int]) -> Any:
    """A source with so many images of each task and split, one question each."""
    rows: list[dict[str, Any]] = []
    for (task, split), number in parts.items():
        for _ in range(number):
            truth = {} if task == "grounding" else {"answer": str(len(rows)), "box": None}
            image = f"images/{len(rows)}.png"
            rows.append(make_row(task=task, split=split, image=image, **truth))
    return write_source(folder, rows, num_images=len(rows), selection_share=0)


def warn(tmp_path: Path, source: Any, **sections: Any) -> list[str]:
    config = RefreshConfig(store=tmp_path / "store", source=source, **sections)
    findings = [*check_settings(config), *check_source(config)]
    assert not any(finding.level == "error" for finding in findings), findings
    return [finding.what for finding in findings if finding.level == "warning"]


def complete(*tasks: str) -> dict[tuple[str, Split], int]:
    return {(task, split): 1 for task in tasks for split in SPLITS_OF_ONE}


# Gates


BLIND: dict[str, tuple[dict[tuple[str, Split], int], dict[str, Any], str, str]] = {
    "the default gain, OCR alone": (
        complete("ocr"), {},
        "promote.min_gain names only grounding, of which the source has no validation samples",
        "set promote.min_gain = { ocr = { sampled_reward = 0.0 } }",
    ),
    "the default gain, counts alone": (
        complete("counting"), {}, "promote.min_gain names only grounding",
        "set promote.min_gain = { counting = { sampled_reward = 0.0 } }",
    ),
    "a loss of absent tasks alone": (
        complete("grounding"), {"max_loss": {"ocr": {"exact": 0.1}, "counting": {"accuracy": 0.1}}},
        "promote.max_loss names only counting and ocr, of which the source has no",
        "set promote.max_loss = { grounding = { greedy_reward = 0.01 } }",
    ),
    "a task that has no validation part": (
        {**complete("ocr"), ("grounding", "train"): 1}, {},
        "promote.min_gain names only grounding, of which the source has no validation samples",
        "give grounding validation samples, or set promote.min_gain = { ocr = ",
    ),
    "no validation samples at all": (
        {("grounding", "train"): 1}, {},
        "promote.min_gain names only grounding, of which the source has no validation samples",
        "give grounding validation samples",
    ),
    "no gate": (
        complete("ocr"), {"min_gain": {}, "max_loss": {}},
        "promote.min_gain and promote.max_loss name no metric",
        "set promote.min_gain = { ocr = { sampled_reward = 0.0 } }",
    ),
    "gates of tasks, without a metric": (
        complete("grounding"), {"min_gain": {"grounding": {}}, "max_loss": {"grounding": {}}},
        "promote.min_gain and promote.max_loss name no metric",
        "set promote.min_gain = { grounding = { sampled_reward = 0.0 } }",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BLIND)
def test_it_is_said_when_nothing_can_be_promoted_and_what_to_write(
    case: str, tmp_path: Path
) -> None:
    parts, promote, why, advice = BLIND[case]
    warnings = warn(tmp_path, write_rows(tmp_path, parts), promote=promote)
    said = [warning for warning in warnings if UNSEEN in warning]
    assert any(why in warning and advice in warning for warning in said), warnings
    # Nothing moves anyway: the gates are for the report.
    promote = {**promote, "enabled": False}
    warnings = warn(tmp_path, write_rows(tmp_path, parts), promote=promote)
    assert not any("promote" in warning for warning in warnings)


def test_what_the_advice_says_is_enough(tmp_path: Path) -> None:
    gates = {"min_gain": {"ocr": {"sampled_reward": 0.0}}}
    warnings = warn(tmp_path, write_rows(tmp_path, complete("ocr")), promote=gates)
    assert not any("promote" in warning for warning in warnings), warnings


def test_gates_that_leave_something_unseen_are_doubted(tmp_path: Path) -> None:
    source = write_rows(tmp_path, {**complete("grounding", "ocr"), ("counting", "train"): 1})
    [doubt] = [w for w in warn(tmp_path, source) if "promote" in w]
    assert "promote.max_loss names counting, which has no validation samples" in doubt
    warnings = warn(tmp_path, source, promote={"max_loss": {"grounding": {"mean_iou": 0.1}}})
    doubts = [warning for warning in warnings if "no gate looks at" in warning]
    assert ["ocr" in doubt for doubt in doubts] == [True, False]
    assert "set promote.max_loss = { counting = { greedy_reward = 0.02 } }" in doubts[1]
    warnings = warn(tmp_path, source, promote={"min_gain": {"grounding": {}}})
    assert any("a policy that is no better is promoted too" in warning for warning in warnings)


def test_a_metric_that_a_task_lacks_is_found_before_any_work() -> None:
    config = RefreshConfig.model_validate({"promote": {"max_loss": {"ocr": {"acc": 0.1}}}})
    [error] = [finding.what for finding in check_settings(config) if finding.level == "error"]
    assert "promote.max_loss.ocr names the metric 'acc'" in error and "one of edit_dist" in error


# Sizes


def test_few_images_to_choose_or_to_judge_by_are_doubted(tmp_path: Path) -> None:
    """Images, not rows: questions about one image stand or fall together."""
    parts: dict[tuple[str, Split], int] = {
        ("ocr", "train"): 1, ("ocr", "test"): 1, ("ocr", "validation"): 50,
        ("ocr", "selection"): 49,
    }  # fmt: skip
    source = write_rows(tmp_path, parts)
    lines = source.files[0].read_text().splitlines()
    source.files[0].write_text("\n".join([*lines, lines[-1].replace("cat", "dog")]))
    gates = {"min_gain": {"ocr": {"sampled_reward": 0.0}}}
    [doubt] = warn(tmp_path, source, promote=gates)
    assert doubt.startswith("source: ocr has fewer than 50 selection images (49): the checkpoint")
    assert 'rows with split = "selection" or raise source.selection_share' in doubt
    # The same once the samples are in the store, when no row is read any more.
    config = RefreshConfig(store=tmp_path / "store", source=source)
    policy = PolicyRef(digest="0" * 64, folder=tmp_path)
    find_or_make(StageContext(Store(tmp_path / "store"), config, policy), collect)
    assert warn(tmp_path, source, promote=gates) == [doubt]


def test_scenes_are_counted_by_the_configuration(tmp_path: Path) -> None:
    assert warn(tmp_path, {"kind": "digits"}) == []
    sizes = {"kind": "digits", "validation": {"grounding": 49, "ocr": 128}, "test": {"ocr": 1},
             "selection": {"grounding": 300, "ocr": 300, "counting": 0}}  # fmt: skip
    warnings = warn(tmp_path, sizes)
    for said in (
        "grounding has fewer than 50 validation images (49): gates see large changes only; raise "
        "source.validation.grounding",
        "grounding has no test samples: the report cannot show it; raise source.test.grounding",
        "counting has no selection samples: it has no say in which checkpoint is kept; raise "
        "source.selection.counting",
        "counting has no validation samples: its gates have nothing to look at",
    ):
        assert f"source: {said}" in "\n".join(warnings)
    assert len([warning for warning in warnings if warning.startswith("source: ")]) == 5


def test_few_of_many_selection_prompts_asked_are_doubted(tmp_path: Path) -> None:
    [doubt] = warn(tmp_path, {"kind": "digits"}, train={"eval_prompts": 149})
    assert "train.eval_prompts (149) shared out over 3 tasks is fewer than 50 each" in doubt
    assert warn(tmp_path, {"kind": "digits"}, train={"eval_prompts": 150}) == []
