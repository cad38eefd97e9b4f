"""What is committed under a key is what the key says, whoever replaces inputs meanwhile."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from perpo_core.policy import stamps as inputs
from perpo_core.policy.resolve import resolve_policy
from perpo_core.policy.stamps import InputChanged, refer_to, require_unchanged, stamp_files
from perpo_core.process.parent import ChildFailed
from perpo_core.promotion.pointer import MODEL_FOLDER
from perpo_core.stages import collect, generate, train
from perpo_core.stages.collect.sources import jsonl_chunks
from perpo_core.stages.generate import child as generating
from perpo_core.stages.generate import sampling
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.stages.train import child as training
from perpo_core.stages.train.model import load_for_training
from perpo_core.store.keys import hash_folder
from perpo_core.store.store import Store
from schemas.config import PolicyConfig, RefreshConfig
from schemas.run import PolicyRef
from tests.perpo_core.cases import encode_noise, make_row, write_source
from tests.perpo_core.small_store import build_context
from tests.perpo_core.stages.train.small_lists import commit_lists
from tests.perpo_core.stages.train.training import NUM_LISTS, SOURCE, TRAIN

NUM_ROWS = 200
DIGITS = {"kind": "digits", "train": {"counting": 6}, "selection": {}, "validation": {},
          "test": {}}  # fmt: skip


# Data and images


def build_data(folder: Path, **settings: Any) -> tuple[Any, StageContext]:
    """(source of a row an image, its context)."""
    rows = [make_row(image=f"images/{n}.png", split="train") for n in range(NUM_ROWS)]
    source = write_source(folder / "data", rows, num_images=NUM_ROWS, **settings)
    config = RefreshConfig(source=source)
    policy = PolicyRef(digest="0" * 64, folder=folder)
    return source, StageContext(Store(folder / "store"), config, policy)


def collect_while(context: StageContext, change: Callable[[], Any]) -> Any:
    """The samples, where something happens once the first rows were reported."""
    changes = [change]

    def progress(done: float, total: float, unit: str) -> None:
        if changes:
            changes.pop()()

    return find_or_make(replace(context, progress=progress), collect).artifact


@pytest.mark.parametrize("on_bad_row", ["fail", "drop"])
@pytest.mark.parametrize("how", ["overwritten", "removed", "truncated", "led elsewhere"])
def test_an_image_that_changes_while_it_is_read_is_named(
    tmp_path: Path, how: str, on_bad_row: str
) -> None:
    _, context = build_data(tmp_path, on_bad_row=on_bad_row)
    image = tmp_path / "data" / "images" / "150.png"
    before = image.read_bytes()

    def lead_elsewhere() -> None:
        image.unlink()
        image.symlink_to("/etc/hostname")

    change: dict[str, Callable[[], Any]] = {
        "overwritten": lambda: image.write_bytes(encode_noise(999)),
        "removed": image.unlink,
        "truncated": lambda: image.write_bytes(before[:60]),
        "led elsewhere": lead_elsewhere,
    }
    with pytest.raises(InputChanged, match=f"^{image} changed while it was read; run again$"):
        collect_while(context, change[how])
    assert context.store.list_committed("samples") == []
    image.unlink(missing_ok=True)
    image.write_bytes(encode_noise(999))
    assert find_or_make(context, collect).artifact.counts.num_kept == NUM_ROWS


def test_a_file_that_is_written_while_it_is_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row more, and half a row, whatever is to be done with bad ones."""
    monkeypatch.setattr(jsonl_chunks, "MOST_ROWS", 8)
    for number, addition in enumerate((b"\n", b"\n{}", b'\n{"task": "grou')):
        for on_bad_row in ("fail", "drop"):
            folder = tmp_path / f"{number}-{on_bad_row}"
            source, context = build_data(folder, on_bad_row=on_bad_row)
            [file] = source.files

            def write_on(file: Path = file, addition: bytes = addition) -> None:
                with file.open("r+b") as handle:
                    lines = handle.read().splitlines()
                    handle.seek(0)
                    lines[199] = b'{"task": "ocr",' + lines[199][len(b'{"task": "ocr",') :]
                    handle.write(b"\n".join(lines) + addition)

            with pytest.raises(InputChanged, match=f"^{file} changed while it was read; run again"):
                collect_while(context, write_on)
            assert context.store.list_committed("samples") == []


