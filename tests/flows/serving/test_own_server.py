"""The command as users start it, with a server of its own, when one of the two is ended midway."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from flows.runs.records import load_record, load_records
from perpo_core.store.store import Store
from schemas.config import RefreshConfig
from tests.flows.api import wait_until
from tests.flows.served import find_processes, read_command
from tests.flows.toy import build_command
from tests.flows.whole import build_bare_env

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
TIMEOUT_S = 200


@dataclass
class Command:
    """A refresh whose training waits for the file `wish` to go."""

    words: list[str]
    process: subprocess.Popen[str]
    store: Store
    wish: Path

    def expect_resumption(self) -> None:
        """Given again, it makes what is missing and says nothing in red."""
        self.wish.unlink(missing_ok=True)
        done = subprocess.run(
            self.words, env=build_bare_env(), capture_output=True, text=True, timeout=TIMEOUT_S,
            check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")

    def list_made(self) -> list[str]:
        stages = load_record(self.store, "latest").stages
        return [stage for stage, entry in stages.items() if not entry.reused]


@pytest.fixture
def command(toy_config: RefreshConfig) -> Iterator[Command]:
    words = build_command(toy_config.store, toy_config.policy.model)
    wish, store = Path(toy_config.store).parent / "break-train", Store(toy_config.store)
    wish.write_text("wait")
    with subprocess.Popen(
        words, env=build_bare_env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_until(lambda: any("materialize" in record.stages for record in load_records(store)))
        yield Command(words, process, store, wish)
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_command_that_is_ended_ends_whole_and_resumes(
    number: signal.Signals, command: Command
) -> None:
    assert find_processes(command.store.root)
    command.process.send_signal(number)
    _, error = command.process.communicate(timeout=60)
    wait_until(lambda: not find_processes(command.store.root), 20)
    if number == signal.SIGINT:
        assert command.process.returncode == 130
        assert error.strip().startswith("interrupted; what is finished stays")
        assert load_record(command.store, "latest").status == "cancelled"
    command.expect_resumption()
    assert command.list_made() == ["train", "evaluate", "promote"]


def test_a_command_whose_server_dies_says_so_and_resumes(command: Command) -> None:
    """What went on meanwhile is kept: training ends, its artifact is reused."""
    [server] = [
        pid
        for pid in find_processes(command.store.root)
        if "flows.serving.server" in read_command(pid)
        and "perpo_core.process.supervisor" not in read_command(pid)
    ]
    psutil.Process(server).kill()
    command.wish.unlink()
    _, error = command.process.communicate(timeout=TIMEOUT_S)
    assert command.process.returncode == 1
    assert "the Prefect server of this command does not answer" in error
    assert load_record(command.store, "latest").status == "failed"
    command.expect_resumption()
    assert command.list_made() == ["evaluate", "promote"]
