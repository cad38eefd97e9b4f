"""A bucket that cannot be used is one sentence that says what to do, and never a credential."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.s3 import build_aws_env, make_bucket

PERPO = str(Path(sys.executable).with_name("perpo"))
# A server that asks who is there, as Amazon's does; moto lets everybody in.
REFUSING = """
import http.server
class Refuse(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # answers Expect: 100-continue
    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b"<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_GET = do_PUT = do_DELETE = answer
    def log_message(self, *args):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Refuse)
print(server.server_port, flush=True)
server.serve_forever()
"""


def run_doctor(address: str, tmp_path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """`perpo doctor` in an environment with nothing of AWS but what is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(
        [PERPO, "doctor", "--set", f"store={address}"], capture_output=True, text=True,
        env={**kept, "PERPO_CACHE": str(tmp_path / "cache"), **env}, timeout=100, check=False,
    )  # fmt: skip


def expect_error(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    found = [line for line in done.stdout.splitlines() if line.startswith("error")]
    [line] = found or done.stderr.splitlines()
    for part in parts:
        assert part in line
    assert "a-secret-that-nothing-may-show" not in done.stdout + done.stderr


@pytest.mark.usefixtures("s3")
def test_a_bucket_that_works_is_said(tmp_path: Path, s3_endpoint: str) -> None:
    address = make_bucket()
    done = run_doctor(address, tmp_path, **build_aws_env(s3_endpoint))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"store: {address} can be read and written" in done.stdout


def test_credentials_that_are_missing_or_refused_are_said(tmp_path: Path, s3_endpoint: str) -> None:
    env = build_aws_env(s3_endpoint)
    without = {name: v for name, v in env.items() if "KEY" not in name}
    done = run_doctor("s3://bucket/prefix", tmp_path, **without)
    expect_error(done, "store = s3://bucket/prefix: access was refused", "set AWS_ACCESS_KEY_ID")

    with subprocess.Popen([sys.executable, "-c", REFUSING], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        env = build_aws_env(f"http://127.0.0.1:{port}")
        try:
            done = run_doctor("s3://bucket/prefix", tmp_path, **env)
        finally:
            server.terminate()
    expect_error(done, "access was refused (SignatureDoesNotMatch)")


@pytest.mark.slow  # botocore asks for a quarter of a minute
def test_a_server_that_does_not_answer_is_said(tmp_path: Path) -> None:
    done = run_doctor("s3://bucket/prefix", tmp_path, **build_aws_env("http://127.0.0.1:9"))
    expect_error(done, "the server does not answer", "AWS_ENDPOINT_URL")


def test_a_missing_package_is_said(tmp_path: Path) -> None:
    """As in an environment without the extra."""
    (tmp_path / "s3fs.py").write_text("raise ModuleNotFoundError('s3fs')")
    done = run_doctor("s3://bucket/prefix", tmp_path, PYTHONPATH=str(tmp_path))
    expect_error(done, "needs the package s3fs; install it with")


def test_a_store_in_a_folder_needs_nothing_of_this(tmp_path: Path) -> None:
    code = (
        "import sys, perpo_core.store.locks, perpo_core.doctor\n"
        "from perpo_core.store.open import open_store\n"
        "assert open_store('store').read('runs/a.json') is None\n"
        "found = {'s3fs', 'fsspec', 'botocore', 'aiobotocore'} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, timeout=100)
