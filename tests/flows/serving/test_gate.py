"""Who gets through to a server, which addresses are its own, and the password that is kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from flows.runs.home import HOME, PASSWORD_FILE, PUBLIC_URL, find_reports_key, load_auth
from flows.serving.gate import guard
from flows.serving.password import CLIENT_AUTH, SERVER_AUTH, find_own_auth, load_or_write_auth
from flows.serving.prefect_setup import build_settings
from flows.serving.server import ORIGINS, build_environment, list_origins


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> TestClient:
    async def answer(request: Any) -> PlainTextResponse:
        return PlainTextResponse("in")

    monkeypatch.setenv(PUBLIC_URL, "https://perpo.example.org/")
    app = Starlette(routes=[Route("/", answer, methods=["GET", "POST"])])
    return TestClient(guard(app, list_origins(4200)))


OWN = ["http://127.0.0.1:4200", "http://localhost:4200", "https://perpo.example.org"]
OTHERS = ["http://evil.example", "null", "", "http://127.0.0.1:4201", "http://perpo.example.org",
          "https://perpo.example.org.evil.example"]  # fmt: skip


@pytest.mark.parametrize("origin", OWN)
def test_our_own_pages_get_in(origin: str, client: TestClient) -> None:
    host = origin.partition("://")[2]
    assert client.post("/", headers={"Origin": origin, "Host": host}).text == "in"
    assert client.get("/", headers={"Host": host}).text == "in"


@pytest.mark.parametrize("origin", OTHERS)
def test_pages_of_others_do_not(origin: str, client: TestClient) -> None:
    headers = {"Host": "127.0.0.1:4200", "Origin": origin}
    assert client.get("/", headers=headers).status_code == 403
    assert client.post("/", headers=headers).status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:4200", "0.0.0.0:4200", ""])
def test_other_names_do_not(host: str, client: TestClient) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("url", ["perpo.example.org", "ftp://a", "https://a/perpo", "https://"])
def test_a_public_url_that_is_none_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PUBLIC_URL, url)
    with pytest.raises(ValueError, match="is no address of a server; write https://HOST"):
        list_origins(4200)


def test_the_server_is_told_its_addresses_and_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PUBLIC_URL, raising=False)
    environment = build_environment(tmp_path, 4200, lasting=True, auth="perpo:one")
    assert environment[SERVER_AUTH] == "perpo:one"
    assert environment[ORIGINS] == ",".join(OWN[:2])
    assert environment["PREFECT_UI_API_URL"] == "http://127.0.0.1:4200/api"
    monkeypatch.setenv(PUBLIC_URL, OWN[2])
    environment = build_environment(tmp_path, 4200, lasting=True, auth="perpo:one")
    assert environment[ORIGINS] == ",".join(OWN)
    assert environment["PREFECT_UI_API_URL"] == f"{OWN[2]}/api"


def test_a_password_is_made_once_and_only_its_user_reads_it(tmp_path: Path) -> None:
    assert load_auth(tmp_path) is None
    auth = load_or_write_auth(tmp_path)
    user, _, password = auth.partition(":")
    assert user == "perpo" and len(password) >= 32
    assert load_or_write_auth(tmp_path) == load_auth(tmp_path) == auth
    assert (tmp_path / PASSWORD_FILE).stat().st_mode & 0o777 == 0o600
    assert (key := find_reports_key(tmp_path)) is not None
    assert key not in auth
    (tmp_path / PASSWORD_FILE).write_text("perpo:chosen\n")
    assert load_or_write_auth(tmp_path) == "perpo:chosen"
    (tmp_path / PASSWORD_FILE).write_text("\n")  # emptied: a new one
    assert load_or_write_auth(tmp_path) not in (auth, "perpo:chosen", "")


def test_a_password_of_nothing_does_not_open_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SERVER_AUTH, "")
    assert find_own_auth() is None
    monkeypatch.setenv(SERVER_AUTH, "me:mine")
    assert find_own_auth() == "me:mine"


def test_a_command_finds_the_password_of_the_server_that_serves_its_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    served, auth = "http://127.0.0.1:4200/api", load_or_write_auth(tmp_path / HOME)
    none = {PREFECT_API_URL, PREFECT_API_AUTH_STRING}
    assert CLIENT_AUTH not in os.environ
    with temporary_settings(restore_defaults=none):
        assert build_settings(tmp_path, served, served)[PREFECT_API_AUTH_STRING] == auth
        with temporary_settings({PREFECT_API_URL: served}):
            assert build_settings(tmp_path, served, served) == {PREFECT_API_AUTH_STRING: auth}
        elsewhere = "https://elsewhere/api"
        with temporary_settings({PREFECT_API_URL: elsewhere}):
            assert build_settings(tmp_path, elsewhere, served) == {}, "not told to others"
        with temporary_settings({PREFECT_API_AUTH_STRING: "me:mine"}):
            assert PREFECT_API_AUTH_STRING not in build_settings(tmp_path, served, served)
