"""The judge against vLLM's own OpenAI-compatible server, with the built-in policy behind it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest

from perpo_core.policy.builtin_folder import BUILTIN_FOLDER
from perpo_core.process.environment import DEFAULTS
from perpo_core.stages import score
from perpo_core.stages.stage import StageContext, find_or_make
from tests.perpo_core.small_store import (
    build_candidate_rows,
    build_context,
    build_sample_row,
    commit_candidates,
    commit_samples,
)

pytestmark = pytest.mark.slow
START_S = 600


@pytest.fixture
def vllm_server(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Its address, and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(BUILTIN_FOLDER),
        "--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port),
        "--dtype", "float32", "--max-model-len", "1024", "--enforce-eager",
    ]  # fmt: skip
    env = {**os.environ, **DEFAULTS, "VLLM_CPU_KVCACHE_SPACE": "1"}
    with (tmp_path / "vllm.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=env)
        try:
            _wait(f"http://127.0.0.1:{port}/health", process, tmp_path / "vllm.log")
            yield f"http://127.0.0.1:{port}/v1", process
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


def test_vllm_judges_and_its_replies_are_kept(
    tmp_path: Path, vllm_server: tuple[str, subprocess.Popen[bytes]]
) -> None:
    url, process = vllm_server
    (tmp_path / "judge.txt").write_text("Say a number from 0 to 10.")
    options = {
        "base_url": url, "model": "tiny", "instruction": str(tmp_path / "judge.txt"),
        "max_tokens": 16, "extra": {"min_tokens": 4},
    }  # fmt: skip
    settings = {"counting": {"reward": "judge", "options": {"judge": options}}}
    context = build_context(tmp_path, score=settings)
    row = build_sample_row(3, "counting", 4)
    samples = commit_samples(context.store, [row])
    candidates = commit_candidates(
        context.store, samples, [build_candidate_rows(row["prompt_id"], ["4", "5"])]
    )
    first = find_or_make(context, score, samples, candidates).artifact
    rows = pq.read_table(context.store.paths(first)).to_pylist()
    # So small a policy says what it likes: what counts is that each reply came and was read.
    for found in rows:
        assert found["reward"] is not None or "the judge" in found["error"], found["error"]
    process.terminate()
    process.wait(60)
    again = StageContext(context.store, context.config, context.policy, force=True)
    second = find_or_make(again, score, samples, candidates).artifact
    assert second.digest == first.digest
