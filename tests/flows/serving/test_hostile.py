"""What `perpo serve` refuses: pages of others in its user's browser, other users of its machine.

As what a browser sends for a page, or a program of another user, against a server, worker and store
that really run. What would be started is a command that leaves a file.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from flows.runs.home import HOME, PASSWORD_FILE, find_reports_key, find_view_key
from flows.runs.links import REPORTS_PATH, VIEW_PATH
from flows.serving.serve import ROOT
from tests.flows.other_user import open_folder, read_as_another
from tests.flows.served import Served, serving
from tests.flows.whole import build_bare_env

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
EVIL = "http://evil.example"
JSON = {"Content-Type": "application/json"}
WORKER_TAKES_S = 12.0  # it asks every 3 s


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with open_folder() as folder, serving(folder / "store") as running:
        yield running


@pytest.fixture
def loot(served: Served) -> Iterator[Path]:
    """What the command of a hostile run would make; fails if it did."""
    path = served.store.parent / "loot"
    before = count_runs(served)
    yield path
    assert count_runs(served) == before
    assert not path.exists()


def count_runs(served: Served) -> int:
    return len(served.list_runs("train/stage"))


def build_run(loot: Path, **own: Any) -> dict[str, Any]:
    return {"state": {"type": "SCHEDULED"}, "job_variables": {"command": f"touch {loot}"}} | own


def encode(auth: str) -> str:
    return base64.b64encode(auth.encode()).decode()


def post_run(served: Served, body: object, headers: dict[str, str], auth: bool = False) -> int:
    """The status of an attempt to start a run."""
    deployment = served.find_deployment("train/stage")["id"]
    if auth:
        headers = headers | {"Authorization": f"Basic {encode(str(served.auth))}"}
    with httpx.Client(trust_env=False, timeout=30) as client:
        answer = client.post(
            f"{served.address}/deployments/{deployment}/create_flow_run",
            content=json.dumps(body), headers=headers,
        )  # fmt: skip
    assert answer.headers.get("access-control-allow-origin") in (None, served.url)
    return answer.status_code


@pytest.mark.parametrize("origin", [EVIL, "null", "http://127.0.0.1:1", "https://localhost"])
@pytest.mark.parametrize("auth", [False, True])
def test_a_page_of_others_is_refused(origin: str, auth: bool, served: Served, loot: Path) -> None:
    headers = JSON | {"Origin": origin}
    assert post_run(served, build_run(loot), headers, auth) == 403
    with httpx.Client(trust_env=False) as client:
        asked = client.options(
            f"{served.address}/deployments/filter",
            headers={"Origin": origin, "Access-Control-Request-Method": "POST"},
        )
    assert asked.status_code == 403
    assert "access-control-allow-origin" not in asked.headers


def test_a_page_of_others_hears_no_events(served: Served) -> None:
    address = served.address.replace("http", "ws") + "/events/out"
    with pytest.raises(InvalidStatus, match="403"), connect(address, origin=EVIL, proxy=None):  # type: ignore[arg-type]
        pass


@pytest.mark.parametrize("auth", [False, True])
def test_a_name_that_points_at_this_machine_is_refused(
    auth: bool, served: Served, loot: Path
) -> None:
    port = served.url.rpartition(":")[2]
    for host in ("evil.example", f"evil.example:{port}", f"127.0.0.1.evil.example:{port}"):
        assert post_run(served, build_run(loot), JSON | {"Host": host}, auth) == 400
    with httpx.Client(trust_env=False) as client:
        for path in (
            "/api/health",
            "/",
            f"{REPORTS_PATH}/trends.html",
            f"{VIEW_PATH}/latest/lists",
        ):
            refused = client.get(served.url + path, headers={"Host": "evil.example"})
            assert refused.status_code == 400


def test_a_run_cannot_choose_its_command_even_with_the_password(served: Served, loot: Path) -> None:
    assert post_run(served, build_run(loot), JSON, auth=True) == 422
    chosen = {"env": {"PATH": str(loot)}, "working_dir": "/", "image": "mine"}
    for name, value in chosen.items():
        body = build_run(loot, job_variables={name: value})
        assert post_run(served, body, JSON, auth=True) == 422


def test_a_form_is_refused(served: Served, loot: Path) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", None):
        headers: dict[str, str] = {} if kind is None else {"Content-Type": kind}
        assert post_run(served, build_run(loot), headers) == 401
        assert post_run(served, build_run(loot), headers | {"Origin": EVIL}) == 403


def test_nothing_of_it_was_started(served: Served, loot: Path) -> None:
    time.sleep(WORKER_TAKES_S)
    assert not loot.exists()


def test_a_user_without_the_password_is_refused(served: Served, loot: Path) -> None:
    for given in ("", f"Basic {encode('perpo:wrong')}", "Basic"):
        headers = {"Authorization": given} if given else {}
        assert post_run(served, build_run(loot), JSON | headers) == 401
        with httpx.Client(trust_env=False) as client:
            for key in ("", "wrong/", "0" * 32 + "/"):
                for page in (f"{REPORTS_PATH}/{key}trends.html", f"{VIEW_PATH}/{key}latest/lists"):
                    assert client.get(served.url + page, headers=headers).status_code == 401


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_cannot_read_the_password(served: Served) -> None:
    home = served.store / HOME
    for path in (home / PASSWORD_FILE, home / "prefect.db"):
        assert path.stat().st_mode & 0o777 == 0o600
    assert read_as_another(home, home / PASSWORD_FILE, home / "prefect.db") == ["refused"] * 3
    assert "refused" not in read_as_another(served.store)
    environments = [Path(f"/proc/{pid}/environ") for pid in served.find_processes()]
    assert set(read_as_another(*environments)) == {"refused"}


def test_its_own_pages_may_ask_under_either_name(served: Served) -> None:
    asks = {"Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type"}  # fmt: skip
    with httpx.Client(trust_env=False) as client:
        for origin in (served.url, served.url.replace("127.0.0.1", "localhost")):
            allowed = client.options(
                f"{served.address}/flows/filter", headers=asks | {"Origin": origin}
            )
            assert allowed.status_code == 200
            assert allowed.headers["access-control-allow-origin"] == origin
            assert "authorization" in allowed.headers["access-control-allow-headers"]


def test_its_own_user_needs_nothing(served: Served) -> None:
    run = served.start("refresh/on-demand")
    served.wait_for(run, "Completed")
    done = subprocess.run(
        [sys.executable, "-m", "tests.flows.toy", "refresh", "infra/configs/default.toml",
         "--set", f"store={served.store}", "--set", "name=by-hand"],
        env=build_bare_env(), cwd=ROOT, text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "by-hand" in str(served.call("POST", "flow_runs/filter", {}))
    key = find_reports_key(served.store / HOME)
    [table] = served.call("POST", "artifacts/filter", {
        "artifacts": {"key": {"any_": ["perpo-run"]}},
        "flow_runs": {"id": {"any_": [run]}},
    })  # fmt: skip
    assert f"({served.url}{REPORTS_PATH}/{key}/" in table["data"]
    rows = f"{served.url}{VIEW_PATH}/{find_view_key(served.store / HOME)}/"
    assert f"({rows}" in table["data"]
    with httpx.Client(trust_env=False) as client:
        page = client.get(f"{served.url}{REPORTS_PATH}/{key}/trends.html")
        assert page.status_code == 200
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert "perpo view" in client.get(f"{rows}latest/lists").text
        other_key = f"{served.url}{VIEW_PATH}/{key}/latest/lists"
        assert client.get(other_key).status_code == 401
        named = client.get(f"http://localhost:{served.url.rpartition(':')[2]}/api/health")
        assert named.json() is True
