"""The rows of a run over http: what is shown and to whom, and that nothing else is."""

from __future__ import annotations

import asyncio
import re
import signal
import webbrowser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from flows.runs.home import HOME, find_reports_key, find_view_key
from flows.runs.links import VIEW_PATH, find_view_url
from flows.serving.gate import guard
from flows.serving.password import load_or_write_auth
from flows.serving.view_route import build_view_app
from flows.serving.view_server import open_browser
from perpo_core.store.locks import lock_file
from perpo_core.store.store import Store
from perpo_core.view import TABS
from schemas.run import RunRecord
from tests.flows.viewed import viewing
from tests.perpo_core.view.rows import BIDI, SCRIPT, build_image, build_store, encode_picture

KEY = "0123456789abcdef"
ORIGIN = "http://127.0.0.1:4200"
HTML = b"<html><script>alert(1)</script></html>"
Built = tuple[Store, RunRecord]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build_store(tmp_path_factory.mktemp("store"), extra_images=[HTML])


def build_client(store: Store, auth: str | None = None, prefix: str = "") -> TestClient:
    """The pages below a prefix, behind the gate, before pages of another that answer anything."""

    async def everything(request: object) -> PlainTextResponse:
        return PlainTextResponse("the UI")

    methods = ["GET", "POST", "DELETE"]
    routes = [
        Mount(prefix or "/", build_view_app(lambda: store, KEY, auth)),
        Route("/{any:path}", everything, methods=methods),
    ]
    return TestClient(guard(Starlette(routes=routes), [ORIGIN]), ORIGIN)


