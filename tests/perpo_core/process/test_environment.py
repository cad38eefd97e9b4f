"""The environment of a run: a proxy in it is not asked for this machine's own servers."""

from __future__ import annotations

import os
from urllib.request import getproxies, proxy_bypass

import httpx
import pytest
from websockets.proxy import get_proxy
from websockets.uri import parse_uri

from perpo_core.process.environment import NO_PROXY, apply_defaults, build_direct_env

PROXY = "http://127.0.0.1:9"
OWN, OTHER = ("127.0.0.1", "localhost"), "objects.example.org"
ADDED = "127.0.0.1,localhost,::1"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No proxy; what is set by whomever is undone afterwards."""
    for scheme in ("http", "https", "all", "no"):
        for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper()):
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)
    return monkeypatch


def list_proxied(host: str) -> list[str]:
    """The libraries that would ask a proxy for a host."""
    from botocore.utils import get_environ_proxies
    from requests.utils import get_environ_proxies as get_requests_proxies

    with httpx.Client() as client:
        transport = client._transport_for_url(httpx.URL(f"http://{host}:1"))
        proxied = {"httpx": transport is not client._transport}
    proxied["urllib"] = "http" in getproxies() and not proxy_bypass(host)
    proxied["websockets"] = get_proxy(parse_uri(f"ws://{host}:1")) is not None
    proxied["requests"] = bool(get_requests_proxies(f"http://{host}:1"))
    proxied["botocore"] = "http" in get_environ_proxies(f"http://{host}:1")
    return [name for name, asks in proxied.items() if asks]


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy"])
@pytest.mark.parametrize("kept", [{}, {"NO_PROXY": "corp.example"}, {"no_proxy": "corp.example, "}])
def test_a_proxy_is_asked_for_others_alone(
    name: str, kept: dict[str, str], bare: pytest.MonkeyPatch
) -> None:
    for key, value in {name: PROXY, **kept}.items():
        bare.setenv(key, value)
    assert [list_proxied(host) for host in OWN] == [list_proxied(OTHER)] * 2
    apply_defaults()
    assert len(list_proxied(OTHER)) == 5
    assert [list_proxied(host) for host in OWN] == [[], []]
    assert list_proxied("corp.example") == ([] if kept else list_proxied(OTHER))


def test_a_socks_proxy_for_everything_is_asked_for_others_alone(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    apply_defaults()
    assert "httpx" in list_proxied(OTHER)
    assert [list_proxied(host) for host in OWN] == [[], []]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (ADDED, ADDED)),
        ({"NO_PROXY": "a"}, (f"a,{ADDED}",) * 2),
        ({"no_proxy": "a"}, (f"a,{ADDED}",) * 2),
        ({"no_proxy": "a", "NO_PROXY": "b"}, (f"a,{ADDED}", f"b,{ADDED}")),
        ({"no_proxy": "", "NO_PROXY": "b"}, (ADDED, f"b,{ADDED}")),
        ({"NO_PROXY": "localhost, 10.0.0.0/8"}, ("localhost,10.0.0.0/8,127.0.0.1,::1",) * 2),
        ({"NO_PROXY": "*"}, ("*", "*")),
        ({"NO_PROXY": "a,*"}, ("*", "*")),
    ],
)
def test_what_the_user_has_excepted_stays(given: dict[str, str], expected: tuple[str, str]) -> None:
    made = build_direct_env(given)
    assert tuple(made[name] for name in NO_PROXY) == expected
    assert build_direct_env(made) == made, "a child does it again"


def test_it_lies_in_the_environment_that_children_inherit(bare: pytest.MonkeyPatch) -> None:
    apply_defaults()
    assert [os.environ[name] for name in NO_PROXY] == [ADDED, ADDED]
