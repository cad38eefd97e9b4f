"""kill -9 of the whole process group in every stage; the same command ends as if undisturbed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from perpo_core.promotion.pointer import load_promoted
from perpo_core.store.store import Store
from schemas.artifact import Checkpoint
from schemas.base import STAGES, StageName
from tests.flows.comparing import hash_lists
from tests.flows.whole import (
    NUM_TRAIN_SHARDS,
    identify_files,
    kill_when,
    list_digests,
    list_executed,
    load_artifact,
    load_latest,
    load_report,
    run_perpo,
    write_config,
)
from tests.history import keep_reproducible

# Stage -> files, and how many of them there are when the stage is in the midst of its work.
MIDST: dict[StageName, tuple[str, int]] = {
    "collect": ("samples/*", 1),
    "generate": ("candidates/*/part-*.parquet.json", 1),
    "score": ("scores/*/part-*.parquet.json", 1),
    "materialize": ("preferences/*", 1),
    "train": ("checkpoint/*/work/checkpoint-*/trainer_state.json", 1),
    "evaluate": ("candidates/*/part-*.parquet.json", NUM_TRAIN_SHARDS + 2),
    "promote": ("promotion/*", 1),
}


def build_condition(store: Path, stage: StageName) -> Callable[[], bool]:
    """Whether the newest run, one that is not there yet, is in the midst of the stage."""
    pattern, num_files = MIDST[stage]
    earlier = load_latest(store)

    def is_in_midst() -> bool:
        record = load_latest(store)
        if record is None or (earlier and record.run_id == earlier.run_id):
            return False
        before = STAGES[: STAGES.index(stage)]
        return tuple(record.stages) == before and len(list(store.glob(pattern))) >= num_files

    return is_in_midst


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_killed_in_every_stage_ends_as_an_undisturbed_one(
    small_run: Path, tmp_path: Path
) -> None:
    config, store = write_config(tmp_path)
    finished: dict[Path, tuple[int, int]] = {}
    for stage in STAGES:
        log = tmp_path / f"{stage}.log"
        said = kill_when(build_condition(store, stage), log, "refresh", config)
        record = load_latest(store)
        assert record is not None
        assert record.status == "running", said
        assert tuple(record.stages) == STAGES[: STAGES.index(stage)], f"killed too late: {said}"
        assert finished.items() <= identify_files(store, "**/*").items(), "made twice"
        finished |= identify_files(store, "*/*/part-*.parquet.json")  # written after its part
        if stage == "promote":
            finished |= identify_files(store, "checkpoint/*/model/*")
    said = run_perpo("refresh", config)
    assert "resuming from checkpoint-" in (tmp_path / "evaluate.log").read_text()
    assert finished.items() <= identify_files(store, "**/*").items(), "made twice"

    report, expected = load_report(store), load_report(small_run)
    assert report["status"] == "completed"
    assert set(list_executed(report)) <= {"promote"}, said
    assert hash_lists(store) == hash_lists(small_run)
    for part in ("metrics", "validation", "headroom_closed", "counts"):
        assert report[part] == expected[part], part
    assert list_digests(report) == list_digests(expected)
    trained, expected_training = (load_artifact(s, "train") for s in (store, small_run))
    assert isinstance(trained, Checkpoint) and isinstance(expected_training, Checkpoint)
    histories = [keep_reproducible(one.history) for one in (trained, expected_training)]
    assert histories[0] == histories[1], "resumed training is the same training"
    assert trained.readings == expected_training.readings
    assert load_promoted_digest(store) == load_promoted_digest(small_run)


def load_promoted_digest(store: Path) -> str | None:
    pointer = load_promoted(Store(store))
    return pointer.policy_digest if pointer else None
