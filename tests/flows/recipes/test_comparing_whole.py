"""A comparison of real runs with its closer looks: one more method, and a kill -9 in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.runs.records import load_records
from perpo_core.evidence.writing import name_folder
from perpo_core.store.store import Store
from schemas.comparison import ComparisonReport
from schemas.probing import WAYS
from tests.flows.whole import kill_when, run_perpo, write_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
COMPARE = """
[compare]
seeds = 2
side_by_side = 2
best_of = 4
sweep = { "train.learning_rate" = [1e-4, 3e-4] }

[compare.methods.sft]
settings = { "train.objective" = "sft" }

[compare.methods.perpo]
settings = { "train.objective" = "perpo" }
"""
DPO = """
[compare.methods.dpo]
settings = { "train.objective" = "dpo" }
"""
NUM_TRIALS = 2 * (2 + 2) + 1


def write_compare(folder: Path) -> tuple[Path, Path]:
    """(configuration file, store)."""
    config, store = write_config(folder)
    config.write_text(config.read_text() + COMPARE)
    return config, store


def read_report(store: Path) -> bytes:
    return (store / name_folder("small") / "report.json").read_bytes()


def list_names(store: Path) -> list[str]:
    return [record.config.name for record in load_records(Store(store))]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, bytes]:
    """(configuration, store, report.json) of an undisturbed comparison."""
    config, store = write_compare(tmp_path_factory.mktemp("compare"))
    said = run_perpo("compare", config)
    assert "small-perpo-0: a closer look" in said and "small-sft-0: a closer look" in said
    return config, store, read_report(store)


def test_every_method_is_looked_at_closer(compared: tuple[Path, Path, bytes]) -> None:
    _, store, found = compared
    report = ComparisonReport.model_validate_json(found)
    assert len(list_names(store)) == NUM_TRIALS
    for method in report.methods:
        assert method.looks.keys() == {"grounding", "ocr", "counting"}
        grounding = method.looks["grounding"]
        assert grounding.image.keys() == set(WAYS)
        assert grounding.ranking is not None
        assert grounding.drift is not None and grounding.drift.num_prompts == 24
    sft, perpo = (method.looks["grounding"] for method in report.methods)
    assert sft.drift != perpo.drift and sft.ranking != perpo.ranking


def test_one_more_method_runs_only_itself(compared: tuple[Path, Path, bytes]) -> None:
    config, store, found = compared
    config.write_text(config.read_text() + DPO)
    before = list_names(store)
    run_perpo("compare", config)
    names = list_names(store)[len(before) :]
    assert sorted(names) == [f"small-dpo-{tag}" for tag in ("0", "1", "sweep-0", "sweep-1")]
    old, new = map(ComparisonReport.model_validate_json, (found, read_report(store)))
    assert new.methods[:2] == old.methods and new.start == old.start


def test_kill_9_in_a_judged_training_and_the_same_bytes(
    compared: tuple[Path, Path, bytes], tmp_path: Path
) -> None:
    config, store = write_compare(tmp_path)

    def trains() -> bool:
        return any(
            record.config.name == "small-perpo-1" and "materialize" in record.stages
            for record in load_records(Store(store))
        )

    kill_when(trains, tmp_path / "log", "compare", config)
    run_perpo("compare", config)
    assert read_report(store) == compared[2]
    assert len(set(list_names(store))) == NUM_TRIALS
