"""Small but whole refreshes through the `perpo` command: real data, real vLLM, real training.

A few dozen prompts, several shards, one engine of one thread, a checkpoint every other step: all
the moving parts of a default refresh in well under a minute of work. The seed and the learning
rate are ones under which training beats its start, so that a changed setting changes the model.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from flows.runs.records import load_records
from perpo_core.store.store import Store
from schemas.artifact import AnyArtifact
from schemas.base import STAGES, StageName
from schemas.run import RunRecord

PERPO = str(Path(sys.executable).with_name("perpo"))
POLICY = "builtin"
MARK = "PERPO_TEST_MARK"  # in the environment of a command and of all that descends from it
COMMAND_TIMEOUT_S = 900
GONE_TIMEOUT_S = 15
POLL_S = 0.002
MEASURE_EVERY_S = 0.2
CONFIG = """
name = "small"
store = "{store}"

[source]
kind = "digits"
seed = 6
train = {{ grounding = 24, ocr = 12, counting = 12 }}
selection = {{ grounding = 12, ocr = 6, counting = 6 }}
validation = {{ grounding = 12, ocr = 6, counting = 6 }}
test = {{ grounding = 24, ocr = 12, counting = 12 }}

[policy]
model = "{policy}"

[generate]
num_candidates = 8
shard_prompts = 12
processes = 1
threads = 1

[lists]
min_gap = {{ grounding = 0.05, ocr = 0.01, counting = 0.01 }}

[train]
learning_rate = 3e-4
lora_rank = 16
lora_alpha = 32
batch_lists = 4
micro_batch_lists = 4
eval_every_steps = 2
eval_prompts = 18
patience = 100
threads = 1

[evaluate]
num_samples = 2
bootstrap_resamples = 200
"""
NUM_TRAIN_SHARDS = 4


def write_config(folder: Path) -> tuple[Path, Path]:
    """(configuration file, store) in an empty folder."""
    path, store = folder / "small.toml", folder / "store"
    path.write_text(CONFIG.format(store=store, policy=POLICY))
    return path, store


def run_perpo(*arguments: object, mark: str = "", env: Mapping[str, str] | None = None) -> str:
    """What a command that succeeds prints; `env` on top of the environment."""
    done = subprocess.run(
        [PERPO, *map(str, arguments)], capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S,
        env=build_env(**{MARK: mark}, **(env or {})), start_new_session=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def measure_perpo(*arguments: object) -> tuple[str, int]:
    """What a command that succeeds prints, and the most memory its processes held at once."""
    mark, peaks, ended = uuid.uuid4().hex, [0], threading.Event()

    def watch() -> None:
        while not ended.wait(MEASURE_EVERY_S):
            peaks.append(sum_resident_bytes(mark))

    with ThreadPoolExecutor(1) as pool:
        pool.submit(watch)
        try:
            said = run_perpo(*arguments, mark=mark)
        finally:
            ended.set()
    return said, max(peaks)


def sum_resident_bytes(mark: str) -> int:
    """Resident memory of the processes that carry the mark; shared pages count for each."""
    total = 0
    for process in find_marked(mark):
        with suppress(psutil.Error):  # it ended in between
            total += process.memory_info().rss
    return total


def build_env(**own: str) -> dict[str, str]:
    """The environment without a Prefect server of the user's."""
    kept = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    return {**kept, "PYTHONUNBUFFERED": "1", **own}


def build_bare_env(**own: str) -> dict[str, str]:
    """The environment without any setting of Prefect's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return {**kept, **own}


def kill_when(condition: Callable[[], bool], log: Path, *arguments: object) -> str:
    """Start a command and kill -9 its whole process group once the condition holds.

    Returns what it printed. No process of it is left, in whatever group it was.
    """
    mark = uuid.uuid4().hex
    with log.open("wb") as out:
        process = subprocess.Popen(
            [PERPO, *map(str, arguments)], stdout=out, stderr=subprocess.STDOUT,
            env=build_env(**{MARK: mark}), start_new_session=True,
        )  # fmt: skip
    try:
        deadline_s = time.monotonic() + COMMAND_TIMEOUT_S
        while not condition():
            assert process.poll() is None, f"it ended by itself: {log.read_text()}"
            assert time.monotonic() < deadline_s, f"it never came so far: {log.read_text()}"
            time.sleep(POLL_S)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    deadline_s = time.monotonic() + GONE_TIMEOUT_S
    while left := list(find_marked(mark)):
        assert time.monotonic() < deadline_s, f"still there: {left}"
        time.sleep(0.1)
    return log.read_text()


def find_marked(mark: str) -> Iterator[psutil.Process]:
    """The living processes that carry the mark."""
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except psutil.Error:  # it ended in between, or is none of ours
            continue


def load_latest(store: Path, name: str | None = None) -> RunRecord | None:
    """The record of the newest run, or of the newest of that name."""
    records = [r for r in load_records(Store(store)) if name in (None, r.config.name)]
    return records[-1] if records else None


def load_report(store: Path, name: str | None = None) -> dict[str, Any]:
    """report.json of the newest run, or of the newest of that name."""
    record = load_latest(store, name)
    assert record is not None and record.report is not None
    report: dict[str, Any] = json.loads(
        (store / record.report).with_name("report.json").read_text()
    )
    return report


def list_executed(report: dict[str, Any]) -> list[StageName]:
    """The stages that were not reused."""
    return [stage for stage in STAGES if not report["stages"][stage]["reused"]]


def list_digests(report: dict[str, Any]) -> dict[str, str]:
    """Stage -> digest of what came out."""
    return {stage: entry["digest"] for stage, entry in report["stages"].items()}


def load_artifact(store: Path, stage: StageName, name: str | None = None) -> AnyArtifact:
    """What the newest run, or the newest of that name, has of a stage."""
    record = load_latest(store, name)
    assert record is not None
    artifact = Store(store).load(record.stages[stage].kind, record.stages[stage].key)
    assert artifact is not None
    return artifact


def identify_files(store: Path, pattern: str) -> dict[Path, tuple[int, int]]:
    """Path -> (inode, time of last change): the same only while nobody wrote the file again."""
    stats = {path: path.stat() for path in sorted(store.glob(pattern)) if path.is_file()}
    return {path: (stat.st_ino, stat.st_mtime_ns) for path, stat in stats.items()}
