"""The child process of a toy stage, for tests of nights that go wrong: it behaves as told.

hold: reports progress until it is ended; spin: computes and reports nothing; stop: stops itself,
as a debugger or a dead disk stops a process. Each has a child of its own, in a session of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from perpo_core.process.child import emit, load_job
from perpo_core.process.parent import run_child
from perpo_core.stages.stage import StageContext

CHILD = "tests.flows.toy_child"
ROOT = Path(__file__).parents[2]
SLEEPER = "import time; time.sleep(600)"
REPORT_EVERY_S = 0.2


class Job(BaseModel):
    act: Literal["hold", "spin", "stop"]


def run_toy_child(context: StageContext, act: str) -> None:
    """A child that never ends by itself, with train.progress_timeout_s."""
    run_child(
        CHILD,
        {"act": act},
        on_event=lambda event: None,
        log=context.log,
        progress_timeout_s=context.config.train.progress_timeout_s,
        env={"PYTHONPATH": str(ROOT)},
    )


def main() -> None:
    act = load_job(Job).act
    subprocess.Popen([sys.executable, "-c", SLEEPER, CHILD], start_new_session=True)
    if act == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    while True:
        if act == "hold":
            emit("progress", done=0, total=1, unit="nights")
            time.sleep(REPORT_EVERY_S)


if __name__ == "__main__":
    main()
