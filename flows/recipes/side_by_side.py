"""Several runs at once in one process, each in a thread of its own, which end together.

A signal reaches the main thread alone: on Ctrl-C, and when one of them fails, every other gets a
KeyboardInterrupt of its own, so that each ends its child processes and its record as a single run
does.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TypeVar

from perpo_core.process.gpus import find_gpus, using_gpus

T = TypeVar("T")


def run_side_by_side(works: Sequence[Callable[[], T]], lanes: int) -> list[T]:
    """What each returns, in order; raises what the first to fail raised.

    On GPUs each lane has its share of them, at least one.
    """
    if lanes == 1 or len(works) < 2:
        return [work() for work in works]
    shares = list(_share_gpus(find_gpus(), lanes))
    free = list(range(len(shares)))
    threads: set[int] = set()

    def run(work: Callable[[], T]) -> T:
        lane = free.pop()
        threads.add(threading.get_ident())
        try:
            with using_gpus(shares[lane]):
                return work()
        finally:
            threads.discard(threading.get_ident())
            free.append(lane)

    with ThreadPoolExecutor(len(shares)) as pool:
        futures = [pool.submit(copy_context().run, run, work) for work in works]
        try:
            _raise_first(futures)
        except BaseException:
            for future in futures:
                future.cancel()
            for thread in list(threads):
                interrupt(thread)
            raise
    return [future.result() for future in futures]


def interrupt(thread: int) -> None:
    """Raise KeyboardInterrupt in a thread, as soon as it runs Python again."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt)
    )


def _raise_first(futures: Sequence[Future[T]]) -> None:
    left = set(futures)
    while left:
        done, left = wait(left, return_when=FIRST_COMPLETED)
        for future in done:
            future.result()


def _share_gpus(gpus: list[str], lanes: int) -> Iterator[list[str] | None]:
    """Of each lane; None: there are none. No more lanes than GPUs."""
    if not gpus:
        yield from [None] * lanes
        return
    lanes = min(lanes, len(gpus))
    for lane in range(lanes):
        yield gpus[lane::lanes]
