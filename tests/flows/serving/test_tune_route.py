"""The page of a study over http: what it shows and to whom, and that an answer is all it takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from flows.runs.home import HOME, find_reports_key, find_tune_key, find_view_key
from flows.runs.links import TUNE_PATH, find_tune_url
from flows.serving.gate import guard
from flows.serving.password import load_or_write_auth
from flows.serving.tune_route import build_tune_app
from flows.serving.tune_server import serving_study
from perpo_core.store.locks import lock_file
from perpo_core.store.store import Store
from perpo_core.tuning.study import Study
from tests.perpo_core.tuning.studies import begin_next, build_study

KEY, ORIGIN = "0123456789abcdef", "http://127.0.0.1:4200"
VALUES = [(0.5, 0.4), (0.7, 0.6), (0.2, 0.1)]
SCRIPT = "<script>alert(1)</script>"


def build_client(store: Store, auth: str | None = None) -> TestClient:
    app = Starlette(routes=[Mount("/", build_tune_app(lambda: store, KEY, auth))])
    return TestClient(guard(app, [ORIGIN]), ORIGIN, follow_redirects=False)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return build_study(tmp_path, VALUES, user="person")


@pytest.fixture
def client(study: Study) -> TestClient:
    return build_client(study.store)


def read_form(page: str) -> dict[str, str]:
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))


def post(client: TestClient, study: Study, form: dict[str, str], **headers: str) -> Any:
    return client.post(f"/{KEY}/{study.name}/answer", data=form, headers=headers)


def test_a_question_is_shown_and_its_answer_kept_once(client: TestClient, study: Study) -> None:
    page = client.get(f"/{KEY}/{study.name}")
    assert page.status_code == 200 and page.text.count("<svg") == 2
    assert "grounding accuracy at IoU 0.5" in page.text and "0.7000" in page.text
    form = read_form(page.text)
    assert form["number"] == "0" and form["first"] != form["second"]
    answer = post(client, study, {**form, "choice": "second"}, Origin=ORIGIN)
    assert answer.status_code == 303
    assert str(answer.url.join(answer.headers["Location"])) == f"{ORIGIN}/{KEY}/{study.name}"
    [kept] = study.load_comparisons("person")
    assert (kept.choice, kept.by) == ("second", "person")
    assert ([*map(str, kept.first)], [*map(str, kept.second)]) == (
        [form["first"]],
        [form["second"]],
    )
    assert post(client, study, {**form, "choice": "first"}).status_code == 303
    assert study.load_comparisons("person") == [kept], "a form that was sent twice"
    assert read_form(client.get(f"/{KEY}/{study.name}").text)["number"] == "1"


def test_a_page_loads_and_runs_nothing_of_others_and_sends_its_own_origin(
    client: TestClient, study: Study
) -> None:
    for path in ("", study.name, "tune.css"):
        answer = client.get(f"/{KEY}/{path}")
        assert answer.status_code == 200
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert "form-action 'self'" in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    text = client.get(f"/{KEY}/{study.name}").text
    assert "style=" not in text and "<script" not in text
    assert client.get(f"/{KEY}/{study.name}").headers["Referrer-Policy"] == "same-origin"
    listed = client.get(f"/{KEY}/").text
    assert f'href="{study.name}"' in listed


FORMS = [
    {}, {"choice": "first"}, {"number": "0", "first": "0", "second": "1"},
    {"number": "0", "first": "0", "second": "1", "choice": "both"},
    {"number": "x", "first": "0", "second": "1", "choice": "first"},
    {"number": "-1", "first": "0", "second": "1", "choice": "first"},
    {"number": "0", "first": "0", "second": "7", "choice": "first"},
    {"number": "0", "first": "0;rm", "second": "1", "choice": "first"},
    {"number": "0", "first": "", "second": "1", "choice": "first"},
    {"number": "0", "first": "0", "second": "1", "choice": "first", "by": "r2"},
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_what_is_no_answer_of_the_page_changes_nothing(
    form: dict[str, str], client: TestClient, study: Study
) -> None:
    assert post(client, study, form).status_code == 400
    assert study.load_comparisons("person") == []


def test_nobody_else_answers(client: TestClient, study: Study) -> None:
    form = read_form(client.get(f"/{KEY}/{study.name}").text) | {"choice": "first"}
    assert post(client, study, form, Origin="http://evil.example").status_code == 403
    assert post(client, study, form, Origin="null").status_code == 403
    assert post(client, study, form, Host="evil.example").status_code == 400
    assert client.post(f"/wrong/{study.name}/answer", data=form).status_code == 404
    assert client.get(f"/{KEY}/{study.name}/answer").status_code == 405
    assert client.delete(f"/{KEY}/{study.name}").status_code == 405
    long = post(client, study, form | {"first": "0," * 4000})
    assert long.status_code == 413
    assert study.load_comparisons("person") == []
    guarded = build_client(study.store, "anna:secret")
    assert guarded.get(f"/{study.name}").status_code == 401
    assert guarded.get(f"/{study.name}", auth=("anna", "secret")).status_code == 200


@pytest.mark.parametrize("name", ["..", "%2e%2e%2fruns", "study.json", "no-such", "a%2fb", "%00"])
def test_nothing_else_of_the_store_is_there(name: str, client: TestClient) -> None:
    answer = client.get(f"/{KEY}/{name}")
    assert answer.status_code == 404 and "{" not in answer.text
    assert client.post(f"/{KEY}/{name}/answer", data=FORMS[-1]).status_code == 404


def test_foreign_text_is_only_text(tmp_path: Path) -> None:
    study = build_study(tmp_path, [], user="person")
    begin_next(study)
    study.fail(study.list_trials()[0], f"it broke: {SCRIPT}")
    page = build_client(study.store).get(f"/{KEY}/{study.name}").text
    assert "it broke: &lt;script&gt;" in page and SCRIPT not in page


def test_a_simulated_user_is_only_looked_at(tmp_path: Path) -> None:
    study = build_study(tmp_path, VALUES, user="r2")
    client = build_client(study.store)
    page = client.get(f"/{KEY}/{study.name}").text
    assert "User r2 compares" in page and "<form" not in page
    form = {"number": "0", "first": "0", "second": "1", "choice": "first"}
    assert post(client, study, form).status_code == 400


def test_before_there_is_anything_to_compare_the_page_waits(tmp_path: Path) -> None:
    study = build_study(tmp_path, [], user="person")
    page = build_client(study.store).get(f"/{KEY}/{study.name}").text
    assert "Nothing to compare now" in page and 'http-equiv="refresh"' in page


def test_the_page_of_a_command_is_on_this_machine_under_its_own_key(study: Study) -> None:
    with serving_study(study.store, study.name, 0) as url:
        assert url.startswith("http://127.0.0.1:")
        assert httpx.get(url, trust_env=False).status_code == 200
        other = url.replace(url.split("/")[3], "0" * 32)
        assert httpx.get(other, trust_env=False).status_code == 404
        port = int(url.split(":")[2].split("/")[0])
        with pytest.raises(ValueError, match="is not free"), serving_study(study.store, "x", port):
            pass
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)


def test_its_address_is_known_where_the_store_is_served(study: Study) -> None:
    home = study.store.root / HOME
    home.mkdir()
    assert find_tune_url(study.store, study.name) is None
    load_or_write_auth(home)
    with lock_file(home / "serve.lock", "http://127.0.0.1:4200/api", str):
        url = find_tune_url(study.store, study.name)
    key = find_tune_key(home)
    assert key is not None and key not in (find_view_key(home), find_reports_key(home))
    assert url == f"http://127.0.0.1:4200{TUNE_PATH}/{key}/{study.name}"
