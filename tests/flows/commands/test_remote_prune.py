"""What the bucket no longer has leaves every machine's working copy; so do uploads cut off."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.commands.cli import app
from perpo_core.policy.resolve import resolve_policy
from perpo_core.store.bucket import uploads as remote_uploads
from perpo_core.store.bucket.uploads import end_cut_uploads
from perpo_core.store.file_lock import hold_file
from perpo_core.store.store import LOCK_FILE, YOUNG_S, Store
from schemas.config import RefreshConfig
from schemas.run import PolicyRef, RunRecord
from tests.flows.toy import install, write_policy
from tests.perpo_core.stores import run_toy
from tests.s3 import REQUESTS, Machines

LONG_AGO_S = 2 * YOUNG_S


@pytest.fixture(autouse=True)
def toy_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setitem)


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def nights(machines: Machines, tmp_path: Path) -> list[RunRecord]:
    """Two runs, made on the machine `here` and fetched by the machine `there`."""
    policy = write_policy(tmp_path / "policy")
    config = RefreshConfig.model_validate(
        {"name": "toy", "store": machines.address, "policy": {"model": str(policy)}}
    )
    ref = resolve_policy(config.policy, machines.open("here"))
    records = []
    for number in (1, 2):
        train = config.train.model_copy(update={"beta": number / 10})
        records.append(run_toy(config.model_copy(update={"train": train}), number, ref))
    there = machines.open("there")
    for entry in (e for record in records for e in record.stages.values()):
        assert there.find(entry.kind, entry.key) is not None
    for record in records:
        there.fetch_file(f"reports/{record.run_id}/report.html")
    return records


def make_old(store: Store) -> None:
    """As if nobody had touched this machine's copy for days."""
    then_s = time.time() - LONG_AGO_S
    for path in (store.root, *store.root.rglob("*")):
        os.utime(path, (then_s, then_s))


def list_copies(store: Store) -> set[str]:
    """Keys of the artifacts in a machine's copy, and its pages."""
    keys = {key for kind in ("checkpoint", "evaluation") for key in Store.list_keys(store, kind)}
    return keys | {p.parent.name for p in store.root.glob("reports/*/report.html")}


def clean_the_bucket(machines: Machines, nights: list[RunRecord]) -> set[str]:
    """`perpo gc` on the machine `here`; what went."""
    machines.open("here")
    done = invoke("gc", "--keep", "1", "--delete", "--store", machines.address)
    assert done.stdout.splitlines()[-1] == "removed", done.output
    first, second = nights
    keys = {first.stages[stage].key for stage in ("train", "evaluate")}
    assert not keys & {entry.key for entry in second.stages.values()}
    return keys | {first.run_id}


def test_gc_prunes_this_machines_copy_though_the_bucket_has_nothing_to_give(
    machines: Machines, nights: list[RunRecord]
) -> None:
    gone = clean_the_bucket(machines, nights)
    there = machines.open("there")
    before = list_copies(there)
    assert gone < before
    said = invoke("gc", "--keep", "1", "--delete", "--store", machines.address)
    assert "nothing to remove" in said.stdout
    assert list_copies(there) == before  # touched within a day
    make_old(there)
    assert invoke("gc", "--keep", "1", "--store", machines.address).exit_code == 0
    assert list_copies(there) == before  # only listed
    said = invoke("gc", "--keep", "1", "--delete", "--store", machines.address)
    assert "the working copy on this machine lost 4 that the bucket no longer has" in said.stdout
    assert list_copies(there) == before - gone


def test_a_run_prunes_its_own_machines_copy(machines: Machines, nights: list[RunRecord]) -> None:
    from flows.recipes.runner import Runner, recording

    gone = clean_the_bucket(machines, nights)
    there = machines.open("there")
    before = list_copies(there)
    make_old(there)
    last = nights[1]
    policy = PolicyRef(digest=last.policy_digest, folder=last.policy_folder)
    with recording(Runner(last.config, policy)):
        assert list_copies(there) == before - gone
    for entry in last.stages.values():
        assert there.find(entry.kind, entry.key) is not None


def test_little_is_asked_for_it(machines: Machines, nights: list[RunRecord]) -> None:
    there = machines.open("there")
    for is_old, most in ((False, 0), (True, 9)):
        asked = len(REQUESTS)
        there.prune(time.time() + is_old * LONG_AGO_S)
        assert len(REQUESTS) - asked <= most
    assert {nights[0].run_id, nights[1].run_id} <= list_copies(there)


def test_what_somebody_makes_and_what_a_restart_needs_stays(
    machines: Machines, nights: list[RunRecord]
) -> None:
    clean_the_bucket(machines, nights)
    there = machines.open("there")
    first = nights[0].stages
    being_made = there.folder(first["evaluate"].kind, first["evaluate"].key)
    interrupted = there.folder("checkpoint", "c" * 64)
    (interrupted / "work").mkdir(parents=True)
    (interrupted / "work" / "checkpoint-7").write_bytes(b"1")
    make_old(there)
    with hold_file(being_made / LOCK_FILE) as held:
        assert held
        there.prune(time.time())
        assert being_made.is_dir()
    assert interrupted.is_dir()
    there.prune(time.time())
    assert not being_made.exists()
    there.tidy(time.time())
    assert not interrupted.exists()


def begin_uploads(machines: Machines, *names: str) -> None:
    """Each with a part, as a kill leaves it."""
    remote = machines.remote
    for name in names:
        said = remote._fs.call_s3("create_multipart_upload", **remote._name(name))
        remote._fs.call_s3(
            "upload_part", **remote._name(name), UploadId=said["UploadId"], PartNumber=1, Body=b"1"
        )


def test_uploads_that_were_cut_off_are_ended(machines: Machines) -> None:
    here = machines.open("here")
    here.write("runs/a.json", b"1")
    begin_uploads(machines, "checkpoint/x/model", "candidates/y/part-0")
    uploads = machines.remote.list_uploads()
    assert {each.name for each in uploads} == {"checkpoint/x/model", "candidates/y/part-0"}

    begun_s = max(each.begun_s for each in uploads)
    assert end_cut_uploads(machines.remote, begun_s + YOUNG_S - 1) == []
    assert machines.remote.list_uploads() == uploads
    here.remote.delete("runs/a.json")
    said = invoke("gc", "--delete", "--store", machines.address)
    assert said.exit_code == 0, said.output
    assert "2 uploads that were cut off were ended" in said.stdout
    assert machines.remote.list_uploads() == []


def test_gc_says_where_uploads_cannot_be_ended(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ClientError

    here = machines.open("here")
    call = here.remote._fs.call_s3

    def refuse(method: str, **arguments: Any) -> Any:
        if method == "list_multipart_uploads":
            raise ClientError({"Error": {"Code": "AccessDenied"}}, method)
        return call(method, **arguments)

    monkeypatch.setattr(here.remote._fs, "call_s3", refuse)
    said = invoke("gc", "--delete", "--store", machines.address)
    assert said.exit_code == 0, said.output
    assert remote_uploads.RULE in said.stdout
    assert "AccessDenied" in said.stdout


def test_a_store_in_a_folder_has_nothing_to_prune(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.prune(time.time())
    assert store.tidy(time.time()) == []
    assert not store.root.exists()
