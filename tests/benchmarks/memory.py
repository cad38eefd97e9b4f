"""The most memory that this process or one below it holds of its own, looked at while it runs.

Files that are mapped do not count: the system takes their pages back when it needs them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

EVERY_S = 0.1


@dataclass
class Peak:
    """So far."""

    num_bytes: int = 0


@contextmanager
def watch_memory() -> Iterator[Peak]:
    peak, stop = Peak(), threading.Event()
    thread = threading.Thread(target=_watch, args=(peak, stop), daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def _watch(peak: Peak, stop: threading.Event) -> None:
    me = psutil.Process()
    while not stop.wait(EVERY_S):
        for process in [me, *me.children(recursive=True)]:
            peak.num_bytes = max(peak.num_bytes, _measure(process))


def _measure(process: psutil.Process) -> int:
    try:
        memory = process.memory_info()
    except psutil.NoSuchProcess:
        return 0
    return int(memory.rss - memory.shared)
