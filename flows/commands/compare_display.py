"""What a comparison shows while it goes on: a line for each trial that runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from flows.commands.display import PLAIN_LINE_EVERY_S, REFRESHES_PER_S, format_seconds
from schemas.artifact import Counts
from schemas.base import StageName
from tasks.watch import Watcher, watched_by

WAITING = "..."


class TrialsDisplay(Watcher):
    """A bar for each trial in hand; what ended, and what is said, scrolls by above."""

    def __init__(self, console: Console, progress: Progress | None) -> None:
        self.console, self.live = console, progress

    def note(self, message: str) -> None:
        if message:
            self.say(message)

    def say(self, text: str) -> None:
        console = self.live.console if self.live else self.console
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def splitting(self, name: str) -> Iterator[Watcher]:
        started_s = time.monotonic()
        bar = self.live.add_task(name, total=None, stage=WAITING) if self.live else None
        try:
            yield TrialDisplay(self, name, bar)
        finally:
            if self.live and bar is not None:
                self.live.remove_task(bar)
        self.say(f"{name}: {format_seconds(time.monotonic() - started_s)}")


class TrialDisplay(Watcher):
    """Of one trial."""

    def __init__(self, parent: TrialsDisplay, name: str, bar: TaskID | None) -> None:
        self.parent, self.name, self.bar = parent, name, bar
        self.said_s = time.monotonic()

    def note(self, message: str) -> None:
        if message:
            self.parent.say(f"{self.name}: {message}")

    def start(self, stage: StageName) -> None:
        if self.parent.live and self.bar is not None:
            self.parent.live.update(self.bar, total=None, completed=0, stage=stage)

    def progress(self, stage: StageName, done: float, total: float, unit: str) -> None:
        if self.parent.live and self.bar is not None:
            self.parent.live.update(self.bar, total=total, completed=done, stage=stage)
        elif time.monotonic() - self.said_s >= PLAIN_LINE_EVERY_S:
            self.said_s = time.monotonic()
            self.parent.say(f"{self.name}: {stage} {done:,.0f}/{total:,.0f} {unit}")

    def finish(self, stage: StageName, reused: bool, seconds: float, counts: Counts) -> None:
        if not reused:
            self.parent.say(f"{self.name}: {stage} done in {format_seconds(seconds)}")

    def fail(self, stage: StageName) -> None:
        self.parent.say(f"{self.name}: {stage} failed")


@contextmanager
def showing_trials(console: Console) -> Iterator[None]:
    """The trials that run inside show themselves on this console."""
    if not console.is_terminal:
        with watched_by(TrialsDisplay(console, None)):
            yield
        return
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), TextColumn("[dim]{task.fields[stage]}"),
        BarColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    progress = Progress(*columns, console=console, refresh_per_second=REFRESHES_PER_S)
    with progress, watched_by(TrialsDisplay(console, progress)):
        yield
