"""What a trial has of each objective, from its own artifacts, and never from the test split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perpo_core.store.store import Store
from perpo_core.tuning.objectives import list_objectives, orient, read_objectives
from perpo_core.tuning.retention import compute_retention
from schemas.arrow import PREDICTIONS
from schemas.artifact import Checkpoint, EvalReport
from schemas.config import RefreshConfig
from schemas.sources import DigitsSource, JsonlSource
from schemas.tune_config import TuneConfig
from tests.perpo_core.report.report_fixture import build_run


def build(source: Any = None, **tune: Any) -> RefreshConfig:
    return RefreshConfig(source=source or DigitsSource(), tune=TuneConfig(**tune))


def name(config: RefreshConfig) -> list[str]:
    return [objective.name for objective in list_objectives(config)]


def test_of_digits_the_headline_metrics_and_retention_are_wanted() -> None:
    headlines = ["grounding.acc_at_50", "ocr.edit_distance", "counting.accuracy"]
    assert name(build()) == [*headlines, "retention"]
    only = DigitsSource(validation={"grounding": 0, "ocr": 10, "counting": 0})
    assert name(build(only)) == ["ocr.edit_distance", "retention"]
    rewards = [f"{task}.greedy_reward" for task in ("grounding", "ocr", "counting")]
    assert name(build(split="selection")) == rewards


@pytest.mark.parametrize(
    ("tune", "said"),
    [
        ({"objectives": ["grounding.acc"]}, "grounding has no metric acc; it has acc_at_50"),
        ({"objectives": ["groundig.acc_at_50"]}, "groundig.acc_at_50 is of no task"),
        ({"objectives": ["retention", "retention"]}, "names one twice"),
        ({"objectives": ["retention"], "split": "selection"}, "is not measured on selection"),
        ({"objectives": ["ocr.exact"], "split": "selection"}, "name TASK.greedy_reward"),
    ],
)
def test_what_cannot_be_had_is_said(tune: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said.replace(".", r"\.")):
        list_objectives(build(**tune))


def test_of_other_sources_objectives_have_to_be_named(tmp_path: Path) -> None:
    rows = JsonlSource(files=[tmp_path / "rows.jsonl"])
    with pytest.raises(ValueError, match=r"tune\.objectives is empty, and only the data know"):
        list_objectives(build(rows))
    assert name(build(rows, objectives=["vqa.retention"])) == ["vqa.retention"]


def test_lower_is_better_changes_its_sign() -> None:
    objectives = list_objectives(build(objectives=["grounding.acc_at_50", "ocr.edit_distance"]))
    assert [objective.is_lower_better for objective in objectives] == [False, True]
    assert objectives[1].label == "OCR edit distance"
    assert orient(objectives, [(0.5, 0.2), (0.4, 0.1)]).tolist() == [[0.5, -0.2], [0.4, -0.1]]
    assert orient(objectives, []).shape == (0, 2)


def predict(sample: str, base: float | None, trained: float | None, **other: Any) -> list[Any]:
    """Two greedy rows of predictions."""
    row = {"image_id": sample, "task": "grounding", "split": "validation", "index": -1, "text": "",
           "reward": 0.0, "rewards": [], "error": None, "sample_id": sample} | other  # fmt: skip
    return [
        row | {"policy": policy, "measure": measure}
        for policy, measure in (("base", base), ("trained", trained))
    ]


def write_predictions(folder: Path, rows: list[Any]) -> Path:
    path = folder / "predictions.parquet"
    pq.write_table(pa.Table.from_pylist(rows, PREDICTIONS), path)
    return path


def test_retention_by_hand(tmp_path: Path) -> None:
    rows = [*predict("a", 1.0, 0.4), *predict("b", 0.5, 0.8), *predict("c", 0.0, 1.0)]
    assert compute_retention(write_predictions(tmp_path, rows)) == {"grounding": pytest.approx(0.6)}


def test_retention_sees_greedy_validation_answers_alone_and_an_unreadable_one_is_0(
    tmp_path: Path,
) -> None:
    rows = [
        *predict("a", 1.0, None), *predict("b", 1.0, 1.0),
        *predict("c", 1.0, 0.0, split="test"), *predict("a", 1.0, 0.0, index=0),
        *predict("d", None, 0.7, task="ocr"),
        *predict("e", 0.5, 0.25, task="counting"), *predict("f", 0.5, 0.5, task="counting"),
    ]  # fmt: skip
    found = compute_retention(write_predictions(tmp_path, rows))
    assert found == {"grounding": 0.5, "ocr": 1.0, "counting": 0.75}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Checkpoint, EvalReport]:
    """What one small run left: validation and test prompts, readings of six checkpoints."""
    store, run = build_run(tmp_path_factory.mktemp("store"), 8, 8)
    found = [store.load(run.stages[s].kind, run.stages[s].key) for s in ("train", "evaluate")]
    checkpoint, evaluation = found
    assert isinstance(checkpoint, Checkpoint) and isinstance(evaluation, EvalReport)
    return store, checkpoint, evaluation


def read(
    measured: tuple[Store, Checkpoint, EvalReport], *names: str, split: Any = "validation"
) -> list[float]:
    store, checkpoint, evaluation = measured
    objectives = list_objectives(build(objectives=list(names), split=split))
    return read_objectives(store, objectives, split, checkpoint, evaluation)


def test_values_are_the_trained_policys_on_validation(
    measured: tuple[Store, Checkpoint, EvalReport],
) -> None:
    store, checkpoint, evaluation = measured
    names = ("grounding.acc_at_50", "ocr.edit_distance", "counting.sampled_reward")
    expected = [evaluation.validation[n.split(".")[0]][n.split(".")[1]].trained for n in names]
    assert read(measured, *names) == expected
    without_test = evaluation.model_copy(update={"metrics": {}})
    assert read((store, checkpoint, without_test), *names) == expected
    gone = evaluation.model_copy(update={"validation": {}})
    with pytest.raises(ValueError, match=r"no validation prompts that measure ocr\.exact"):
        read((store, checkpoint, gone), "ocr.exact")


def test_retention_is_that_of_the_tasks_and_their_mean(
    measured: tuple[Store, Checkpoint, EvalReport],
) -> None:
    tasks = ("grounding", "ocr", "counting")
    each = read(measured, *(f"{task}.retention" for task in tasks))
    assert read(measured, "retention") == [pytest.approx(sum(each) / 3)]
    assert all(0 <= value <= 1 for value in each) and min(each) < 1


def test_selection_is_read_of_the_chosen_checkpoint(
    measured: tuple[Store, Checkpoint, EvalReport],
) -> None:
    store, checkpoint, evaluation = measured
    chosen = {reading.step: reading.per_task for reading in checkpoint.readings}[75]
    names = ("grounding.greedy_reward", "ocr.greedy_reward")
    assert read(measured, *names, split="selection") == [chosen["grounding"], chosen["ocr"]]
    unread = checkpoint.model_copy(update={"readings": []})
    with pytest.raises(ValueError, match=r"no selection prompts that measure ocr\.greedy_reward"):
        read((store, unread, evaluation), "ocr.greedy_reward", split="selection")
