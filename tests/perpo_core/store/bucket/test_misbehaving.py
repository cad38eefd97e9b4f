"""Buckets that misbehave: retried once over, told of, ended in time, and said truthfully."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.commands.cli import app
from perpo_core.store.bucket import objects as remotes
from perpo_core.store.bucket.objects import Remote, RemoteError
from perpo_core.store.bucket.patience import Patience
from tests.misbehaving import Misbehaving, misbehaving
from tests.s3 import build_aws_env

pytest.importorskip("s3fs", reason="a store on S3 needs perpo's extra s3")
BRIEF = Patience(tell_s=0.4, give_up_s=2.5, try_s=1.2, silence_s=0.5)
SLACK_S = 4.0  # of a busy machine
ADDRESS = "s3://bucket/prefix"
Ask = Callable[[Remote], Any]
ASKS: dict[str, Ask] = {
    "list": lambda remote: remote.list_objects("runs/"),
    "read": lambda remote: remote.read("runs/a.json"),
    "write": lambda remote: remote.write("runs/a.json", b"1"),
    "swap": lambda remote: remote.swap("runs/a.lease", b"1", None),
}


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Remote]:
    def use_server(server: Misbehaving, patience: Patience = BRIEF) -> Remote:
        for name, value in build_aws_env(server.endpoint).items():
            monkeypatch.setenv(name, value)
        remote = Remote(ADDRESS, patience)
        remote._fs.connect()  # building the client takes a while on a busy machine
        return remote

    return use_server


FAULTS = [
    ("503", "fails (SlowDown)"),
    ("reset", "does not answer"),
    ("cut", "cuts its answers short"),
    ("silent", "does not answer (ReadTimeoutError)"),
    ("drip", "gives no whole answer"),
]


@pytest.mark.parametrize(
    ("ask", "fault", "said"),
    [("list", *each) for each in FAULTS] + [("read", *each) for each in FAULTS[2:]],
)
def test_whatever_fails_for_ever_is_told_and_ends_in_time(
    ask: str, fault: str, said: str, use: Callable[..., Remote], capsys: pytest.CaptureFixture[str]
) -> None:
    with misbehaving(fault, forever=True) as server:
        remote = use(server)
        started_s = time.monotonic()
        with pytest.raises(RemoteError) as caught:
            ASKS[ask](remote)
        assert time.monotonic() - started_s < BRIEF.give_up_s + SLACK_S
        assert len(server.requests) < 12
    assert said in str(caught.value)
    assert "for 2.5 s" in str(caught.value)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(ADDRESS)
    assert "trying on until" in line


@pytest.mark.parametrize("fault", ["503", "reset", "cut", "silent"])
@pytest.mark.parametrize("ask", sorted(ASKS))
def test_what_passes_costs_a_moment(fault: str, ask: str, use: Callable[..., Remote]) -> None:
    patience = Patience(silence_s=1.5) if fault == "silent" else Patience()
    with misbehaving(fault) as server:
        server.objects["/bucket/prefix/runs/a.json"] = b"1" * 100
        found = ASKS[ask](use(server, patience))
        assert len(server.requests) == 2
    if ask == "read":
        assert found.content == b"1" * 100


def test_one_line_for_all_that_wait_at_once_and_no_second_minute_for_what_comes_next(
    use: Callable[..., Remote], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from perpo_core.store.bucket import client as remote_client

    monkeypatch.setattr(remote_client, "LOST_S", 0.3)
    with misbehaving("silent", forever=True) as server:
        remote = use(server)
        started_s = time.monotonic()
        with pytest.raises(RemoteError):
            remote.map(remote.read, [f"runs/{n}.json" for n in range(40)])
        with pytest.raises(RemoteError):
            remote.read("runs/b.json")
        assert time.monotonic() - started_s < BRIEF.give_up_s + SLACK_S
    assert len(capsys.readouterr().err.splitlines()) == 1


PAGES = ["page", "rough", "nothing", "page 302", "page 404", "page 405"]


# A page with an ETag, for what was written, cannot be told from S3.
@pytest.mark.parametrize(
    ("fault", "ask"), [(f, a) for f in PAGES for a in ASKS if f != "page" or a in ("list", "read")]
)
def test_an_answer_that_is_not_s3s_is_an_error_at_once(
    fault: str, ask: str, use: Callable[..., Remote], capsys: pytest.CaptureFixture[str]
) -> None:
    refused = pytest.raises(RemoteError, match=r"what answers is not S3.*AWS_ENDPOINT_URL")
    with misbehaving(fault, forever=True) as server, refused:
        ASKS[ask](use(server, Patience()))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("fault", ["page", "rough", "nothing", "page 404"])
def test_no_run_is_never_said_for_an_answer_of_something_else(
    fault: str, use: Callable[..., Remote], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERPO_CACHE", str(tmp_path))
    with misbehaving(fault, forever=True) as server:
        use(server)
        address = f"s3://bucket-{fault.replace(' ', '-')}/prefix"
        done = CliRunner().invoke(app, ["runs", "--store", address])
    assert done.exit_code == 2
    assert "what answers is not S3" in done.stderr
    assert "no run" not in done.output


def test_a_silent_bucket_ends_a_command_in_one_sentence(
    use: Callable[..., Remote], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERPO_CACHE", str(tmp_path))
    monkeypatch.setattr(remotes, "PATIENCE", replace(BRIEF, give_up_s=BRIEF.give_up_s + SLACK_S))
    with misbehaving("silent", forever=True) as server:
        use(server)
        done = CliRunner().invoke(app, ["runs", "--store", "s3://bucket-silent/prefix"])
    assert done.exit_code == 2
    told, said = done.stderr.splitlines()
    assert told.startswith("s3://bucket-silent/prefix gives no whole answer")
    assert said.startswith("store = s3://bucket-silent/prefix: the server does not answer")


def test_missing_credentials_are_said_at_once(
    use: Callable[..., Remote], monkeypatch: pytest.MonkeyPatch
) -> None:
    with misbehaving() as server:
        use(server)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        with pytest.raises(RemoteError, match=r"access was refused \(NoCredentialsError\)"):
            Remote(ADDRESS).read("runs/a.json")
        assert server.requests == []


def make_bytes(num_bytes: int) -> bytes:
    return bytes(range(256)) * (num_bytes // 256)


def test_a_download_may_take_longer_than_the_deadline_while_bytes_move(
    use: Callable[..., Remote], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = make_bytes(4 << 20)
    with misbehaving() as server:
        server.objects["/bucket/prefix/file"] = content
        server.pause_s = 0.04  # 64 steps
        remote = use(server, Patience(tell_s=1.2, give_up_s=1.3, try_s=1.2, silence_s=1.1))
        started_s = time.monotonic()
        remote.download("file", tmp_path / "file", len(content))
        assert time.monotonic() - started_s > 2.0
    assert (tmp_path / "file").read_bytes() == content
    assert capsys.readouterr().err == ""


def test_an_upload_may_take_longer_than_the_deadline_while_bytes_move(
    use: Callable[..., Remote], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, content = tmp_path / "file", make_bytes(15 << 20)
    path.write_bytes(content)
    with misbehaving() as server:
        server.pause_s = 0.02  # 240 steps; a quarter of it is what the system sends by itself
        remote = use(server, Patience(tell_s=3.5, give_up_s=3.6, try_s=3.5, silence_s=3.4))
        started_s = time.monotonic()
        remote.upload(path, "file")
        assert time.monotonic() - started_s > 4.5
        assert server.objects["/bucket/prefix/file"] == content
    assert capsys.readouterr().err == ""


def test_a_download_that_is_cut_off_goes_on_where_it_was(
    use: Callable[..., Remote], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = make_bytes(1 << 20)
    monkeypatch.setattr("perpo_core.store.bucket.client.PART_BYTES", 300_000)
    with misbehaving("cut 70000", "503", "cut 70000", "reset", "cut 10") as server:
        server.objects["/bucket/prefix/file"] = content
        assert use(server).download("file", tmp_path / "file", len(content))
        assert len(server.requests) == 4 + 5
    assert (tmp_path / "file").read_bytes() == content


def test_a_large_upload_goes_in_parts_each_asked_again_by_itself(
    use: Callable[..., Remote], tmp_path: Path
) -> None:
    path, content = tmp_path / "file", make_bytes(17 << 20)
    path.write_bytes(content)
    with misbehaving("503", "", "reset", "503") as server:
        use(server, replace(BRIEF, give_up_s=10.0, try_s=9.0, silence_s=8.0)).upload(path, "file")
        assert server.objects == {"/bucket/prefix/file": content}
        assert len(server.requests) == 1 + 3 + 1 + 3


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "said"), [FAULTS[0], FAULTS[3], FAULTS[4]])
def test_with_the_real_figures_it_takes_a_minute(
    fault: str, said: str, use: Callable[..., Remote], capsys: pytest.CaptureFixture[str]
) -> None:
    with misbehaving(fault, forever=True) as server:
        remote = use(server, Patience())
        started_s = time.monotonic()
        with pytest.raises(RemoteError) as caught:
            remote.read("runs/a.json")
        assert 40 < time.monotonic() - started_s < 65
    assert said in str(caught.value)
    [line] = capsys.readouterr().err.splitlines()
    assert "for 10 s; trying on until" in line
