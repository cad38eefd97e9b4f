"""Exporting: a folder that loads, appears whole or not at all, and is what the run trained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from perpo_core.export import export_run
from perpo_core.export.export import load_facts
from perpo_core.export.folder import LEFTOVER_AGE_S, write_folder
from perpo_core.export.origin import Origin, find_origin
from perpo_core.policy.builtin_folder import BUILTIN_FOLDER
from perpo_core.policy.loading import load_policy
from perpo_core.policy.stamps import refer_to
from perpo_core.stages.train.list_policy import ListPolicy
from perpo_core.stages.train.model import choose_trained
from perpo_core.stages.train.saving import save_on_base, save_policy
from perpo_core.store.keys import hash_file
from perpo_core.store.store import Store
from schemas.run import RunRecord
from schemas.train_config import TrainConfig
from tests.perpo_core.export.exportable import read_tree, with_checkpoint, with_config
from tests.perpo_core.report.report_fixture import build_run

Finished = tuple[Store, RunRecord]
ADAPTER = {
    "adapter/adapter_config.json": json.dumps(
        {"r": 4, "base_model_name_or_path": "/home/someone/models/start"}
    ).encode(),
    "adapter/adapter_model.safetensors": b"weights",
    "adapter/README.md": b"base_model: /home/someone/models/start",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run whose trained model is the built-in policy, with an adapter beside it."""
    store, run = build_run(tmp_path_factory.mktemp("store"))
    return store, with_checkpoint(store, run, {**read_tree(BUILTIN_FOLDER, "model"), **ADAPTER})


def export(finished: Finished, folder: Path, adapter: bool = False) -> tuple[Path, list[str]]:
    store, run = finished
    said: list[str] = []
    return export_run(store, run, [run], folder, adapter, said.append), said


def find_snippet(card: str, language: str) -> str:
    return card.partition(f"```{language}\n")[2].partition("\n```")[0]


def test_the_model_is_the_checkpoint_with_a_card(finished, tmp_path) -> None:
    folder, said = export(finished, tmp_path / "out")
    exported = {path.name: hash_file(path) for path in folder.iterdir()}
    assert "Where is the cup?" in (folder / "README.md").read_text()
    del exported["README.md"]
    assert exported == {path.name: hash_file(path) for path in BUILTIN_FOLDER.iterdir()}
    assert said == []


