"""A run that was started in a terminal and is to end: what Prefect says, and what is left of it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from flows.records import load_record, load_records
from perpo_core.store import Store
from schemas.config import RefreshConfig
from tests.flows.api import Api, wait_until
from tests.flows.toy_child import CHILD
from tests.flows.whole import MARK, build_env, find_marked

TRUE_WITHIN_S = 60.0
RESUMES = "what is finished stays in the store and the next run resumes"


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("by", ["Cancel", "Ctrl-C"])
def test_a_run_in_a_terminal_ends_cancelled_with_all_it_started(
    by: str, toy_config: RefreshConfig
) -> None:
    address = PREFECT_API_URL.value()
    assert address is not None
    (Path(toy_config.store).parent / "break-train").write_text("hold")
    mark = f"cancelling-{by}-{toy_config.store}"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.flows.toy", "refresh", "--set", f"store={toy_config.store}",
         "--set", f"policy.model={toy_config.policy.model}", "--set", "name=toy"],
        env=build_env(PREFECT_API_URL=address, **{MARK: mark}), start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_until(lambda: any(CHILD in each.cmdline() for each in find_marked(mark)))
    api, store = Api(address), Store(toy_config.store)
    [running] = load_records(store)
    run = str(running.flow_run_id)
    if by == "Cancel":
        state = {"type": "CANCELLING", "name": "Cancelling"}
        answer = api.call("POST", f"flow_runs/{run}/set_state", {"state": state})
        assert answer["status"] == "ACCEPT"
    else:
        process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=TRUE_WITHIN_S)
    said = f"{'cancelled in Prefect' if by == 'Cancel' else 'interrupted'}; {RESUMES}"
    assert (process.returncode, error.strip()) == (130, said)
    state = api.read_run(run)["state"]
    assert (state["name"], state["message"]) == ("Cancelled", said)
    record = load_record(store, "latest")
    assert (record.status, record.error) == ("cancelled", said)
    assert list(find_marked(mark)) == []
