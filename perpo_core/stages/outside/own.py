"""One's own reward, run in a child process that is ended where an answer takes too long.

Answers go in calls of several. A call that raises, returns nonsense, takes too long or takes its
process along is made again answer by answer, so that those at fault alone go without a reward.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from perpo_core.perception.judging import Item
from perpo_core.perception.own_source import OwnSource
from perpo_core.perception.rewards import RewardResult
from perpo_core.perception.rewards.outside import OwnOptions
from perpo_core.process.parent import ChildFailed, run_child
from schemas.run import OwnRewardJob

CHILD = "perpo_core.stages.outside.own_child"
LOAD_S = 300.0  # to import the module, which may import much


class OwnReward:
    """The function "MODULE:FUNCTION", as its source is now."""

    def __init__(self, name: str, folder: Path | None, log: Callable[[str], None]) -> None:
        self._name, self._folder, self._log = name, folder, log
        self._source = OwnSource(name, folder)
        self._digest = self._source.compute_digest()

    def compute_many(self, items: Sequence[Item], options: OwnOptions) -> list[RewardResult]:
        """A result an item. Raises ValueError where the module cannot be imported, has changed, or
        has no function that can be called."""
        if self._source.compute_digest() != self._digest:
            raise ValueError(
                f"{self._name}: its source changed while it was in use; give the same command again"
            )
        work = Work(len(items), options.batch_rows)
        job = self._describe(items)
        while calls := work.list_calls():
            self._run(job.model_copy(update={"calls": calls}), work, options)
        return [_read(work.results[number], options) for number in range(len(items))]

    def _describe(self, items: Sequence[Item]) -> OwnRewardJob:
        numbers: dict[str, int] = {}
        samples: list[dict[str, Any]] = []
        answers: list[tuple[int, str]] = []
        packs: list[Path] = []
        for item in items:
            assert item.row is not None, "who builds items for an outside gives them their rows"
            columns = item.row.columns
            if columns["sample_id"] not in numbers:
                numbers[columns["sample_id"]] = len(samples)
                samples.append(columns)
                packs = packs or list(item.row.packs)
            answers.append((numbers[columns["sample_id"]], item.text))
        source = self._source
        return OwnRewardJob(
            file=source.file, module=source.module, function=source.function,
            folder=self._folder, samples=samples, packs=packs, answers=answers, calls=[],
        )  # fmt: skip

    def _run(self, job: OwnRewardJob, work: Work, options: OwnOptions) -> None:
        """One child, until it has made all calls or one of them was its last."""
        deadline = Deadline()
        loaded = False

        def on_event(event: dict[str, Any]) -> None:
            nonlocal loaded
            if event["event"] == "broken":
                raise ValueError(f"{self._name}: {event['why']}")
            if event["event"] == "made":
                work.note(event["numbers"], event["results"])
            if event["event"] == "split":
                work.split()
            loaded = True
            deadline.allow(options.timeout_s * work.count_in_hand())

        with tempfile.TemporaryDirectory(prefix="perpo-own-") as folder, deadline:
            deadline.allow(LOAD_S)
            try:
                run_child(
                    CHILD, job, on_event=on_event, log=self._log, stop=deadline.passed,
                    progress_timeout_s=threading.TIMEOUT_MAX, log_path=Path(folder) / "own.log",
                )  # fmt: skip
            except ChildFailed as failure:
                if not loaded:
                    why = f"took over {LOAD_S:g} s" if deadline.passed.is_set() else failure
                    raise ValueError(f"{self._name} cannot be loaded: {why}") from failure
                self._blame(work, failure, deadline, options)

    def _blame(
        self, work: Work, failure: ChildFailed, deadline: Deadline, options: OwnOptions
    ) -> None:
        if not work.list_calls():
            return  # it ended badly after its work
        late = deadline.passed.is_set()
        why = f"took over {options.timeout_s:g} s" if late else f"its process {failure.reason}"
        num_in_hand = work.count_in_hand()
        if num_in_hand > 1:
            work.split()
        else:
            work.note(work.list_calls()[0], [[None, why, "reward"]])
        self._log(f"{self._name}: {num_in_hand} answers: {why}; its process is started again")


class Work:
    """What is to be asked in which calls, and what came back."""

    def __init__(self, num_answers: int, batch_rows: int) -> None:
        numbers = list(range(num_answers))
        self._calls = [numbers[n : n + batch_rows] for n in range(0, num_answers, batch_rows)]
        self.results: dict[int, list[Any]] = {}
        """Number of an answer -> [reward, error, fault]."""

    def list_calls(self) -> list[list[int]]:
        """Those still to be made, in order."""
        return list(self._calls)

    def count_in_hand(self) -> int:
        """Answers of the call that is being made, or 1 where none is left."""
        return len(self._calls[0]) if self._calls else 1

    def note(self, numbers: list[int], results: list[list[Any]]) -> None:
        """The call in hand is made."""
        assert self._calls[0] == numbers, (self._calls[0], numbers)
        del self._calls[0]
        self.results.update(zip(numbers, results, strict=True))

    def split(self) -> None:
        """The call in hand becomes one for each of its answers."""
        self._calls[:1] = [[number] for number in self._calls[0]]


class Deadline:
    """Sets `passed` when what is allowed is over."""

    def __init__(self) -> None:
        self.passed = threading.Event()
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Deadline:
        return self

    def __exit__(self, *exception: object) -> None:
        self._cancel()

    def allow(self, seconds: float) -> None:
        """From now on, instead of what was allowed before."""
        self._cancel()
        self.passed.clear()  # it may have passed while the news came in
        self._timer = threading.Timer(seconds, self.passed.set)
        self._timer.daemon = True
        self._timer.start()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _read(result: list[Any], options: OwnOptions) -> RewardResult:
    value, error, fault = result
    if error is not None:
        return RewardResult(None, error=error, fault=fault)
    if not options.low <= value <= options.high:
        said = f"returned {value:g}, which is not in its range {options.low:g} to {options.high:g}"
        return RewardResult(None, error=f"{said}; set its low and high", fault="reward")
    return RewardResult(value)
