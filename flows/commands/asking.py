"""A person is asked: in the terminal and on the study's page at once; the first answer counts."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from flows.commands.tune_tables import build_question_table
from flows.runs.links import find_tune_url
from flows.serving.tune_server import serving_study
from flows.serving.view_server import DISPLAYS, open_browser
from perpo_core.tuning.questions import Question
from perpo_core.tuning.standing import Standing
from perpo_core.tuning.study import Study
from schemas.tuning import Choice

POLL_S = 0.5
WORDS: dict[str, Choice] = {"a": "first", "b": "second", "=": "same"}
PROMPT = "Which would you rather have? a or b, = for neither, and Enter"


@contextmanager
def asking(
    console: Console, port: int, browser: bool
) -> Iterator[Callable[[Study, Standing, Question], None]]:
    """What asks a person; the page is there from the first question to the end of the block."""
    lines = TerminalLines()
    with ExitStack() as stack:
        shown: list[str] = []

        def ask(study: Study, standing: Standing, question: Question) -> None:
            if not shown:
                shown.append(_show_page(stack, study, port, browser))
                _print(console, f"compare here, or at {shown[0]}")
            console.print(build_question_table(standing, question))
            _print(console, PROMPT)
            choice = wait_for_answer(study, question, lines)
            _print(console, f"kept: {choice}")

        yield ask


def _print(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _show_page(stack: ExitStack, study: Study, port: int, browser: bool) -> str:
    """The page of `perpo serve` where the store is served, else one of our own."""
    url = find_tune_url(study.store, study.name)
    if url is None:
        url = stack.enter_context(serving_study(study.store, study.name, port))
    if browser and any(map(os.environ.get, DISPLAYS)):
        folder = stack.enter_context(TemporaryDirectory(prefix="perpo-tune-"))
        open_browser(url, Path(folder))
    return url


def wait_for_answer(study: Study, question: Question, lines: TerminalLines) -> str:
    """Until the question is answered, here or on the page; what was answered, in a word."""
    while True:
        line = lines.read(POLL_S)
        if line is not None and (choice := WORDS.get(line.strip().lower())) is not None:
            if study.answer(question, choice, "person"):
                return line.strip()
        elif line:
            print(PROMPT, flush=True)
        answers = study.load_comparisons("person")
        if len(answers) > question.number:
            return f"{answers[question.number].choice}, on the page"


class TerminalLines:
    """Whole lines of stdin as they come; none where it ended, or is another job's to read."""

    def __init__(self) -> None:
        self._read, self._rest = True, b""

    def read(self, timeout_s: float) -> str | None:
        """The next line, waited for so long."""
        if b"\n" not in self._rest and self._wait(timeout_s):
            added = os.read(sys.stdin.fileno(), 4096)
            self._read, self._rest = bool(added), self._rest + added
        line, newline, rest = self._rest.partition(b"\n")
        if not newline:
            return None
        self._rest = rest
        return line.decode(errors="replace")

    def _wait(self, timeout_s: float) -> bool:
        """Whether there is something to read."""
        with suppress(OSError, ValueError):  # no stdin at all, or none that can be waited for
            if self._read and _is_ours(sys.stdin.fileno()):
                return bool(select.select([sys.stdin], [], [], timeout_s)[0])
        select.select([], [], [], timeout_s)
        return False


def _is_ours(descriptor: int) -> bool:
    """Whether who types means us: a job in the background would be stopped by reading."""
    return not os.isatty(descriptor) or os.tcgetpgrp(descriptor) == os.getpgrp()
