"""What a run shows while it goes on: a line a stage in a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from schemas.artifact import Counts
from schemas.base import ALL_STAGES, STAGES, StageName
from tasks.watch import Watcher, watched_by

PLAIN_LINE_EVERY_S = 10.0
REFRESHES_PER_S = 4  # more costs CPU that training needs
BAR_WIDTH = 24

Status = Literal["pending", "running", "done", "reused", "skipped", "failed"]
STYLES: dict[Status, str] = {
    "pending": "dim", "running": "bold", "done": "green", "reused": "cyan", "skipped": "dim",
    "failed": "red",
}  # fmt: skip


@dataclass
class StageLine:
    """What is known of one stage."""

    status: Status = "pending"
    started_s: float = 0.0
    seconds: float = 0.0
    note: str = ""
    done: float = 0.0
    total: float = 0.0
    unit: str = ""
    first: tuple[float, float] | None = None
    """When the first progress came (s) and how much was done: resumed stages start above 0."""

    def advance(self, done: float, total: float, unit: str, now_s: float) -> None:
        if self.first is None or unit != self.unit or done < self.done:
            self.first = (now_s, done)
        self.done, self.total, self.unit = done, total, unit

    def compute_rate(self, now_s: float) -> float | None:
        """Units a second since the first progress; None before there is a second one."""
        if self.first is None or self.done <= self.first[1] or now_s <= self.first[0]:
            return None
        return (self.done - self.first[1]) / (now_s - self.first[0])

    def describe_progress(self, now_s: float) -> str:
        """Such as "512/2,048 prompts, 43/s, 0:35 left"."""
        parts = [f"{self.done:,.0f}/{self.total:,.0f} {self.unit}"]
        rate = self.compute_rate(now_s)
        if rate:
            parts.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s")
            left = max(self.total - self.done, 0) / rate
            parts.append(f"{format_seconds(left)} left")
        return ", ".join(parts)


def format_seconds(seconds: float) -> str:
    """0.4 s, 12 s, 3:20, 1:02:03."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def describe_counts(counts: Counts) -> str:
    """Such as "1,792 kept" or "812 kept, 980 dropped (low gap 975, cut off 5)"."""
    words = [f"{counts.num_kept:,} kept"]
    if counts.dropped:
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in counts.dropped.items())
        words.append(f"{sum(counts.dropped.values()):,} dropped ({reasons})")
    if counts.num_reused:
        words.append(f"{counts.num_reused:,} of {counts.num_in:,} taken over")
    return ", ".join(words)


@dataclass
class LiveDisplay(Watcher):
    """One line a stage, redrawn in place; messages scroll by above."""

    console: Console
    lines: dict[StageName, StageLine] = field(
        default_factory=lambda: {stage: StageLine() for stage in STAGES}
    )
    message: str = "starting Prefect"

    def begin(self, title: str) -> None:
        if any(line.status != "pending" for line in self.lines.values()):
            self.console.print(self._build_lines())  # of the run before, which stay
        self.lines = {stage: StageLine() for stage in STAGES}
        self.console.print(Text(title, "bold"))

    def note(self, message: str) -> None:
        self.message = message

    def start(self, stage: StageName) -> None:
        self.message = ""
        self.lines[stage] = StageLine("running", started_s=time.monotonic())

    def log(self, stage: StageName, message: str) -> None:
        self.console.print(f"[dim]{stage}:[/] {escape(message)}", highlight=False)

    def progress(self, stage: StageName, done: float, total: float, unit: str) -> None:
        self.lines[stage].advance(done, total, unit, time.monotonic())

    def finish(self, stage: StageName, reused: bool, seconds: float, counts: Counts) -> None:
        status: Status = "reused" if reused else "done"
        self.lines[stage] = StageLine(status, seconds=seconds, note=describe_counts(counts))

    def skip(self, stage: StageName, reason: str) -> None:
        self.lines[stage] = StageLine("skipped", note=reason)

    def fail(self, stage: StageName) -> None:
        self.lines[stage].status = "failed"

    def __rich__(self) -> RenderableType:
        table = self._build_lines()
        return Group(table, Spinner("dots", Text(self.message, "dim"))) if self.message else table

    def _build_lines(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for stage, line in sorted(self.lines.items(), key=lambda each: ALL_STAGES.index(each[0])):
            style = STYLES[line.status]
            table.add_row(Text(stage, style), Text(line.status, style), *self._describe(line))
        return table

    def _describe(self, line: StageLine) -> tuple[RenderableType, RenderableType]:
        now_s = time.monotonic()
        if line.status == "running":
            elapsed = Text(format_seconds(now_s - line.started_s), justify="right")
            return elapsed, _draw_bar(line, now_s)
        seconds = format_seconds(line.seconds) if line.status in ("done", "reused") else ""
        return Text(seconds, justify="right"), Text(line.note, "dim")


def _draw_bar(line: StageLine, now_s: float) -> RenderableType:
    if not line.total:
        return Text("")
    row = Table.grid(padding=(0, 1))
    bar = ProgressBar(line.total, min(line.done, line.total), width=BAR_WIDTH)
    row.add_row(bar, Text(line.describe_progress(now_s)))
    return row


@dataclass
class PlainDisplay(Watcher):
    """A line when something changes, for files and pipes."""

    console: Console
    lines: dict[StageName, StageLine] = field(default_factory=dict)
    said_s: dict[StageName, float] = field(default_factory=dict)

    def begin(self, title: str) -> None:
        self._say(title)

    def note(self, message: str) -> None:
        if message:
            self._say(message)

    def start(self, stage: StageName) -> None:
        self.lines[stage] = StageLine("running", started_s=time.monotonic())
        self.said_s[stage] = time.monotonic()

    def log(self, stage: StageName, message: str) -> None:
        self._say(f"{stage}: {message}")

    def progress(self, stage: StageName, done: float, total: float, unit: str) -> None:
        now_s = time.monotonic()
        self.lines[stage].advance(done, total, unit, now_s)
        if now_s - self.said_s[stage] >= PLAIN_LINE_EVERY_S:
            self.said_s[stage] = now_s
            self._say(f"{stage}: {self.lines[stage].describe_progress(now_s)}")

    def finish(self, stage: StageName, reused: bool, seconds: float, counts: Counts) -> None:
        how = "reused" if reused else "done"
        self._say(f"{stage}: {how} in {format_seconds(seconds)}, {describe_counts(counts)}")

    def skip(self, stage: StageName, reason: str) -> None:
        self._say(f"{stage}: skipped, {reason}")

    def fail(self, stage: StageName) -> None:
        self._say(f"{stage}: failed")

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class RunConsole(Console):
    """A console whose loss is said once and ends nothing: showing a run is not the run."""

    def print(self, *objects: Any, **options: Any) -> None:
        try:
            super().print(*objects, **options)
        except OSError as error:
            reason = error.strerror or str(error)
            print(f"stdout takes no more ({reason}); what follows is not shown", file=sys.stderr)
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        """Nobody reads any more; rich would end the process."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


@contextmanager
def showing(console: Console) -> Iterator[None]:
    """The runs inside show themselves on this console."""
    if not console.is_terminal:
        with watched_by(PlainDisplay(console)):
            yield
        return
    display = LiveDisplay(console)
    with (
        Live(
            console=console,
            get_renderable=lambda: display,
            refresh_per_second=REFRESHES_PER_S,
        ),
        watched_by(display),
    ):
        yield
