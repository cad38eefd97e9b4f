"""A proxy in the environment: a run speaks to its own server without it, and tells it nothing."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.serving.prefect_setup import refuse_unusable_proxies
from tests.flows.toy import build_command, write_policy
from tests.flows.whole import build_env

SCHEMES = ("http", "https", "all", "no")


@contextmanager
def trapping() -> Iterator[tuple[str, list[bytes]]]:
    """(HOST:PORT of a proxy that answers nobody, what it was told)."""
    told: list[bytes] = []

    def listen() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # the block has ended
                return
            with connection:
                told.append(connection.recv(4096))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}", told
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def build_proxied_env(**proxies: str) -> dict[str, str]:
    """The environment with these proxies and no others."""
    names = {f"{scheme}_proxy" for scheme in SCHEMES}
    return {
        name: value for name, value in build_env().items() if name.lower() not in names
    } | proxies


@pytest.mark.parametrize(
    "proxies",
    [
        {"HTTP_PROXY": "http://{}"},
        pytest.param(
            {"http_proxy": "http://{}", "https_proxy": "{}", "all_proxy": "socks5://{}"},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["http", "all"],
)
def test_a_refresh_does_not_ask_the_proxy(proxies: dict[str, str], tmp_path: Path) -> None:
    policy = write_policy(tmp_path / "policy")
    with trapping() as (proxy, told):
        env = build_proxied_env(**{name: value.format(proxy) for name, value in proxies.items()})
        done = subprocess.run(
            build_command(tmp_path / "store", policy), env=env, capture_output=True, text=True,
            timeout=100, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("report.html")
    assert told == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("all_proxy", "socks4://127.0.0.1:9", "Unknown scheme"),
        ("no_proxy", "[::1]", "Invalid port"),
    ],
)
def test_proxies_that_cannot_be_read_are_one_sentence(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=rf"of no use to Prefect's client \({said}.*\); correct"):
        refuse_unusable_proxies()