def test_a_file_that_is_replaced_whole_is_read_as_it_was(tmp_path: Path) -> None:
    """What is open stays what it was; so its samples are what the key says."""
    source, context = build_data(tmp_path)
    [file] = source.files
    key = collect.compute_key(context.config, context.policy)

    def change() -> None:
        other = file.with_name("other.jsonl")
        other.write_text(file.read_text().replace("cat", "dog"))
        other.replace(file)

    samples = collect_while(context, change)
    assert samples.key == key != collect.compute_key(context.config, context.policy)
    prompts = pq.read_table(context.store.paths(samples), columns=["prompt"])
    assert "cat" in str(prompts) and "dog" not in str(prompts)


def run_after(stage: Any, change: Callable[[], Any]) -> Any:
    """The stage, where something happens between its key and its work, as in a wait."""

    def run(context: StageContext, key: str, *parents: Any) -> Any:
        change()
        return stage.run(context, key, *parents)

    return SimpleNamespace(KIND=stage.KIND, VERSION=1, compute_key=stage.compute_key, run=run)


def test_what_changes_between_key_and_work_is_named_too(tmp_path: Path) -> None:
    source, context = build_data(tmp_path)
    [file] = source.files
    image = tmp_path / "data" / "images" / "7.png"
    stage = run_after(collect, lambda: image.write_bytes(encode_noise(999)))
    with pytest.raises(InputChanged, match=f"^{image} changed"):
        find_or_make(context, stage)
    stage = run_after(collect, lambda: file.write_text(file.read_text().replace("cat", "dog")))
    with pytest.raises(InputChanged, match=f"^{file} changed"):
        find_or_make(context, stage)


# Policies


@pytest.fixture
def model(tmp_path: Path, policy: PolicyRef) -> PolicyRef:
    """A policy in a folder of one's own, with stamps."""
    folder = shutil.copytree(policy.folder, tmp_path / "models" / "own")
    return resolve_policy(PolicyConfig(model=str(folder)), Store(tmp_path))


def touch(policy: PolicyRef, name: str = "config.json") -> Path:
    """Another file of the same content: what is in it now nobody has hashed."""
    path = policy.folder / name
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    return path


def say_changed(path: Path) -> str:
    return f"^{path} changed while it was read; run again$"


def test_a_change_of_any_file_is_noticed_and_none_without(model: PolicyRef) -> None:
    require_unchanged(model)
    for change in (
        lambda: touch(model),
        lambda: os.utime(model.folder / "config.json", ns=(1, 1)),
        lambda: (model.folder / "adapter.json").write_text("{}"),
        lambda: (model.folder / "adapter.json").unlink(),
    ):
        known = refer_to(model.folder)
        change()
        with pytest.raises(InputChanged, match=f"^{model.folder}/(config|adapter).json changed"):
            require_unchanged(known)
    assert hash_folder(model.folder) == model.digest
    require_unchanged(refer_to(model.folder), PolicyRef(digest="0" * 64, folder=model.folder))


