"""Asks a Prefect server's API as anybody may: over HTTP, without Prefect's own client."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import httpx

BUSY, BUSY_S = 503, 60.0  # SQLite is locked: Prefect's own client asks again, too
ENDS = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Api:
    """The API at an address; `auth` is "user:password" where the server wants one."""

    def __init__(self, address: str, auth: str | None = None) -> None:
        self.address, self.auth = address, auth

    def call(self, method: str, path: str, body: Any = None) -> Any:
        user, _, password = (self.auth or "").partition(":")
        auth = (user, password) if self.auth else None
        deadline_s = time.monotonic() + BUSY_S
        with httpx.Client(trust_env=False, timeout=30, auth=auth) as client:
            while True:
                answer = client.request(method, f"{self.address}/{path}", json=body)
                if answer.status_code != BUSY or time.monotonic() > deadline_s:
                    break
                time.sleep(1)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def find_deployment(self, name: str) -> dict[str, Any]:
        """By "flow/deployment"."""
        found: dict[str, Any] = self.call("GET", f"deployments/name/{name}")
        return found

    def start(self, name: str, **parameters: Any) -> str:
        """Start a run of a deployment; its id."""
        deployment = self.find_deployment(name)["id"]
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return str(self.call("POST", f"deployments/{deployment}/create_flow_run", body)["id"])

    def list_runs(self, name: str) -> list[dict[str, Any]]:
        """The runs of a deployment that are no plans of its schedule, newest first."""
        deployment = self.find_deployment(name)["id"]
        body = {"deployments": {"id": {"any_": [deployment]}}, "sort": "START_TIME_DESC"}
        found = self.call("POST", "flow_runs/filter", body)
        return [run for run in found if not run["auto_scheduled"]]

    def read_run(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GET", f"flow_runs/{run}")
        return found

    def wait_for(self, run: str, state: str, timeout_s: float = 150.0) -> dict[str, Any]:
        """The run once it is in the state of that name; fails where it ended in another."""

        def has_arrived() -> bool:
            found = self.read_run(run)["state"]
            ended = found["type"] in ENDS - {state.upper()}
            assert found["name"] == state or not ended, f"{found['name']}: {found['message']}"
            return bool(found["name"] == state)

        wait_until(has_arrived, timeout_s)
        return self.read_run(run)

    def list_errors(self, run: str) -> list[str]:
        """What a run has logged as an error or worse."""
        logs = {"flow_run_id": {"any_": [run]}, "level": {"ge_": logging.ERROR}}
        return [line["message"] for line in self.call("POST", "logs/filter", {"logs": logs})]

    def wait_for_exit(self, run: str, times: int = 1, timeout_s: float = 60.0) -> None:
        """Until the worker has noticed that so many processes of a run have ended.

        A run that is retried sooner is marked Crashed by the worker (docs/night.md).
        """
        body = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_DESC"}

        def has_exited() -> bool:
            lines = [line["message"] for line in self.call("POST", "logs/filter", body)]
            ends = ("exited with status code", "exited cleanly")
            return sum(any(end in line for end in ends) for line in lines) >= times

        wait_until(has_exited, timeout_s)


def wait_until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come about in time"
        time.sleep(0.2)
