"""Who watches a run besides Prefect: the terminal's display, when there is one.

A context variable rather than an argument, so that tasks stay callable with plain data; Prefect
hands context on to its worker threads. Without a watcher every call does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from schemas.artifact import Counts
from schemas.base import StageName


class Watcher:
    """Is told what happens; this one keeps quiet."""

    def begin(self, title: str) -> None:
        """One of several runs is about to begin, such as "round 2 of 3"."""

    def note(self, message: str) -> None:
        """What goes on beside the stages; "" ends it."""

    @contextmanager
    def splitting(self, name: str) -> Iterator[Watcher]:
        """Who watches one of several runs, until it has ended."""
        del name
        yield self

    def start(self, stage: StageName) -> None:
        """A stage is being looked up or made."""

    def log(self, stage: StageName, message: str) -> None:
        """A line from inside a stage."""

    def progress(self, stage: StageName, done: float, total: float, unit: str) -> None:
        """How far a stage is, e.g. 512 of 2048 "prompts"."""

    def finish(self, stage: StageName, reused: bool, seconds: float, counts: Counts) -> None:
        """A stage has its artifact."""

    def skip(self, stage: StageName, reason: str) -> None:
        """A stage takes no part in this run."""

    def fail(self, stage: StageName) -> None:
        """A stage ended without its artifact."""


_WATCHER: ContextVar[Watcher] = ContextVar("perpo_watcher", default=Watcher())  # noqa: B039


def get_watcher() -> Watcher:
    """The watcher of the run that calls."""
    return _WATCHER.get()


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Everything that runs inside tells this watcher."""
    token = _WATCHER.set(watcher)
    try:
        yield
    finally:
        _WATCHER.reset(token)
