"""Parts that go wrong, each as its name says, after one good row."""

from __future__ import annotations

import os
import signal
import time

from perpo_core.process.child import emit, load_job
from tests.gpu_check.plan import PartJob


def main() -> None:
    job = load_job(PartJob)
    if job.size == "skips":
        emit("skip", reason="There is nothing to check here.")
        emit("result")
        return
    emit("row", case="first", result="passed")
    if job.size == "raises":
        raise ValueError("this part broke")
    if job.size == "dies":
        os.kill(os.getpid(), signal.SIGSEGV)
    if job.size == "hangs":
        time.sleep(600)
    if job.size == "finds":
        emit("row", case="second", result="failed")
    emit("result")


if __name__ == "__main__":
    main()
