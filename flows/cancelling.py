"""A run that was started in a terminal ends Cancelled: by Ctrl-C, and by Cancel in the UI.

A deployment's run has a worker that sees to it. Here nobody would: Prefect calls Ctrl-C a crash,
and Cancel would be a word in the UI while the work went on.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

from prefect.exceptions import Abort
from prefect.states import Cancelled

from flows.endings import asking_quickly, describe_ending, is_cancelled
from schemas.run import RunRecord

POLL_S = 3.0


def run_until_cancelled(run: Callable[[], RunRecord]) -> RunRecord:
    """What a flow returns: the record of its run or, if it was interrupted, the state Cancelled.

    A flow that returns the state has it, and its caller gets Prefect's CancelledRun. To start a
    task, which Prefect refuses once the run is to be cancelled, counts as interrupted too.
    """
    try:
        with heeding_cancel():
            return run()
    except (KeyboardInterrupt, Abort) as error:
        status, sentence = describe_ending(error)
        if status != "cancelled":
            raise
        cancelled: Any = Cancelled(message=sentence)
        return cancelled


@contextmanager
def heeding_cancel() -> Iterator[None]:
    """Interrupt this process as Ctrl-C does once someone asks Prefect to cancel its run."""
    ended, ending = threading.Event(), threading.Lock()

    def watch() -> None:
        with asking_quickly() as client:
            while not ended.wait(POLL_S):
                if is_cancelled(client):
                    break
        with ending:
            if not ended.is_set():
                os.kill(os.getpid(), signal.SIGINT)

    # The run's id and the server's address are context.
    threading.Thread(target=copy_context().run, args=(watch,), daemon=True).start()
    try:
        yield
    finally:
        with ending:
            ended.set()
