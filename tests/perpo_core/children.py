"""Child processes of test_process.py: each behaves as its job's `act` says.

`python -m tests.perpo_core.children parent JOB` runs such a child and is killed by the test.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from perpo_core.process.child import emit, load_job
from perpo_core.process.parent import run_child

CHILDREN = "tests.perpo_core.children"
CHILDREN_PATH = {"PYTHONPATH": str(Path(__file__).parents[2])}
SLEEPER = "import time; time.sleep(600)"
HOARD_BYTES = 8 << 30
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
# A process that leaves the session and is orphaned at once, as a daemon does.
DAEMON = (
    "import os, subprocess, sys;"
    f"sleeper = subprocess.Popen([sys.executable, '-c', {SLEEPER!r}],"
    " start_new_session=True, stdout=subprocess.DEVNULL);"
    "print(sleeper.pid)"
)


class Job(BaseModel):
    act: str
    pids_path: Path | None = None
    stubborn: bool = False
    """One grandchild ignores SIGTERM, so the end takes the whole grace."""
    text: str = ""
    num_events: int = 0


def start_family(pids_path: Path, stubborn: bool) -> None:
    """Grandchildren of every kind; their pids and this process's go to a file."""
    pids = [os.getpid(), os.getppid()]
    code = STUBBORN if stubborn else SLEEPER
    pids.append(subprocess.Popen([sys.executable, "-c", code]).pid)
    pids.append(subprocess.Popen([sys.executable, "-c", SLEEPER], start_new_session=True).pid)
    daemon = subprocess.run([sys.executable, "-c", DAEMON], stdout=subprocess.PIPE, check=True)
    pids.append(int(daemon.stdout))
    time.sleep(0.3)  # until the stubborn one ignores SIGTERM
    pids_path.with_suffix(".part").write_text(json.dumps(pids))
    pids_path.with_suffix(".part").rename(pids_path)


def fill_disk(folder: Path, leave: bool) -> None:
    """Fails for want of space; the file stays, or is removed as the store removes its own."""
    path = folder / "half"
    try:
        with path.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    finally:
        if not leave:
            path.unlink()


def hoard(what: str) -> None:
    """Ask for more memory than this process may have, in three libraries."""
    resource.setrlimit(resource.RLIMIT_DATA, (HOARD_BYTES // 4,) * 2)
    if what == "hoard tensors":
        import torch

        torch.zeros(HOARD_BYTES, dtype=torch.uint8)
    elif what == "hoard columns":
        import pyarrow as pa

        pa.allocate_buffer(HOARD_BYTES)
    else:
        bytearray(HOARD_BYTES)


def act(job: Job) -> None:
    if job.act == "count":
        for done in range(job.num_events):
            emit("progress", done=done, total=job.num_events, unit="events")
        emit("result", total=job.num_events)
    elif job.act == "echo":
        emit("log", message=job.text)
        emit("result", text=job.text)
    elif job.act == "chatter":
        print("printed from Python")
        os.system("echo printed by a grandchild")
        os.write(1, b"written natively, no line break")
        emit("result", ok=True)
    elif job.act == "crash":
        emit("progress", done=1, total=2, unit="steps")
        raise ValueError(job.text)
    elif job.act == "kill":
        print("last words", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    elif job.act == "environment":
        emit("result", **{name: os.environ.get(name) for name in job.text.split()})
    elif job.act == "family":
        assert job.pids_path is not None
        start_family(job.pids_path, job.stubborn)
        emit("progress", done=0, total=1, unit="families")
        time.sleep(600)
    elif job.act in ("stop", "spin"):
        assert job.pids_path is not None
        start_family(job.pids_path, job.stubborn)
        emit("progress", done=0, total=1, unit="families")
        while job.act == "spin":
            pass
        os.kill(os.getpid(), signal.SIGSTOP)
    elif job.act.startswith("fill"):
        fill_disk(Path(job.text), leave=job.act == "fill and leave")
    elif job.act.startswith("hoard"):
        hoard(job.act)
    elif job.act == "leave family":
        assert job.pids_path is not None
        start_family(job.pids_path, job.stubborn)
        emit("result", ok=True)
    elif job.act == "kill supervisor":
        assert job.pids_path is not None
        job.pids_path.write_text(json.dumps([os.getpid()]))
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)
    else:
        assert job.act == "no result", job.act


def be_parent(job: Job, kind: str) -> None:
    def on_event(event: dict[str, Any]) -> None:
        if kind == "forking parent" and os.fork() == 0:
            assert job.pids_path is not None
            job.pids_path.with_suffix(".fork").write_text(str(os.getpid()))
            time.sleep(600)  # with a copy of every descriptor of the parent

    def run() -> None:
        run_child(
            CHILDREN,
            job,
            on_event=on_event,
            log=print,
            progress_timeout_s=600,
            env=CHILDREN_PATH,
        )

    if kind == "threaded parent":
        threading.Thread(target=run).start()
        while True:
            time.sleep(600)
    run()


if __name__ == "__main__":
    if sys.argv[1].endswith("parent"):
        be_parent(Job.model_validate_json(sys.argv[2]), kind=sys.argv[1])
    else:
        if "PRINT_EARLY" in os.environ:  # as a library may while it is imported
            print("stray line before load_job, no line break", end="", flush=True)
        act(load_job(Job))
