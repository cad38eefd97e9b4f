"""Part memory: what a generation held is free again once its process has ended.

On a GPU all memory in use on the card is read before, during and after, whoever holds it; on a CPU
the resident memory of the processes below this one. No process of the generation may be left.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import psutil
import torch

from perpo_core.process.child import emit, load_job
from perpo_core.stages import collect, generate
from perpo_core.stages.stage import find_or_make
from tests.gpu_check.cases import Figures, judge
from tests.gpu_check.plan import PartJob
from tests.gpu_check.stages import build_context, skip_if_unloadable

READ_EVERY_S = 0.1
FREE_WITHIN_S = 5.0  # the driver takes a moment after a process has ended
SLACK_BYTES = 64 << 20
MIB = 1 << 20
FEW: dict[str, Any] = {
    "kind": "digits", "train": {"grounding": 8}, "selection": {}, "validation": {}, "test": {},
}  # fmt: skip


def main() -> None:
    job = load_job(PartJob)
    if skip_if_unloadable():
        return
    context = build_context(job, source=FEW)
    samples = find_or_make(context, collect).artifact
    read_held_bytes(job.device)  # makes this process's own share of the card, which stays
    before = read_held_bytes(job.device)
    with Peak(job.device) as peak:
        find_or_make(context, generate, samples)
    after = wait_until_free(job.device, before)
    left = len(psutil.Process().children(recursive=True))
    emit("row", case=f"generation with {job.engine}", **describe(before, peak.bytes, after, left))
    emit("result")


def read_held_bytes(device: str) -> int:
    if device == "cuda":
        free, total = torch.cuda.mem_get_info()
        return total - free
    return sum(_read_resident(child) for child in psutil.Process().children(recursive=True))


def _read_resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


class Peak:
    """The most that was held while the block ran, read again and again by a thread."""

    def __init__(self, device: str) -> None:
        self.bytes = 0
        self._device = device
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._end.wait(READ_EVERY_S):
            self.bytes = max(self.bytes, read_held_bytes(self._device))

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        self._thread.join()


def wait_until_free(device: str, before: int) -> int:
    """Bytes held once they are down to what they were, or when the time for that is up."""
    deadline_s = time.monotonic() + FREE_WITHIN_S
    while (held := read_held_bytes(device)) > before + SLACK_BYTES:
        if time.monotonic() > deadline_s:
            break
        time.sleep(READ_EVERY_S)
    return held


def describe(before: int, peak: int, after: int, left: int) -> Figures:
    """Passed: something was held, nothing is, and no process is left."""
    passed = peak > before + SLACK_BYTES and after <= before + SLACK_BYTES and left == 0
    return {
        "result": judge(passed),
        "held_before_mib": before // MIB, "held_peak_mib": peak // MIB,
        "held_after_mib": after // MIB, "processes_left": left,
    }  # fmt: skip


if __name__ == "__main__":
    main()