def ask_raw(client: TestClient, path: str) -> tuple[int, str]:
    """Status and text for a path as it came over the wire: no client has tidied it before."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": unquote(path), "raw_path": path.encode(), "query_string": b"",
        "root_path": "", "headers": [(b"host", b"127.0.0.1:4200")], "server": ("127.0.0.1", 4200),
        "client": ("127.0.0.1", 1),
    }  # fmt: skip
    asyncio.run(client.app(scope, receive, send))  # type: ignore[arg-type]
    return sent[0]["status"], b"".join(each.get("body", b"") for each in sent).decode()


@pytest.fixture(scope="module")
def client(built: Built) -> TestClient:
    return build_client(built[0])


def test_pages_assets_and_images_are_there(client: TestClient, built: Built) -> None:
    run = built[1].run_id
    for page in (*TABS, "view.css", "view.js"):
        for name in (run, "latest"):
            answer = client.get(f"/{KEY}/{name}/{page}")
            assert answer.status_code == 200
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert client.get(f"/{KEY}/{run}/view.js").headers["Content-Type"].startswith("text/javascript")
    assert client.get(f"/{KEY}/{run}").url.path == f"/{KEY}/{run}/lists"


def test_everything_a_page_names_is_there(client: TestClient, built: Built) -> None:
    start, seen = f"/{KEY}/{built[1].run_id}/lists", set[str]()
    left = [start]
    while left:
        url = left.pop()
        answer = client.get(url)
        assert answer.status_code == 200, url
        if not answer.headers["Content-Type"].startswith("text/html"):
            continue
        for found in re.findall(r'(?:href|src|action)="([^"#]+)"', answer.text):
            named = answer.url.join(found.replace("&amp;", "&"))
            path = named.raw_path.decode()
            if named.scheme != "data" and path not in seen:
                seen.add(path)
                left.append(path)
    assert len([path for path in seen if "/image/" in path]) == 2
    assert len([path for path in seen if "/sample/" in path]) == 7


def test_an_image_is_kept_by_the_browser_and_is_nothing_but_an_image(
    client: TestClient, built: Built
) -> None:
    run, data = built[1].run_id, encode_picture(0)
    url = f"/{KEY}/{run}/image/{build_image(data).image_hash}"
    answer = client.get(url)
    assert answer.content == data and answer.headers["Content-Type"] == "image/png"
    assert "immutable" in answer.headers["Cache-Control"]
    assert "private" in answer.headers["Cache-Control"]
    again = client.get(url, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    refused = client.get(f"/{KEY}/{run}/image/{build_image(HTML).image_hash}")
    assert refused.status_code == 404 and b"alert" not in refused.content


PATHS = [
    "image/../../../artifact.json", "image/%2e%2e%2f%2e%2e%2fruns", "image/", "image/" + "f" * 64,
    "../../runs/view-20250314-092600.json", "%2e%2e/%2e%2e/etc/passwd", "..%2f..%2fetc%2fpasswd",
    "view.html", "tab.html", "__init__.py", "lists/..", "sample/" + "f" * 64, "sample/%00", "",
    "sample/../lists/../../x", "image/%00", "lists%00", "Lists", "/etc/passwd",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_nothing_else_of_the_store_or_the_package_is(
    path: str, client: TestClient, built: Built
) -> None:
    status, text = ask_raw(client, f"/{KEY}/{built[1].run_id}/{path}")
    assert status == 404, text[:200]
    for secret in ("policy_digest", "root:", "{%", "import"):
        assert secret not in text


@pytest.mark.parametrize("run", ["..", "%2e%2e", "no-such-run", "a%2fb", "%00", "x" * 300, " "])
def test_nor_is_a_run_that_there_is_not(run: str, client: TestClient) -> None:
    status, text = ask_raw(client, f"/{KEY}/{run}/lists")
    assert status == 404 and "\n" not in text.strip()


def test_who_has_no_key_finds_nothing(client: TestClient, built: Built) -> None:
    run = built[1].run_id
    for path in (f"/{run}/lists", f"/{KEY[:-1]}/{run}/lists", f"/{KEY}0/{run}/lists", "/",
                 f"//{run}/lists", f"/{run}/view.css", f"/{KEY.upper()}/{run}/lists"):  # fmt: skip
        answer = client.get(path)
        assert (answer.status_code, answer.text) == (404, "there is nothing here\n"), path


def test_nothing_can_be_changed(client: TestClient, built: Built) -> None:
    before = {path: path.stat().st_mtime_ns for path in built[0].root.rglob("*")}
    for path in (*TABS, "view.js", f"image/{'f' * 64}", f"sample/{'f' * 64}"):
        url = f"/{KEY}/{built[1].run_id}/{path}"
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            assert client.request(method, url, content=b"x").status_code == 405, (method, path)
        client.get(url)
    assert {path: path.stat().st_mtime_ns for path in built[0].root.rglob("*")} == before


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:4200", "0.0.0.0", ""])
def test_pages_that_point_a_name_at_this_machine_are_refused(
    host: str, client: TestClient, built: Built
) -> None:
    url = f"/{KEY}/{built[1].run_id}/lists"
    assert client.get(url, headers={"Host": host}).status_code == 400
    assert client.get(url, headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.get(url, headers={"Origin": "null"}).status_code == 403


@pytest.mark.parametrize(
    "query",
    ["least=wide", "page=0", "q=" + "x" * 201, "path=/etc/passwd", "page=1e400", "least=nan"],
)
def test_an_address_of_no_page_is_answered_with_one_sentence(
    query: str, client: TestClient, built: Built
) -> None:
    answer = client.get(f"/{KEY}/{built[1].run_id}/lists?{query}")
    assert answer.status_code == 400 and answer.text.count("\n") == 1
    assert answer.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize("words", [SCRIPT, BIDI, "%", "\\", "((((", "\0", "é" * 200, "' OR 1=1"])
def test_any_words_may_be_looked_for(words: str, client: TestClient, built: Built) -> None:
    for tab in TABS:
        answer = client.get(f"/{KEY}/{built[1].run_id}/{tab}", params={"q": words})
        assert answer.status_code == 200 and "<script>alert" not in answer.text


def test_below_the_ui_a_password_or_the_key_of_our_links_opens_them(built: Built) -> None:
    store, run = built
    client = build_client(store, "me:secret", VIEW_PATH)
    page = f"{VIEW_PATH}/{run.run_id}/lists"
    refused = client.get(page)
    assert refused.status_code == 401 and refused.headers["WWW-Authenticate"].startswith("Basic")
    assert client.get(page, auth=("me", "wrong")).status_code == 401
    assert client.get(page, auth=("me", "secret")).status_code == 200
    assert client.get(f"{VIEW_PATH}/{KEY}/{run.run_id}/lists").status_code == 200
    assert client.post(f"{VIEW_PATH}/{KEY}/{run.run_id}/lists").status_code == 405
    assert client.get("/runs").text == "the UI"


def test_the_address_of_a_served_store_has_a_key_of_its_own(built: Built, tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert find_view_url(store, built[1]) is None
    load_or_write_auth(tmp_path / HOME)
    with lock_file(tmp_path / HOME / "serve.lock", "http://127.0.0.1:4321/api", str):
        link = find_view_url(store, built[1])
    key = find_view_key(tmp_path / HOME)
    assert link == f"http://127.0.0.1:4321{VIEW_PATH}/{key}/{built[1].run_id}/lists"
    assert key != find_reports_key(tmp_path / HOME), "a report that was passed on shows no data"


def test_the_command_serves_on_this_machine_alone_until_it_is_told_to_stop(built: Built) -> None:
    with viewing(built[0].root) as (process, url), httpx.Client(trust_env=False) as client:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[0-9a-f]{32}/view-20250314-092600/lists", url)
        page = client.get(url, timeout=60)
        assert page.status_code == 200 and "perpo view" in page.text
        assert client.get(url, headers={"Host": "evil.example"}).status_code == 400
        without_key = re.sub("/[0-9a-f]{32}/", "/", url)
        assert client.get(without_key).status_code == 404
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_the_arguments_of_the_browser_do_not_tell_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$@" > {seen}\n')
    browser.chmod(0o700)
    monkeypatch.setattr(webbrowser, "_tryorder", None)  # as at its start: BROWSER is asked again
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    open_browser(f"{ORIGIN}/{KEY}/run/lists", tmp_path)
    said = seen.read_text()
    assert KEY not in said
    page = Path(unquote(urlsplit(said.strip()).path)).read_text()
    assert f"url={ORIGIN}/{KEY}/run/lists" in page
