"""Reports over http: what is shown, what is not, and to whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from flows.runs.home import HOME, LOCK_FILE, find_reports_key
from flows.runs.links import REPORTS_PATH, find_report_url
from flows.serving.password import load_or_write_auth
from flows.serving.report_route import add_reports, find_page
from perpo_core.store.locks import lock_file
from perpo_core.store.store import Store
from schemas.config import RefreshConfig
from tests.perpo_core.stores import run_toy

PAGES = (
    "a-run/report.html", "a-run/report.json", "trends.html", "trends-small.html",
    "rounds-small.html",
)  # fmt: skip


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    folder = tmp_path / "store" / "reports"
    others = (folder / "a-run" / "notes.txt", tmp_path / "store" / "a-run" / "report.html")
    for path in (*(folder / page for page in PAGES), *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    (folder / "linked").symlink_to(tmp_path / "store" / "a-run")
    return folder


def build_client(reports: Path, auth: str | None = None, key: str | None = None) -> TestClient:
    async def everything(request: Any) -> PlainTextResponse:
        return PlainTextResponse("the UI")

    app = Starlette(routes=[Route("/{any:path}", everything)])
    add_reports(app, reports, auth, key)
    return TestClient(app)


def test_reports_are_shown_before_the_pages_of_the_ui(reports: Path) -> None:
    client = build_client(reports)
    for page in PAGES:
        answer = client.get(f"{REPORTS_PATH}/{page}")
        assert (answer.status_code, answer.text) == (200, page.rpartition("/")[2])
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert client.get("/runs").text == "the UI"
    assert client.post(f"{REPORTS_PATH}/trends.html").status_code != 200


@pytest.mark.parametrize(
    "page",
    ["a-run/notes.txt", "../a-run/report.html", "a-run/../../a-run/report.html", "a-run/", "",
     "linked/report.html", "../report.html", "/etc/report.html", "b-run/report.html"],
)  # fmt: skip
def test_nothing_else_is(page: str, reports: Path) -> None:
    assert find_page(reports, page) is None
    encoded = page.replace("..", "%2e%2e").replace("/", "%2f")
    assert build_client(reports).get(f"{REPORTS_PATH}/{encoded}").status_code == 404


def test_where_the_api_asks_for_a_password_so_do_reports(reports: Path) -> None:
    client, page = build_client(reports, "me:secret"), f"{REPORTS_PATH}/trends.html"
    refused = client.get(page)
    assert refused.status_code == 401 and refused.headers["WWW-Authenticate"].startswith("Basic")
    assert client.get(page, auth=("me", "wrong")).status_code == 401
    assert client.get(page, headers={"Authorization": "Basic not-base64"}).status_code == 401
    assert client.get(page, auth=("me", "secret")).text == "trends.html"


def test_the_key_of_our_links_opens_reports_and_their_links_to_each_other(reports: Path) -> None:
    client = build_client(reports, "me:secret", "the-key")
    page = client.get(f"{REPORTS_PATH}/the-key/a-run/report.html")
    assert page.text == "report.html"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    for wrong in ("the-ke/trends.html", "the-key2/trends.html", "trends.html", "the-key"):
        assert client.get(f"{REPORTS_PATH}/{wrong}").status_code in (401, 404)
    assert client.get(f"{REPORTS_PATH}/the-key/a-run/notes.txt").status_code == 404
    assert client.get(f"{REPORTS_PATH}/the-key/%2e%2e/a-run/report.html").status_code == 404


def test_the_link_is_http_where_the_store_is_served_and_else_a_file(
    toy_config: RefreshConfig,
) -> None:
    store, record = Store(toy_config.store), run_toy(toy_config, 1)
    assert find_report_url(store, record) is None
    record = record.model_copy(update={"report": Path("reports/toy-001/report.html")})
    assert find_report_url(store, record) == (store.root / record.report).as_uri()  # type: ignore[operator]
    with lock_file(store.root / HOME / LOCK_FILE, "http://127.0.0.1:4321/api", str):
        link = find_report_url(store, record)
        load_or_write_auth(store.root / HOME)
        keyed = find_report_url(store, record)
    assert link == f"http://127.0.0.1:4321{REPORTS_PATH}/toy-001/report.html"
    key = find_reports_key(store.root / HOME)
    assert keyed == f"http://127.0.0.1:4321{REPORTS_PATH}/{key}/toy-001/report.html"
