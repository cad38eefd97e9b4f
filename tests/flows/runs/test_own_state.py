"""What Prefect says of a run that is told to end, or that is said to be dead and lives."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.runs.own_state import ALIVE
from flows.runs.records import load_record, load_records
from perpo_core.store.store import Store
from schemas.config import RefreshConfig
from tests.flows.api import Api, wait_until
from tests.flows.toy import build_command
from tests.flows.toy_child import CHILD
from tests.flows.whole import MARK, build_env, find_marked

TRUE_WITHIN_S = 60.0
RESUMES = "what is finished stays in the store and the next run resumes"


@dataclass
class Held:
    """A run in a terminal whose training waits for a file to go."""

    process: subprocess.Popen[str]
    api: Api
    run: str
    store: Store
    wish: Path
    mark: str

    def change_state(self, kind: str, **options: Any) -> None:
        state = {"type": kind, "name": kind.capitalize()}
        answer = self.api.call(
            "POST", f"flow_runs/{self.run}/set_state", {"state": state, **options}
        )
        assert answer["status"] == "ACCEPT"

    def end(self) -> tuple[int, str]:
        """(exit code, what it said in red); nothing that it started is left."""
        _, error = self.process.communicate(timeout=TRUE_WITHIN_S)
        assert list(find_marked(self.mark)) == []
        return self.process.returncode, error.strip()


@pytest.fixture
def held(
    request: pytest.FixtureRequest, prefect_server: None, toy_config: RefreshConfig
) -> Iterator[Held]:
    """With "hold", training is a child process that does not end; with "wait", the file ends it."""
    from prefect.settings import PREFECT_API_URL

    wish, store = Path(toy_config.store).parent / "break-train", Store(toy_config.store)
    wish.write_text(request.param)
    address, mark = PREFECT_API_URL.value(), f"own-state-{toy_config.store}"
    assert address is not None
    process = subprocess.Popen(
        build_command(toy_config.store, toy_config.policy.model),
        env=build_env(PREFECT_API_URL=address, **{MARK: mark}), start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_until(lambda: "materialize" in next(iter(read_stages(store)), ()))
        if request.param == "hold":
            wait_until(lambda: any(CHILD in each.cmdline() for each in find_marked(mark)))
        run = str(load_record(store, "latest").flow_run_id)
        yield Held(process, Api(address), run, store, wish, mark)
    finally:
        process.kill()


def read_stages(store: Store) -> list[list[str]]:
    """The stages that each run has so far."""
    return [list(record.stages) for record in load_records(store)]


@pytest.mark.parametrize("held", ["hold"], indirect=True)
@pytest.mark.parametrize("by", ["Cancel", "Ctrl-C"])
def test_a_run_in_a_terminal_ends_cancelled_with_all_it_started(held: Held, by: str) -> None:
    if by == "Cancel":
        held.change_state("CANCELLING")
    else:
        held.process.send_signal(signal.SIGINT)
    said = f"{'cancelled in Prefect' if by == 'Cancel' else 'interrupted'}; {RESUMES}"
    assert held.end() == (130, said)
    state = held.api.read_run(held.run)["state"]
    assert (state["name"], state["message"]) == ("Cancelled", said)
    record = load_record(held.store, "latest")
    assert (record.status, record.error) == ("cancelled", said)


@pytest.mark.parametrize("held", ["wait"], indirect=True)
def test_a_run_that_is_said_to_be_dead_says_that_it_lives(held: Held) -> None:
    held.change_state("CRASHED", force=True)
    wait_until(lambda: held.api.read_run(held.run)["state_name"] == "Running", TRUE_WITHIN_S)
    assert held.api.read_run(held.run)["state"]["message"] == ALIVE
    held.wish.unlink()
    assert held.end() == (0, "")
    assert held.api.read_run(held.run)["state_name"] == "Completed"
    assert load_record(held.store, "latest").status == "completed"
