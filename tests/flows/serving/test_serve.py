"""`perpo serve` whole: what it leaves behind when it ends, and what it makes of runs that died."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import psutil
import pytest

from flows.serving.server import HOST
from tasks.slots import LEASE_S
from tests.flows.api import wait_until
from tests.flows.served import Served, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
CRASHED_WITHIN_S = 60.0
SLOT_CHECK_S = 20.0  # how often the server looks for leases that have run out, and a bit


def find_outside(served: Served) -> list[str]:
    """Addresses beyond this machine that one of the processes talks to."""
    remotes = [
        connection.raddr.ip
        for pid in served.find_processes()
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.raddr
    ]
    assert remotes, "the worker at least talks to the server"
    return [address for address in remotes if address != HOST]


def test_missed_nights_are_one_run_and_a_stop_leaves_nothing(tmp_path: Path) -> None:
    with serving(tmp_path / "store", pause_s=1.0) as served:
        runs = [served.start("refresh/nightly") for _ in range(3)]
        ends = {"COMPLETED", "CANCELLED"}
        wait_until(lambda: all(served.read_run(run)["state_type"] in ends for run in runs), 120)
        states = sorted(served.read_run(run)["state_name"] for run in runs)
        assert states == ["Cancelled", "Cancelled", "Completed"]
        for stage in ("train", "score"):  # one of the queue gpu, one of cpu
            run = served.start(f"{stage}/stage", run="latest")
            assert served.wait_for(run, "Completed")["name"] == f"{stage} of latest"
        assert find_outside(served) == []
        served.process.send_signal(signal.SIGTERM)
        said, _ = served.process.communicate(timeout=30)
        assert served.process.returncode == 0
        assert said.splitlines()[-1].startswith("stopped; ")
        assert served.find_processes() == []


def test_a_run_killed_with_its_worker_is_crashed_and_frees_the_gpu(tmp_path: Path) -> None:
    store = tmp_path / "store"
    wish = tmp_path / "break-train"
    wish.write_text("wait")
    with serving(store) as served:
        run = served.start("refresh/on-demand")
        wait_until(lambda: served.count_taken() == 1, 90)
        served.process.kill()
        wait_until(lambda: not served.find_processes(), 20)
    wish.unlink()
    with serving(store) as served:
        reachable_s = time.monotonic()
        state = served.wait_for(run, "Crashed", CRASHED_WITHIN_S)["state"]
        assert state["message"].startswith("Its process died")
        print(f"Crashed after {time.monotonic() - reachable_s:.0f} s")
        wait_until(lambda: served.count_taken() == 0, LEASE_S + SLOT_CHECK_S)
        again = served.start("refresh/on-demand")
        served.wait_for(again, "Completed")


def find_part(served: Served, name: str) -> list[psutil.Process]:
    """The server or the worker, without its supervisor; none while it is still being started."""
    processes = [psutil.Process(pid) for pid in served.find_processes()]
    commands = {process: process.cmdline() for process in processes}
    return [
        process
        for process, command in commands.items()
        if name in command and "perpo_core.process.supervisor" not in command
    ]


@pytest.mark.parametrize("victim", ["flows.serving.server", "worker"])
def test_when_one_part_dies_all_ends(victim: str, tmp_path: Path) -> None:
    with serving(tmp_path / "store") as served:
        wait_until(lambda: find_part(served, victim))
        for process in find_part(served, victim):
            process.kill()
        said, _ = served.process.communicate(timeout=60)
        assert served.process.returncode != 0
        assert "ended; its log is" in said
        assert served.find_processes() == []
