"""Runs, promotions, locks and clean-up of a store in a bucket, from two machines."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.commands.cli import app
from flows.runs.records import load_record, load_records, new_run_id
from perpo_core.doctor import check_run
from perpo_core.housekeeping import find_garbage, remove_garbage
from perpo_core.policy.resolve import resolve_policy
from perpo_core.promotion import pointer
from perpo_core.promotion.approvals import load_approvals
from perpo_core.promotion.pointer import apply_promotion, find_damage, load_history, load_promoted
from perpo_core.stages import promote
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.store.bucket.store import RemoteStore
from perpo_core.store.keys import hash_folder
from perpo_core.store.locks import is_locked, lock_name, lock_store, share_store
from perpo_core.store.store import YOUNG_S
from schemas.artifact import Checkpoint, Promotion
from schemas.config import PolicyConfig, RefreshConfig
from schemas.run import PolicyRef
from tasks.modules import load_stage
from tests.flows.toy import install, write_policy
from tests.perpo_core.round_fixture import GATES, build_round
from tests.perpo_core.small_store import POLICY_DIGEST
from tests.perpo_core.stores import read_kept, run_toy
from tests.s3 import Machines

NEVER_S = 10 * YOUNG_S


@pytest.fixture(autouse=True)
def toy_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setitem)


def build_config(machines: Machines, tmp_path: Path, **settings: Any) -> RefreshConfig:
    policy = tmp_path / "policy"
    if not policy.exists():
        write_policy(policy)
    values = {"name": "toy", "store": machines.address, "policy": {"model": str(policy)}}
    return RefreshConfig.model_validate(values | settings)


def with_beta(config: RefreshConfig, beta: float) -> RefreshConfig:
    return config.model_copy(update={"train": config.train.model_copy(update={"beta": beta})})


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def test_an_address_stays_an_address_in_a_configuration_and_its_record(
    machines: Machines, tmp_path: Path
) -> None:
    config = build_config(machines, tmp_path)
    assert config.store == machines.address
    again = RefreshConfig.model_validate_json(config.model_dump_json())
    assert again.store == machines.address
    assert RefreshConfig(store=Path("store")).store == Path("store")
    assert RefreshConfig.model_validate_json('{"store": "store"}').store == Path("store")


def test_runs_of_one_machine_are_listed_and_shown_on_another(
    machines: Machines, tmp_path: Path
) -> None:
    config = build_config(machines, tmp_path)
    machines.open("here")
    record = run_toy(config, 1, resolve_policy(config.policy, machines.open("here")))
    there = machines.open("there")
    assert load_records(there) == [record]
    assert load_record(there, "latest") == record
    assert new_run_id(there, "toy", datetime(2026, 1, 1)) == "toy-20260101-000000"

    store = ["--store", machines.address]
    listed = invoke("runs", *store)
    assert listed.exit_code == 0, listed.output
    assert record.run_id in listed.stdout
    shown = invoke("show", record.run_id, *store)
    assert shown.exit_code == 0, shown.output
    assert f'"store": "{machines.address}"' in shown.stdout
    missing = invoke("show", "none", *store)
    assert missing.exit_code == 2
    assert f"there is no run 'none' in {machines.address}" in missing.output
    assert invoke("trends", *store).exit_code == 0
    assert there.read("reports/trends.html") is not None


def test_digests_and_keys_do_not_depend_on_where_the_store_is(
    machines: Machines, tmp_path: Path
) -> None:
    remote = build_config(machines, tmp_path)
    local = build_config(machines, tmp_path, store=tmp_path / "store")
    policy = resolve_policy(remote.policy, machines.open("here"))
    there, here = run_toy(remote, 1, policy), run_toy(local, 1, policy)
    assert {s: (e.key, e.digest) for s, e in there.stages.items()} == {
        s: (e.key, e.digest) for s, e in here.stages.items()
    }


def test_another_machine_reuses_every_stage(machines: Machines, tmp_path: Path) -> None:
    config = build_config(machines, tmp_path)
    policy = resolve_policy(config.policy, machines.open("here"))
    made = run_toy(config, 1, policy)
    machines.open("there")
    reused = run_toy(config, 2, policy)
    assert not any(entry.reused for entry in made.stages.values())
    assert all(entry.reused for entry in reused.stages.values())


def build_decision(
    store: RemoteStore, name: str, base: str = POLICY_DIGEST
) -> tuple[Promotion, Checkpoint]:
    """A promotion whose gates passed, not applied yet, and its checkpoint."""
    settings = RefreshConfig.model_validate(
        {"store": str(store.place), "promote": {**GATES, "approval": True}}
    )
    context = StageContext(store, settings, PolicyRef(digest=POLICY_DIGEST, folder=store.root))
    evaluation, checkpoint = build_round(context, name, base_policy=base)
    promotion = find_or_make(context, promote, evaluation, checkpoint).artifact
    assert promotion.promoted
    return promotion, checkpoint


def test_a_promoted_policy_is_fetched_where_it_is_wanted(
    machines: Machines, tmp_path: Path
) -> None:
    here = machines.open("here")
    promotion, checkpoint = build_decision(here, "first")
    apply_promotion(here, promotion, checkpoint)

    there = machines.open("there")
    moved = load_promoted(there)
    assert moved is not None
    ref = resolve_policy(PolicyConfig(model="promoted"), there)
    folder = there.root / (moved.folder or "")
    assert (ref.digest, ref.folder) == (promotion.policy_digest, folder)
    assert hash_folder(ref.folder) == promotion.policy_digest

    third = machines.open("third")
    for name in machines.remote.list_objects(f"checkpoint/{checkpoint.key}/"):
        if "/model/" in name:
            machines.remote.write(name, b"x")
    assert "is damaged" in (find_damage(third, moved) or "")


def test_a_promotion_that_another_machine_was_faster_than_is_decided_again(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = machines.open("here")
    mine, theirs = build_decision(here, "mine"), build_decision(here, "theirs")
    there = machines.open("there")
    build = pointer.build_pointer
    raced: list[bool] = []

    def build_late(store: Any, promotion: Promotion, checkpoint: Checkpoint) -> pointer.Pointer:
        """Between this machine's look at the pointer and its move, the other one moves it."""
        if store is here and not raced:
            raced.append(True)
            apply_promotion(there, *theirs)
        return build(store, promotion, checkpoint)

    monkeypatch.setattr(pointer, "build_pointer", build_late)
    with pytest.raises(pointer.ChampionChanged, match=theirs[0].policy_digest[:12]):
        apply_promotion(here, *mine)
    for store in (here, there, machines.open("third")):
        assert [entry.policy_digest for entry in load_history(store)] == [theirs[0].policy_digest]
        current = load_promoted(store)
        assert current is not None
        assert current.policy_digest == theirs[0].policy_digest


