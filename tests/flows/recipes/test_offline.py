"""A refresh needs no network at all: it runs in a namespace that has none but loopback."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.whole import COMMAND_TIMEOUT_S, PERPO, build_env, load_report, write_config

# Loopback is down in a new namespace; this is `ip link set lo up` without the package.
LOOPBACK_UP = """
import fcntl, os, socket, struct, sys
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14s", b"lo", IFF_UP, b""))
os.execv(sys.argv[1], sys.argv[1:])
"""
IN_NAMESPACE = ["unshare", "--map-root-user", "--net", sys.executable, "-c", LOOPBACK_UP]


def can_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return (
        subprocess.run([*IN_NAMESPACE, "/bin/true"], capture_output=True, check=False).returncode
        == 0
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_refresh_without_a_network(tmp_path: Path) -> None:
    if not can_unshare():
        pytest.skip("this machine allows no network namespaces")
    config, store = write_config(tmp_path)
    alone = "import urllib.request; urllib.request.urlopen('http://192.0.2.1', timeout=3)"
    reached = subprocess.run(
        [*IN_NAMESPACE, sys.executable, "-c", alone], capture_output=True, text=True, check=False
    )
    assert "Network is unreachable" in reached.stderr
    done = subprocess.run(
        [*IN_NAMESPACE, PERPO, "refresh", str(config)], capture_output=True, text=True,
        timeout=COMMAND_TIMEOUT_S, env=build_env(), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert load_report(store)["status"] == "completed"
