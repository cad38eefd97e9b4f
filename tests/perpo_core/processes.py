"""Children of this process, found and ended by the module they run."""

from __future__ import annotations

import time

import psutil


def find_children(module: str) -> list[psutil.Process]:
    """Living descendants that run `python -m MODULE`, their supervisors left out."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            words = process.cmdline()
        except psutil.Error:  # it ended in between
            continue
        if module in words and "perpo_core.process.supervisor" not in words:
            found.append(process)
    return found


def wait_for_children(module: str, number: int, timeout_s: float = 60) -> list[psutil.Process]:
    """The children once there are `number` of them."""
    deadline_s = time.monotonic() + timeout_s
    while len(found := find_children(module)) < number:
        assert time.monotonic() < deadline_s, f"only {len(found)} of {number} children of {module}"
        time.sleep(0.05)
    return found