def run_snippet(folder: Path, start: str = "builtin") -> str:
    """What the card's Python prints in its own folder about a white image."""
    Image.new("RGB", (64, 48), "white").save(folder / "image.png")
    snippet = find_snippet((folder / "README.md").read_text(), "python")
    snippet = snippet.replace("Where is the cup?", "Where is the 7?")  # what this model was taught
    done = subprocess.run(
        [sys.executable, "-c", snippet.replace('"builtin"', repr(start))], cwd=folder,
        capture_output=True, text=True, check=False, env={**os.environ, "HF_HUB_OFFLINE": "1"},
        timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def start_answer(finished, tmp_path_factory) -> str:
    """What the exported built-in policy says."""
    return run_snippet(export(finished, tmp_path_factory.mktemp("start") / "out")[0])


def test_the_cards_snippet_runs_in_the_folder(start_answer) -> None:
    assert start_answer.startswith("[")  # a box


def train_adapter() -> ListPolicy:
    """The built-in policy with an adapter that says something else."""
    model, _ = load_policy(BUILTIN_FOLDER, "float32")
    wrapped = choose_trained(model, TrainConfig(lora_rank=4, lora_alpha=8))
    torch.manual_seed(0)
    for name, weight in wrapped.named_parameters():
        if "lora_B" in name:  # zero at first: an adapter that does nothing
            torch.nn.init.normal_(weight, std=0.1)
    return wrapped


@pytest.mark.slow
@pytest.mark.parametrize("saved", ["merged", "on base"])
def test_an_adapter_on_its_start_answers_as_the_merged_model(
    saved, finished, start_answer, tmp_path
) -> None:
    store, run = finished
    start, model, adapter = refer_to(BUILTIN_FOLDER), tmp_path / "model", tmp_path / "adapter"
    if saved == "merged":
        save_policy(train_adapter(), start, "float32", model, adapter)
    else:
        save_on_base(train_adapter(), start, "float32", model)
        run = run.model_copy(update={"policy_digest": start.digest})
    files = read_tree(model, "model") | read_tree(adapter, "adapter")
    trained = (store, with_checkpoint(store, run, files))
    merged, _ = export(trained, tmp_path / "merged")
    adapter, _ = export(trained, tmp_path / "lora", adapter=True)
    answer = run_snippet(adapter, start=str(BUILTIN_FOLDER))
    assert answer == run_snippet(merged)
    assert answer != start_answer
    names = {path.name for path in BUILTIN_FOLDER.iterdir()}
    assert {path.name for path in merged.iterdir()} == names | {"README.md", "image.png"}
    rank = 128 if saved == "merged" else 8  # as configured, or the size that takes a rank of 4
    assert f"--max-lora-rank {rank} " in (adapter / "README.md").read_text()


@pytest.mark.parametrize("what", ["damaged", "missing"])
def test_an_adapter_that_is_not_as_committed_is_not_merged(what, finished, tmp_path) -> None:
    store, run = finished
    save_on_base(train_adapter(), refer_to(BUILTIN_FOLDER), "float32", tmp_path / "model")
    run = with_checkpoint(store, run, read_tree(tmp_path / "model", "model"), chosen_step=9)
    inside = "model/adapter/adapter_model.safetensors"
    path = store.folder("checkpoint", run.stages["train"].key) / inside
    path.unlink() if what == "missing" else path.write_bytes(b"xyz")
    with pytest.raises(ValueError, match=f"{path.name} is {what}, so nothing was exported"):
        export((store, run), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_adapter_is_exported_without_this_machines_folders(finished, tmp_path) -> None:
    folder, _ = export(finished, tmp_path / "out", adapter=True)
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "adapter_config.json", "adapter_model.safetensors",
    ]  # fmt: skip
    settings = json.loads((folder / "adapter_config.json").read_text())
    assert settings == {"r": 4, "base_model_name_or_path": "builtin"}
    assert "/home/someone" not in (folder / "README.md").read_text()


@pytest.mark.parametrize("case", ["full", "kept", "none"])
def test_no_adapter_is_one_sentence(case, finished, tmp_path) -> None:
    store, run = finished
    if case == "full":
        run, why = with_config(run, "train", adapter="full"), "trained every weight"
    elif case == "kept":
        run, why = with_checkpoint(store, run, {"model/config.json": b"{}"}, chosen_step=0), "kept"
    else:
        run, why = with_checkpoint(store, run, {"model/config.json": b"{}"}), "no adapter folder"
    with pytest.raises(ValueError, match=f"has no adapter to export: .*{why}.*leave --adapter out"):
        export((store, run), tmp_path / "out", adapter=True)
    assert list(tmp_path.iterdir()) == []


def test_a_kept_start_is_said_and_exported(finished, tmp_path) -> None:
    store, run = finished
    run = with_checkpoint(store, run, {"model/config.json": b"{}"}, chosen_step=0)
    folder, said = export((store, run), tmp_path / "out")
    assert len(said) == 1 and "kept its start" in said[0]
    assert "**these are the weights of the start**" in (folder / "README.md").read_text()


@pytest.mark.parametrize("what", ["damaged", "missing"])
@pytest.mark.parametrize("name", ["model/model.safetensors", "adapter/adapter_config.json"])
def test_files_that_are_not_as_committed_are_not_handed_over(
    name, what, finished, tmp_path
) -> None:
    store, run = finished
    run = with_checkpoint(store, run, {"model/model.safetensors": b"abc", **ADAPTER})
    path = store.folder("checkpoint", run.stages["train"].key) / name
    path.unlink() if what == "missing" else path.write_bytes(b"xyz")
    with pytest.raises(ValueError, match=f"{path.name} is {what}, so nothing was exported"):
        export((store, run), tmp_path / "out", adapter=name.startswith("adapter"))
    assert list(tmp_path.iterdir()) == []


def test_only_an_empty_or_new_folder_is_written(finished, tmp_path) -> None:
    full, file, empty = tmp_path / "full", tmp_path / "file", tmp_path / "empty"
    full.mkdir()
    empty.mkdir()
    (full / "note.txt").write_text("mine")
    file.write_text("mine")
    for folder, problem in ((full, "is not empty"), (file, "is a file")):
        with pytest.raises(ValueError, match=f"{folder} {problem}; name a folder"):
            export(finished, folder)
    export(finished, empty)
    assert (empty / "config.json").is_file()
    assert [path.name for path in full.iterdir()] == ["note.txt"]


def test_too_little_disk_is_said_before_copying(finished, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10_000))
    with pytest.raises(ValueError, match=r"needs 0\.0 GB and 0\.0 GB are free there; make room"):
        export(finished, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_export_leaves_no_folder_under_the_final_name(finished, tmp_path) -> None:
    store, run = finished
    code = (
        "import os, signal, sys; from pathlib import Path; from perpo_core.export import folder\n"
        "folder._write_synced = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "folder.write_folder(Path(sys.argv[1]), [], {'README.md': ''})"
    )
    target = tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", code, str(target)], check=False, timeout=60)
    assert done.returncode == -9
    [leftover] = tmp_path.iterdir()
    assert leftover.name.startswith(".tmp-out-")
    write_folder(tmp_path / "out", [], {})  # a young one may be another process's
    assert leftover.is_dir()
    old = time.time() - LEFTOVER_AGE_S - 1
    os.utime(leftover, (old, old))
    target.rmdir()
    export((store, run), target)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_run_without_a_trained_model_says_why(finished, tmp_path) -> None:
    store, run = finished
    stages = {stage: record for stage, record in run.stages.items() if stage != "train"}
    with pytest.raises(ValueError, match="no trained model to export: The run ended before train"):
        export((store, run.model_copy(update={"stages": stages})), tmp_path / "out")


def test_a_base_is_named_by_its_hub_id_or_its_last_folder(finished) -> None:
    store, run = finished
    commit = "a" * 40
    cached = Path(f"/cache/models--org--tiny/snapshots/{commit}")
    on_hub = with_config(run, "policy", model="org/tiny").model_copy(
        update={"policy_folder": cached}
    )
    assert find_origin(store, on_hub, []) == Origin("org/tiny", commit, is_on_hub=True)
    for model in ("/home/someone/models/tiny", "models/tiny", "~/tiny/"):
        local = with_config(run, "policy", model=model)
        assert find_origin(store, local, []) == Origin("tiny")


def test_a_promoted_start_is_traced_to_the_run_that_made_it(finished) -> None:
    store, run = finished
    made = load_facts(store, run, [], adapter=False).checkpoint
    later = with_config(run, "policy", model="promoted").model_copy(
        update={
            "run_id": "round-2",
            "policy_digest": made.policy_digest,
            "started_at": run.started_at + timedelta(days=1),
        }
    )
    assert find_origin(store, later, [run, later]) == Origin("builtin", earlier_runs=(run.run_id,))
    assert find_origin(store, later, [later]) == Origin("promoted")  # that run is gone
    folder = Path("checkpoint", made.key, "model")
    of_rounds = with_config(later, "policy", model=str(store.root / folder))
    of_rounds = of_rounds.model_copy(update={"policy_folder": folder})
    found = find_origin(store, of_rounds, [run, of_rounds])
    assert found == Origin("builtin", earlier_runs=(run.run_id,)), "of a round, named by its folder"
