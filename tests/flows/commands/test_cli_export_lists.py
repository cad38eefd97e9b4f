"""`perpo export-lists`: formats, choices, and a push to a Hub of this machine, token unseen."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from flows.commands.cli import app
from flows.runs.records import write_record
from tests.perpo_core.export.mixed_lists import build_mixed_run

TOKEN = "hf_" + "a1B2" * 8


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    opened, run = build_mixed_run(tmp_path_factory.mktemp("store"))
    write_record(opened, run)
    return opened.root


def export(store: Path, *arguments: str, **env: str) -> Result:
    command = ["export-lists", *arguments, "--store", str(store)]
    return CliRunner().invoke(app, command, env={"HF_TOKEN": None, **env})


def test_how_many_and_where_is_the_last_line_and_what_is_not_there_before(store, tmp_path) -> None:
    folder = tmp_path / "out"
    done = export(store, "latest", str(folder), "--format", "llava", "--pairs", "all",
                  "--min-gap", "0.3")  # fmt: skip
    assert done.exit_code == 0, done.output
    lists, pairs, last = done.stdout.splitlines()
    assert lists == ("1 of 4 lists were left out: a system message, which the format cannot say 1")
    assert pairs.startswith("9 of 24 pairs were left out: ")
    assert last == f"15 rows of 3 lists are in {folder}, as llava"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "hf", "--pairs", "all"], "--format hf has no --pairs all; it takes list"),
        (["--push", "a/b/c"], "--push 'a/b/c' is no name of a repository"),
        (["--push", "me/lists"], "set HF_TOKEN in the environment"),
        (["--min-gap", "3"], "none of the 4 lists can be written as hf"),
    ],
)
def test_errors_are_one_sentence_and_leave_nothing(arguments, said, store, tmp_path) -> None:
    done = export(store, "latest", str(tmp_path / "out"), *arguments)
    assert done.exit_code == 2
    assert said in done.stderr and len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["--format", "csv"], ["--min-gap", "-1"], ["--pairs", "x"]])
def test_a_value_that_is_none_is_named(arguments, store, tmp_path) -> None:
    done = export(store, "latest", str(tmp_path / "out"), *arguments)
    assert done.exit_code == 2 and arguments[0] in done.stderr


class Hub:
    """What a repository is asked for while a folder is uploaded, and what it was given."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.created: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.tokens: set[str | None] = set()

    def answer(self, path: str, body: bytes, host: str) -> dict[str, Any]:
        if path == "/api/repos/create":
            self.created.append(json.loads(body))
            return {"url": f"http://{host}/datasets/me/lists"}
        if "/preupload/" in path:
            files = json.loads(body)["files"]
            return {
                "files": [
                    {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                    for f in files
                ]
            }
        if "/commit/" in path:
            lines = [json.loads(line) for line in body.splitlines()]
            for line in lines:
                if line["key"] == "file":
                    value = line["value"]
                    self.files[value["path"]] = base64.b64decode(value["content"])
            url = f"http://{host}/datasets/me/lists/commit/{'0' * 40}"
            return {"commitUrl": url, "commitOid": "0" * 40, "success": True}
        return {"errors": [], "warnings": []}  # of the card


@pytest.fixture
def hub() -> Iterator[tuple[Hub, str]]:
    found = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            found.tokens.add(self.headers.get("authorization"))
            host = self.headers["host"]
            given = found.answer(self.path, body, host) if found.status == 200 else {"error": "no"}
            self._send(given)

        def do_GET(self) -> None:
            found.tokens.add(self.headers.get("authorization"))
            is_tree = "/tree/" in self.path
            self._send([] if is_tree else {"id": "me/lists", "siblings": [], "sha": "0" * 40})

        def _send(self, answer: Any) -> None:
            body = json.dumps(answer).encode()
            self.send_response(found.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def push(store: Path, folder: Path, endpoint: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, since the Hub's address is read when its library is imported."""
    command = [sys.executable, "-m", "flows.commands.cli", "export-lists", "latest", str(folder),
               "--format", "swift", "--push", "me/lists", "--store", str(store)]  # fmt: skip
    env = {**os.environ, "HF_ENDPOINT": endpoint, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1",
           "HF_HOME": str(folder.parent / "home")}  # fmt: skip
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_a_push_uploads_the_folder_with_the_token_of_the_environment(store, tmp_path, hub) -> None:
    given, endpoint = hub
    done = push(store, tmp_path / "out", endpoint)
    assert done.returncode == 0, done.stderr
    [created] = given.created
    assert created["visibility"] == "private" and created["type"] == "dataset"
    folder = tmp_path / "out"
    local = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    assert {name: given.files[name] for name in local} == {
        name: path.read_bytes() for name, path in local.items()
    }
    assert given.tokens <= {f"Bearer {TOKEN}", None} and f"Bearer {TOKEN}" in given.tokens
    assert TOKEN not in done.stdout + done.stderr
    assert not any(TOKEN in path.read_text(errors="replace") for path in local.values())
    assert re.search(r"they are at http://127.0.0.1\S*/datasets/me/lists", done.stdout)


def test_a_hub_that_refuses_is_one_sentence_without_the_token(store, tmp_path, hub) -> None:
    given, endpoint = hub
    given.status = 403
    done = push(store, tmp_path / "out", endpoint)
    assert done.returncode == 2 and (tmp_path / "out" / "README.md").is_file()
    [said] = done.stderr.splitlines()
    assert "is complete but me/lists did not take it: " in said and "hf upload me/lists" in said
    assert TOKEN not in done.stdout + done.stderr
