"""A lease: one holder at a time, a dead one's is free after a while, and a late one is told."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager

import pytest

from perpo_core.store.bucket import lease as leases
from perpo_core.store.bucket.lease import Lease, find_holder, hold_lease
from perpo_core.store.bucket.objects import RemoteError
from tests.s3 import Machines

NAME = "runs/nightly.lease"
NEVER_S = 60.0


def hold(
    machines: Machines, machine: str, beat_s: float = NEVER_S
) -> AbstractContextManager[Lease | None]:
    return hold_lease(machines.remote, NAME, machine, beat_s)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases of a second, the least that a server's clock can tell."""
    monkeypatch.setattr(leases, "LEASE_S", 1.0)


def test_one_holds_it_and_the_next_gets_it_afterwards(machines: Machines) -> None:
    with hold(machines, "here") as first:
        assert first is not None
        first.check()
        assert "process" in (find_holder(machines.remote, NAME, "there") or "")
        with hold(machines, "there") as second:
            assert second is None
    assert find_holder(machines.remote, NAME, "there") is None
    with hold(machines, "there") as third:
        assert third is not None


def test_what_died_on_this_machine_is_taken_over_at_once(machines: Machines) -> None:
    """A lock on a file told that it is dead."""
    with hold(machines, "here") as dead:
        assert dead is not None
        assert find_holder(machines.remote, NAME, "here") is None
        with hold(machines, "here") as again:
            assert again is not None
            assert find_holder(machines.remote, NAME, "there") is not None


def test_a_write_whose_answer_was_lost_is_no_other_holders(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap = machines.remote.swap

    def swap_and_lose(name: str, content: bytes, version: str | None) -> str | None:
        swap(name, content, version)
        raise RemoteError("the line broke")

    with hold(machines, "here") as lease:
        assert lease is not None
        with monkeypatch.context() as broken:
            broken.setattr(machines.remote, "swap", swap_and_lose)
            lease.renew()
        lease.renew()
        lease.check()


@pytest.mark.usefixtures("brief")
def test_a_living_holder_keeps_it_by_renewing(machines: Machines) -> None:
    with hold(machines, "here", beat_s=0.2) as first:
        assert first is not None
        time.sleep(2.5)
        first.check()
        with hold(machines, "there") as second:
            assert second is None


@pytest.mark.usefixtures("brief")
def test_a_dead_holders_lease_is_free_after_a_while_and_a_late_one_is_told(
    machines: Machines,
) -> None:
    with hold(machines, "here") as late:
        assert late is not None
        time.sleep(2.1)
        assert find_holder(machines.remote, NAME, "there") is None
        with hold(machines, "there") as second:
            assert second is not None
            late.renew()
            with pytest.raises(ValueError, match=r"may have taken runs/nightly\.lease over"):
                late.check()
            second.renew()
            second.check()
            late.give_back()  # of what it no longer has
            assert find_holder(machines.remote, NAME, "here") is not None


@pytest.mark.usefixtures("brief")
def test_a_holder_out_of_touch_counts_as_late_even_if_nobody_took_over(machines: Machines) -> None:
    with hold(machines, "here") as late:
        assert late is not None
        time.sleep(1.1)
        with pytest.raises(ValueError, match="start the same command again"):
            late.check()
        late.renew()  # it was still ours
        late.check()


class Failing:
    """`swap` of a bucket, where the next beats end in these errors."""

    def __init__(self, machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
        self._swap = machines.remote.swap
        self.errors: list[Exception] = []
        monkeypatch.setattr(machines.remote, "swap", self.swap)

    def swap(self, name: str, content: bytes, version: str | None) -> str | None:
        if self.errors:
            raise self.errors.pop(0)
        return self._swap(name, content, version)


@pytest.mark.usefixtures("brief")
def test_the_heartbeat_survives_any_error_and_tells_it_once(
    machines: Machines, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = Failing(machines, monkeypatch)
    with hold(machines, "here", beat_s=0.1) as lease:
        assert lease is not None
        failing.errors = [TimeoutError(), KeyError("ETag"), RemoteError("the line broke")]
        time.sleep(2.5)
        assert failing.errors == []
        lease.check()
        with hold(machines, "there") as second:
            assert second is None
    [line] = capsys.readouterr().err.splitlines()
    assert line == "runs/nightly.lease could not be renewed, trying on: TimeoutError()"


def test_what_breaks_while_it_is_given_back_breaks_no_run(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Failing(machines, monkeypatch)
    with hold(machines, "here") as lease:
        assert lease is not None
        failing.errors = [TimeoutError()]
    assert find_holder(machines.remote, NAME, "there") is not None  # until it expires


@pytest.mark.usefixtures("brief")
def test_a_damaged_one_is_somebodys_until_it_is_old(machines: Machines) -> None:
    machines.remote.write(NAME, b'{"holder": "process 5')
    assert find_holder(machines.remote, NAME, "here") == "a machine whose lease cannot be read"
    with hold(machines, "here") as refused:
        assert refused is None
    time.sleep(2.1)
    with hold(machines, "here") as held:
        assert held is not None
