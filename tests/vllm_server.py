"""vLLM's own OpenAI-compatible server on loopback, with the built-in policy behind it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from perpo_core.policy.builtin_folder import BUILTIN_FOLDER
from perpo_core.process.environment import DEFAULTS

MODEL = "tiny"
JUDGE: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": 16,
    # So small a policy says what it likes; the server holds it to a verdict.
    "extra": {"structured_outputs": {"regex": "Score: (10|[0-9])"}},
}
START_S = 600


@contextmanager
def serve_builtin(folder: Path) -> Iterator[str]:
    """Its address, up to /v1; its log lies in the folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(BUILTIN_FOLDER),
        "--served-model-name", MODEL, "--host", "127.0.0.1", "--port", str(port),
        "--dtype", "float32", "--max-model-len", "1024", "--enforce-eager",
    ]  # fmt: skip
    env = {**os.environ, **DEFAULTS, "VLLM_CPU_KVCACHE_SPACE": "1"}
    path = folder / "vllm.log"
    with path.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=env)
        try:
            _wait(f"http://127.0.0.1:{port}/health", process, path)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait(60)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            if httpx.get(url).is_success:
                return
        except httpx.HTTPError:
            time.sleep(1)
    pytest.fail(log.read_text(errors="replace")[-3000:])