def test_a_move_that_its_machine_did_not_live_to_note_is_noted_by_the_next(
    machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = machines.open("here")
    first = build_decision(here, "first")
    second = build_decision(here, "second", first[0].policy_digest)
    apply_promotion(here, *first)
    machines.remote.delete("promoted/history.jsonl")
    there = machines.open("there")
    apply_promotion(there, *second)
    digests = [first[0].policy_digest, second[0].policy_digest]
    assert [entry.policy_digest for entry in load_history(there)] == digests
    rolled = pointer.roll_back_to_previous(there)
    assert rolled.policy_digest == digests[0]
    assert [entry.answer for entry in load_approvals(there)] == ["waiting", "waiting"]
    said = invoke("promotions", "--store", machines.address)
    assert said.exit_code == 0, said.output
    assert "rolled back" in said.stdout


def test_a_run_on_one_machine_keeps_the_same_run_on_another_away(machines: Machines) -> None:
    here, there = machines.open("here"), machines.open("there")
    with lock_name(here, "nightly") as check:
        check()
        assert is_locked(there, "nightly")
        refused = pytest.raises(ValueError, match=r"a run of 'nightly' is going on in s3://.* on ")
        with refused, lock_name(there, "nightly"):
            pass
        with lock_name(there, "other"):
            pass
        with pytest.raises(ValueError, match="a run of 'nightly' is going on"), lock_store(there):
            pass
    assert not is_locked(there, "nightly")
    with lock_store(there):
        for hold in (lambda: lock_name(here, "nightly"), lambda: share_store(here)):
            with pytest.raises(ValueError, match="perpo gc is at work"), hold():
                pass
        with pytest.raises(ValueError, match="another perpo command"), lock_store(here):
            pass
    with lock_name(here, "nightly"), share_store(there):
        pass


def test_a_clean_up_removes_what_no_kept_run_rests_on(machines: Machines, tmp_path: Path) -> None:
    config = build_config(machines, tmp_path)
    here = machines.open("here")
    policy = resolve_policy(config.policy, here)
    records = [run_toy(with_beta(config, n / 10), n, policy) for n in range(1, 4)]
    before = set(machines.remote.list_objects())
    there = machines.open("there")
    garbage = find_garbage(there, *read_kept(there, 1), time.time())
    assert {found.kind for found in garbage} == {"checkpoint", "evaluation", "promotion", "reports"}
    remove_garbage(there, garbage)

    gone = before - set(machines.remote.list_objects())
    keys = {entry.key for record in records[:2] for entry in record.stages.values()}
    staying = {entry.key for entry in records[2].stages.values()}
    assert {name.split("/")[1] for name in gone if not name.startswith("reports")} == keys - staying
    third = machines.open("third")
    assert [third.find(e.kind, e.key) is not None for e in records[2].stages.values()] == [True] * 7
    assert len(load_records(third)) == 3
    assert find_garbage(third, *read_kept(third, 1), time.time()) == []


def test_a_clean_up_takes_the_commit_first(
    machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = build_config(machines, tmp_path)
    here = machines.open("here")
    context = StageContext(here, config, resolve_policy(config.policy, here))
    made = find_or_make(context, load_stage("collect")).artifact
    garbage = find_garbage(here, [], [], time.time() + NEVER_S)
    delete, deleted = here.remote.delete, []

    def delete_one(name: str) -> None:
        deleted.append(name)
        delete(name)
        assert machines.open("there").find(made.kind, made.key) is None

    monkeypatch.setattr(here.remote, "delete", delete_one)
    remove_garbage(here, garbage)
    assert deleted[0].endswith("artifact.json")
    assert len(deleted) > 1


def test_a_clean_up_leaves_young_work_and_takes_attempts_that_were_replaced(
    machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = build_config(machines, tmp_path)
    here = machines.open("here")
    policy = resolve_policy(config.policy, here)
    run_toy(config, 1, policy)
    record = run_toy(config, 2, policy, force_from="train")
    entry = record.stages["train"]
    unfinished = f"{entry.kind}/{entry.key}/{'f' * 16}/model/x"
    machines.remote.write(unfinished, b"of an attempt that is going on")
    machines.remote.write(f"candidates/{'e' * 64}/{'f' * 16}/x", b"of a stage that is going on")

    def names_now(now_s: float) -> set[str]:
        found = find_garbage(here, *read_kept(here, 9), now_s)
        return {p.relative_to(here.root).as_posix() for each in found for p in each.paths}

    young = names_now(time.time())
    assert f"{entry.kind}/{entry.key}/attempt-0.json" in young
    assert unfinished not in young
    assert not any(name.startswith("candidates/e") for name in young)
    old = names_now(time.time() + NEVER_S)
    assert unfinished in old
    assert any(name.startswith("candidates/e") for name in old)
    garbage = find_garbage(here, *read_kept(here, 9), time.time())
    remove_garbage(here, garbage)
    assert machines.open("there").find(entry.kind, entry.key) is not None


def test_gc_by_the_command_line(machines: Machines, tmp_path: Path) -> None:
    config = build_config(machines, tmp_path)
    policy = resolve_policy(config.policy, machines.open("here"))
    for number in range(1, 3):
        run_toy(with_beta(config, number / 10), number, policy)
    store = ["--store", machines.address]
    said = invoke("gc", "--keep", "1", *store)
    assert said.exit_code == 0, said.output
    assert "nothing was removed" in said.stdout
    said = invoke("gc", "--keep", "1", "--delete", *store)
    assert said.stdout.splitlines()[-1] == "removed"
    assert "nothing to remove" in invoke("gc", "--keep", "1", *store).stdout


def test_the_doctor_tries_the_bucket(machines: Machines, tmp_path: Path) -> None:
    config = build_config(machines, tmp_path)
    before = machines.remote.list_objects()
    said = [f.what for f in check_run(config, tmp_path / "policy")]
    assert f"store: {machines.address} can be read and written" in said
    assert machines.remote.list_objects() == before

    missing = config.model_copy(update={"store": "s3://not-there/prefix"})
    errors = [f.what for f in check_run(missing, tmp_path / "policy") if f.level == "error"]
    assert errors == [
        "store = s3://not-there/prefix: there is no bucket not-there; create it, or correct the "
        "address"
    ]


def test_a_server_that_pays_conditions_no_heed_is_refused(
    machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = machines.remote._fs.call_s3

    def call_unheeding(method: str, **arguments: Any) -> Any:
        kept = {k: v for k, v in arguments.items() if k not in ("IfMatch", "IfNoneMatch")}
        return call(method, **kept)

    monkeypatch.setattr(machines.remote._fs, "call_s3", call_unheeding)
    [error] = [f for f in check_run(build_config(machines, tmp_path)) if f.level == "error"]
    assert "does not keep to conditional writes" in error.what


def test_a_run_recorded_on_another_machine_finds_its_policy(
    machines: Machines, tmp_path: Path
) -> None:
    from flows.recipes.refresh import find_recorded_policy

    here = machines.open("here")
    promotion, checkpoint = build_decision(here, "first")
    config = build_config(machines, tmp_path)
    record = run_toy(config, 1, resolve_policy(config.policy, here)).model_copy(
        update={
            "policy_folder": Path("/home/else/.cache/perpo/x") / checkpoint.kind / checkpoint.key
            / "model",
            "policy_digest": promotion.policy_digest,
        }
    )  # fmt: skip
    there = machines.open("there")
    found = find_recorded_policy(there, record)
    folder = there.path(checkpoint, "model")
    assert (found.digest, found.folder) == (promotion.policy_digest, folder)
    gone = record.model_copy(update={"policy_folder": Path("/home/else/model")})
    with pytest.raises(ValueError, match="is no longer in /home/else/model"):
        find_recorded_policy(there, gone)


def test_a_report_is_written_anew_on_another_machine(machines: Machines, tmp_path: Path) -> None:
    config = build_config(machines, tmp_path)
    record = run_toy(config, 1, resolve_policy(config.policy, machines.open("here")))
    machines.open("there")
    said = invoke("report", "latest", "--store", machines.address)
    assert said.exit_code == 0, said.output
    body = machines.open("third").read(f"reports/{record.run_id}/report.json")
    assert body is not None
    assert json.loads(body)["run_id"] == record.run_id