def test_no_answer_is_kept_of_a_policy_that_changed_while_it_was_loaded(
    tmp_path: Path, model: PolicyRef, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = replace(build_context(tmp_path, source=DIGITS), policy=model)
    samples = find_or_make(context, collect).artifact
    build = vars(generating)["build_engine"]  # the scripted one

    def load_another(job: Any) -> Any:
        touch(model, "model.safetensors")
        return build(job)

    monkeypatch.setattr(generating, "build_engine", load_another)
    path = model.folder / "model.safetensors"
    with pytest.raises(InputChanged, match=say_changed(path)):
        find_or_make(context, generate, samples)
    assert asked == [] and list(context.store.root.glob("candidates/*/part-*")) == []


def test_no_candidates_are_committed_of_a_policy_that_changed(
    tmp_path: Path, model: PolicyRef, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def progress(done: float, total: float, unit: str) -> None:
        if unit == "prompts":
            touch(model)

    context = replace(build_context(tmp_path, source=DIGITS), policy=model, progress=progress)
    samples = find_or_make(context, collect).artifact
    with pytest.raises(InputChanged, match=say_changed(model.folder / "config.json")):
        find_or_make(context, generate, samples)
    assert context.store.list_committed("candidates") == []


def test_a_child_that_breaks_on_a_changed_policy_is_not_tried_again(
    tmp_path: Path, model: PolicyRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(module: str, job: Any, **options: Any) -> None:
        touch(job.policy)
        raise ChildFailed(module, "failed", tmp_path, ["a tensor is missing"])

    context = replace(build_context(tmp_path, source=DIGITS), policy=model)
    samples = find_or_make(context, collect).artifact
    monkeypatch.setattr(sampling, "run_child", fail)
    with pytest.raises(InputChanged, match=say_changed(model.folder / "config.json")):
        find_or_make(context, generate, samples)


# Training


@pytest.fixture
def setting(tmp_path: Path, model: PolicyRef, other_policy: PolicyRef, processor: Any) -> Any:
    """(context, samples, preferences, the further reference's folder)."""
    extra = shutil.copytree(other_policy.folder, tmp_path / "models" / "extra")
    settings = TRAIN | {"epochs": 1, "objective": "mrpo", "extra_references": [str(extra)]}
    context = build_context(tmp_path, source=SOURCE | {"selection": {}}, train=settings)
    context = replace(context, policy=model)
    samples = find_or_make(context, collect).artifact
    preferences = commit_lists(context, samples, processor.tokenizer, NUM_LISTS)
    return context, samples, preferences, PolicyRef(digest="0" * 64, folder=extra)


RESULT: dict[str, Any] = {
    "device": "cpu", "chosen_step": 1, "reference_difference_nats": 0.0, "history": [],
    "readings": [],
}  # fmt: skip


@pytest.mark.parametrize("which", ["policy", "reference"])
@pytest.mark.parametrize("when", ["before", "meanwhile", "never"])
def test_no_training_is_committed_whose_models_changed(
    setting: Any, which: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, samples, preferences, reference = setting
    changing = context.policy if which == "policy" else reference

    def pretend(module: str, job: Any, **options: Any) -> dict[str, Any]:
        (job.folder / MODEL_FOLDER).mkdir()
        (job.folder / MODEL_FOLDER / "weights").write_bytes(b"trained")
        if when == "meanwhile":
            touch(changing)
        return RESULT

    monkeypatch.setattr(train, "run_child", pretend)
    stage = run_after(train, lambda: touch(changing) if when == "before" else None)
    if when == "never":
        assert find_or_make(context, stage, samples, preferences).artifact.files
        return
    with pytest.raises(InputChanged, match=say_changed(changing.folder / "config.json")):
        find_or_make(context, stage, samples, preferences)
    assert context.store.list_committed("checkpoint") == []


def test_a_reference_is_hashed_once_a_stage(setting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    context, samples, preferences, reference = setting
    hashed: list[Path] = []

    def note(folder: Path, *hash_each: Any) -> str:
        hashed.append(folder)
        return hash_folder(folder, *hash_each)

    def stop(*arguments: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(inputs, "hash_folder", note)
    monkeypatch.setattr(train, "run_child", stop)
    with pytest.raises(KeyboardInterrupt):
        find_or_make(context, train, samples, preferences)
    assert hashed == [reference.folder]


def test_what_a_training_loads_is_what_was_hashed(
    trainable: Any, model: PolicyRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_another(policy: PolicyRef, *arguments: Any) -> Any:
        touch(policy)
        return load_for_training(policy, *arguments)

    context = trainable[0]
    job = SimpleNamespace(config=context.config)
    training.load_model(job, model)  # type: ignore[arg-type]
    monkeypatch.setattr(training, "load_for_training", load_another)
    with pytest.raises(InputChanged, match=say_changed(model.folder / "config.json")):
        training.load_model(job, model)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_policy_replaced_in_the_midst_of_a_real_training_is_named(setting: Any) -> None:
    context, samples, preferences, _ = setting

    def progress(done: float, total: float, unit: str) -> None:
        if unit == "steps" and stamp_files(context.policy.folder) == context.policy.stamps:
            touch(context.policy)

    context = replace(context, progress=progress)
    with pytest.raises(InputChanged, match=say_changed(context.policy.folder / "config.json")):
        find_or_make(context, train, samples, preferences)
    assert context.store.list_committed("checkpoint") == []
    assert not list(context.store.root.glob("checkpoint/*/work/finished.json"))
