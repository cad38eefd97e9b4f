"""A run looks after its own state in Prefect, so that the UI says what is.

Cancel of a run that was started in a terminal: no worker sees to it, and without this the word
would stand in the UI while the work went on. Ctrl-C there: Prefect calls it a crash. And a server
that wakes up with its machine, or whose clock is set forward, takes every running process for dead
at once, since it has heard nothing of them for so long.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import Any, TypeVar

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import Abort
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled, Running

from flows.runs.endings import asking_quickly, describe_ending, is_cancelled, read_own_state

POLL_S = 3.0
T = TypeVar("T")
ALIVE = "Its process lives: the server had taken it for dead, asleep or with its clock set."


def run_watched(run: Callable[[], T]) -> T:
    """What a flow returns: its run's record, say, or, if it was interrupted, the state Cancelled.

    A flow that returns the state has it, and its caller gets Prefect's CancelledRun. To start a
    task, which Prefect refuses once the run is to be cancelled, counts as interrupted too.
    """
    try:
        with watching_own_state():
            return run()
    except (KeyboardInterrupt, Abort) as error:
        status, sentence = describe_ending(error)
        if status != "cancelled":
            raise
        cancelled: Any = Cancelled(message=sentence)
        return cancelled


@contextmanager
def watching_own_state() -> Iterator[None]:
    """Look every few seconds, until the block ends; nothing is said of the state after that."""
    ended, looking = threading.Event(), threading.Lock()
    in_terminal = deployment.id is None

    def watch() -> None:
        with asking_quickly() as client:
            while not ended.wait(POLL_S):
                with looking, suppress(httpx.HTTPError):  # it is asked again
                    if not ended.is_set() and not look(client, in_terminal):
                        return

    # The run's id and the server's address are context.
    threading.Thread(target=copy_context().run, args=(watch,), daemon=True).start()
    try:
        yield
    finally:
        with looking:
            ended.set()


def look(client: SyncPrefectClient, in_terminal: bool) -> bool:
    """Correct the state, or heed it; whether there is reason to look again."""
    state = read_own_state(client)
    if in_terminal and is_cancelled(state):
        os.kill(os.getpid(), signal.SIGINT)
        return False
    if state is not None and state.is_crashed():
        client.set_flow_run_state(flow_run.id, Running(message=ALIVE), force=True)
    return True
