"""Damaged and foreign objects in a bucket: named once and left out, as in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.runs.records import load_records
from perpo_core.policy.resolve import resolve_policy
from perpo_core.promotion.pointer import (
    apply_promotion,
    load_history,
    load_promoted,
    roll_back_to_previous,
)
from tests.flows.commands.test_remote_commands import build_config, build_decision, invoke
from tests.flows.toy import install
from tests.perpo_core.stores import run_toy
from tests.s3 import Machines

CURRENT, HISTORY = "promoted/current.json", "promoted/history.jsonl"


@pytest.fixture(autouse=True)
def toy_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setitem)


@pytest.mark.parametrize("damage", [b"", b"\xff\x00", b'{"policy', b"null", None])
def test_a_pointer_in_a_bucket_is_recovered_from_its_history(
    damage: bytes | None, machines: Machines
) -> None:
    here = machines.open("here")
    first = build_decision(here, "first")
    second = build_decision(here, "second", first[0].policy_digest)
    third = build_decision(here, "third", second[0].policy_digest)
    apply_promotion(here, *first)
    apply_promotion(here, *second)
    lines = here.read(HISTORY) or b""
    machines.remote.write(HISTORY, lines + b'{"cut')
    if damage is None:
        machines.remote.delete(CURRENT)
    else:
        machines.remote.write(CURRENT, damage)

    there = machines.open("there")
    said = invoke("promotions", "--store", machines.address)
    assert said.exit_code == 0, said.output
    assert said.stderr.count(f"{machines.address}/{CURRENT}: it is ") == 1
    assert said.stderr.count(f"{machines.address}/{HISTORY}: line 3 cannot be read") == 1
    found = load_promoted(there)
    assert found is not None and found.policy_digest == second[0].policy_digest

    apply_promotion(there, *third)
    digests = [decision[0].policy_digest for decision in (first, second, third)]
    assert [entry.policy_digest for entry in load_history(machines.open("third"))] == digests
    assert (there.read(HISTORY) or b"").startswith(lines + b'{"cut\n')
    assert roll_back_to_previous(there).policy_digest == digests[1]


def test_records_in_a_bucket_that_cannot_be_read_are_named(
    machines: Machines, tmp_path: Path
) -> None:
    config = build_config(machines, tmp_path)
    record = run_toy(config, 1, resolve_policy(config.policy, machines.open("here")))
    bad = ["runs/toy-20260101-000000.json", "runs/notes.json", "runs/sub/a.json"]
    for name in bad:
        machines.remote.write(name, b'{"run_id": "dig')
    assert load_records(machines.open("there")) == [record]
    for command in ("runs", "show", "trends", "gc", "promotions"):
        said = invoke(command, "--store", machines.address)
        assert said.exit_code == 0, said.output
        assert [said.stderr.count(f"{machines.address}/{name}: ") for name in bad] == [1, 1, 1]
