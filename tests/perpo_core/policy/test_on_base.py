"""Finding what a policy's adapter goes onto: where it lay, where it is named, and if it is gone."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from perpo_core.housekeeping import find_garbage, remove_garbage
from perpo_core.housekeeping.retention import list_unknown
from perpo_core.policy.builtin_folder import BUILTIN_FOLDER
from perpo_core.policy.resolve import locate_policy, name_place, resolve_policy
from perpo_core.policy.stamps import InputChanged, refer_to, require_unchanged
from perpo_core.promotion.pointer import (
    MODEL_FOLDER,
    find_damage,
    roll_back_to_previous,
)
from perpo_core.store.atomic import write_atomic
from perpo_core.store.base import PLACE_FILE, write_base, write_place
from perpo_core.store.keys import compute_hash, hash_folder
from perpo_core.store.store import YOUNG_S, Store
from perpo_core.store.workspace import describe_file
from schemas.artifact import Checkpoint
from schemas.config import PolicyConfig
from schemas.run import ADAPTER, PolicyRef
from tests.perpo_core.round_fixture import promote_checkpoint
from tests.perpo_core.small_store import common_fields
from tests.s3 import Machines

CONFIG = PolicyConfig()


def write_model(folder: Path, name: str = "base") -> PolicyRef:
    """A folder that stands for whole weights."""
    write_atomic(folder / "config.json", b"{}")
    write_atomic(folder / "model.safetensors", name.encode())
    return refer_to(folder)


def commit_policy(store: Store, name: str, base: PolicyRef | None, attempt: int = 0) -> Checkpoint:
    """A checkpoint: an adapter on the base, or whole weights."""
    key = compute_hash(["checkpoint", name])
    workspace = store.open_workspace("checkpoint", key, force=attempt > 0)
    folder = workspace.folder / MODEL_FOLDER
    place = []
    if base is None:
        write_model(folder, name)
    else:
        write_atomic(folder / "config.json", b"{}")
        write_atomic(folder / ADAPTER / "adapter_model.safetensors", f"{name} {attempt}".encode())
        write_base(folder, base.digest)
        write_place(folder, name_place(base.folder, store))
        place = [describe_file(workspace.folder / PLACE_FILE, PLACE_FILE)]
    files = workspace.describe_tree(MODEL_FOLDER)
    fields = common_fields("train", "checkpoint", 1, files) | {"key": key}
    return store.commit(
        Checkpoint(
            **fields | {"files": files + place, "attempt": workspace.attempt},
            policy_digest=hash_folder(folder),
            base_policy_digest=compute_hash("start"),
            chosen_step=1,
            reference_difference_nats=0,
            history=[],
            readings=[],
        )
    )


def folder_of(store: Store, checkpoint: Checkpoint) -> Path:
    return store.path(checkpoint, MODEL_FOLDER)


@pytest.fixture
def base(tmp_path: Path) -> PolicyRef:
    return write_model(tmp_path / "base")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_the_base_is_found_where_it_lay(store, base) -> None:
    adapted = commit_policy(store, "adapted", base)
    found = locate_policy(folder_of(store, adapted), CONFIG, store)
    assert found.base == base and found.weights_folder == base.folder
    assert found.adapter_folder == found.folder / ADAPTER
    assert found.digest == adapted.policy_digest


def test_the_base_is_found_where_the_configuration_says(store, base, tmp_path) -> None:
    adapted = folder_of(store, commit_policy(store, "adapted", base))
    base.folder.rename(tmp_path / "moved")
    for config in (
        PolicyConfig(base=str(tmp_path / "moved")),
        PolicyConfig(model=str(tmp_path / "moved")),
    ):
        found = locate_policy(adapted, config, store)
        assert found.base is not None and found.base.folder == tmp_path / "moved"
        assert found.digest == hash_folder(adapted), "where the base lies is no part of it"


def test_a_base_that_is_gone_or_changed_is_one_sentence(store, base) -> None:
    adapted = folder_of(store, commit_policy(store, "adapted", base))
    (base.folder / "model.safetensors").write_bytes(b"other")
    with pytest.raises(
        ValueError,
        match=f"adapter on the policy {base.digest[:12]}, and {base.folder} holds another one now;"
        " put the base back there, or name its folder as policy.base$",
    ):
        locate_policy(adapted, CONFIG, store)
    shutil.rmtree(base.folder)
    with pytest.raises(ValueError, match=f"and {base.folder} is gone; put the base back"):
        locate_policy(adapted, CONFIG, store)


def test_a_base_that_changes_meanwhile_is_noticed(store, base) -> None:
    found = locate_policy(folder_of(store, commit_policy(store, "adapted", base)), CONFIG, store)
    require_unchanged(found)
    (base.folder / "model.safetensors").write_bytes(b"other")
    with pytest.raises(InputChanged, match=f"^{base.folder}/model.safetensors changed"):
        require_unchanged(found)


def test_a_store_that_moves_takes_bases_inside_it_along(store, tmp_path) -> None:
    whole = commit_policy(store, "whole", None)
    adapted = commit_policy(store, "adapted", refer_to(folder_of(store, whole)))
    promote_checkpoint(store, adapted)
    store.root.rename(tmp_path / "elsewhere")
    moved = Store(tmp_path / "elsewhere")
    found = resolve_policy(PolicyConfig(model="promoted"), moved)
    assert found.base is not None and found.base.folder == folder_of(moved, whole)
    # Named by its folder from another store, too.
    named = PolicyConfig(model=str(folder_of(moved, adapted)))
    assert resolve_policy(named, Store(tmp_path / "third")).base == found.base


def test_the_built_in_policy_is_found_wherever_it_is_installed(store) -> None:
    adapted = folder_of(store, commit_policy(store, "adapted", refer_to(BUILTIN_FOLDER)))
    assert "site-packages" not in (adapted.parent / PLACE_FILE).read_text()
    assert str(BUILTIN_FOLDER) not in (adapted.parent / PLACE_FILE).read_text()
    found = locate_policy(adapted, PolicyConfig(model="promoted"), store)
    assert found.base is not None and found.base.folder == BUILTIN_FOLDER


@pytest.mark.parametrize("damage", ["changed", "gone", "place"])
def test_a_promoted_policy_without_its_base_is_damaged(store, damage) -> None:
    """So nobody rolls back to it, and no run starts from it."""
    whole = commit_policy(store, "whole", None)
    adapted = commit_policy(store, "adapted", refer_to(folder_of(store, whole)))
    promote_checkpoint(store, adapted)
    promote_checkpoint(store, commit_policy(store, "later", None))
    pointer = roll_back_to_previous(store)
    assert find_damage(store, pointer) is None
    weights = folder_of(store, whole) / "model.safetensors"
    if damage == "changed":
        weights.write_bytes(b"other")
    elif damage == "gone":
        shutil.rmtree(weights.parent)
    else:
        (folder_of(store, adapted).parent / PLACE_FILE).unlink()
    assert "its base" in (find_damage(store, pointer) or "")
    with pytest.raises(ValueError, match=r"policy.model = promoted, but its base .*; roll the"):
        resolve_policy(PolicyConfig(model="promoted"), store)


# Clean-up


def clean(store: Store) -> None:
    garbage = find_garbage(store, [], [], time.time() + YOUNG_S + 3600)
    if garbage:
        remove_garbage(store, garbage)


def build_rounds(store: Store) -> list[Checkpoint]:
    """Whole weights, then two adapters on them, of which the second is promoted after the first."""
    whole = commit_policy(store, "whole", None)
    base = refer_to(folder_of(store, whole))
    rounds = [whole, *(commit_policy(store, name, base) for name in ("first", "second", "third"))]
    for checkpoint in rounds:
        promote_checkpoint(store, checkpoint)
    return rounds


def check_clean_up(store: Store) -> None:
    """The promoted policy and the one before it stay, and what both are adapters on."""
    whole, first, second, third = build_rounds(store)
    clean(store)
    kept = {artifact.key for artifact in store.list_committed("checkpoint")}
    assert kept == {whole.key, second.key, third.key} - {first.key}
    assert resolve_policy(PolicyConfig(model="promoted"), store).digest == third.policy_digest
    roll_back_to_previous(store)
    assert resolve_policy(PolicyConfig(model="promoted"), store).digest == second.policy_digest


def test_clean_up_keeps_what_a_kept_adapter_goes_onto(store) -> None:
    check_clean_up(store)


def test_clean_up_in_a_bucket_keeps_it_too(machines: Machines) -> None:
    check_clean_up(machines.open("here"))


def test_another_machine_fetches_the_base_too(machines: Machines) -> None:
    build_rounds(machines.open("here"))
    there = machines.open("there")
    found = resolve_policy(PolicyConfig(model="promoted"), there)
    assert found.base is not None and found.base.folder.is_relative_to(there.root)
    assert (found.base.folder / "model.safetensors").read_bytes() == b"whole"


def test_clean_up_keeps_the_base_of_an_attempt_that_was_replaced(store) -> None:
    """The promoted pointer names the attempt; artifact.json tells of the later one."""
    whole = commit_policy(store, "whole", None)
    adapted = commit_policy(store, "adapted", refer_to(folder_of(store, whole)))
    promote_checkpoint(store, adapted)
    commit_policy(store, "adapted", write_model(store.root.parent / "other", "other"), attempt=1)
    clean(store)
    assert folder_of(store, whole).is_dir()
    assert resolve_policy(PolicyConfig(model="promoted"), store).digest == adapted.policy_digest


def test_nothing_goes_while_nobody_knows_where_a_base_lies(store) -> None:
    *_, third = build_rounds(store)
    assert list_unknown(store, []) == []
    place = folder_of(store, third).parent / PLACE_FILE
    place.write_bytes(b"{")
    assert list_unknown(store, []) == [place.relative_to(store.root).as_posix()]
