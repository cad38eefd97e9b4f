"""Lost and damaged files: the next run names them, remakes what is needed and ends the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from perpo_core.store.store import Store
from schemas.base import STAGES, StageName
from tests.flows.whole import (
    identify_files,
    list_digests,
    list_executed,
    load_artifact,
    load_report,
    run_perpo,
    write_config,
)


def flip_bytes(path: Path) -> None:
    """Damage in the middle of a file that keeps its size."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 16] = bytes(byte ^ 0xFF for byte in content[middle : middle + 16])
    path.write_bytes(content)


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES: list[tuple[StageName, str, Callable[[Path], None], str]] = [
    ("generate", "part-00001.parquet", Path.unlink, "is missing"),
    ("score", "part-00002.parquet", flip_bytes, "is damaged"),
    ("score", "artifact.json", cut_in_half, "is damaged"),
    ("train", "model/adapter/adapter_model.safetensors", Path.unlink, "is missing"),
    ("evaluate", "predictions.parquet", cut_in_half, "is damaged"),
]


@pytest.fixture(scope="module")
def whole(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(configuration file, store): a copy of a complete run's store."""
    config, store = write_config(tmp_path_factory.mktemp("damage"))
    shutil.copytree(small_run, store)
    return config, store


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_runs_twice_and_damage_is_mended_where_it_is(whole: tuple[Path, Path]) -> None:
    config, store = whole
    first = load_report(store)
    run_perpo("refresh", config)
    assert list_executed(load_report(store)) == [], "nothing is damaged yet"
    for stage, name, damage, state in DAMAGES:
        artifact = load_artifact(store, stage)
        path = Store(store).path(artifact, name)
        damage(path)
        intact = identify_files(store, f"{artifact.kind}/*/part-*.parquet")
        intact.pop(path, None)
        said = run_perpo("refresh", config)
        assert f"{path} {state}; remaking what is needed" in said
        report = load_report(store)
        assert list_executed(report) == [stage], said
        assert list_digests(report) == list_digests(first)
        assert report["metrics"] == first["metrics"]
        assert intact.items() <= identify_files(store, f"{artifact.kind}/*/*").items()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_forced_rerun_and_a_changed_setting_run_what_follows(whole: tuple[Path, Path]) -> None:
    config, store = whole
    first = load_report(store)
    run_perpo("rerun", "latest", "--from", "score", "--force", "--store", store)
    forced = load_report(store)
    assert list_executed(forced) == list(STAGES[STAGES.index("score") :])
    assert list_digests(forced) == list_digests(first), "made anew, and the same"
    said = run_perpo("refresh", config, "--set", "train.beta=0.2")
    changed = load_report(store)
    assert list_executed(changed) == ["train", "evaluate", "promote"], said
    assert "base: held-out answers are in the store already" in said
