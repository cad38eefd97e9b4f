"""How long a server is asked again: one layer of retries, and one deadline over all of them.

The deadline is about progress: whoever sends or receives bytes that never came so far gets more
time, so that gigabytes may take hours while a server that trickles or hangs may not.
Left out: a limit on the number of tries; their pauses grow, so that a dozen fill a minute.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 8.0


@dataclass(frozen=True)
class Patience:
    """What a request may take without progress."""

    tell_s: float = 10.0
    """Then whoever waits is told."""
    give_up_s: float = 60.0
    """Then it ends, with all its retries."""
    try_s: float = 20.0
    """One try: a connection that died unnoticed must not take the others' time."""
    silence_s: float = 15.0
    """What the client library waits for a byte."""
    step_bytes: int = 1 << 16
    """Fewer are no progress."""


class OutOfPatience(Exception):
    """The deadline came; the last try's error is the cause, if there was one."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no whole answer within {seconds:g} s")
        self.seconds = seconds


class Progress:
    """How far a request got, in bytes; tells when it got nowhere for a while."""

    def __init__(self, patience: Patience, tell: Callable[[Exception | None, float], None]) -> None:
        self._patience, self._tell = patience, tell
        self._loop = asyncio.get_running_loop()
        self._tried_bytes = self._furthest_bytes = 0
        self._limit: asyncio.Timeout | None = None
        self._word: Any = None
        self.error: Exception | None = None
        """Of the last try that failed."""
        self._extend()

    @property
    def left_s(self) -> float:
        return self._deadline_s - self._loop.time()

    def start_try(self) -> asyncio.Timeout:
        """The time that one more try has; to be entered."""
        self._tried_bytes = 0
        self._limit = asyncio.timeout(min(self._patience.try_s, self.left_s))
        return self._limit

    def note(self, num_bytes: int) -> None:
        """So many bytes have moved in this try, or in all of them where a try goes on."""
        if self._limit is None or num_bytes < self._tried_bytes + self._patience.step_bytes:
            return
        self._tried_bytes = num_bytes
        if num_bytes >= self._furthest_bytes + self._patience.step_bytes:
            self._furthest_bytes = num_bytes
            self._extend()
        if not self._limit.expired():
            self._limit.reschedule(self._loop.time() + min(self._patience.try_s, self.left_s))

    def fail(self, error: Exception) -> None:
        """A try ended so; what the deadline cut off says less than the try before it."""
        if self.error is None or self.left_s > 0:
            self.error = error

    def pause(self) -> None:
        """Nothing moves any more; what is noted late does not count."""
        self._limit = None

    def end(self) -> None:
        self.pause()
        self._word.cancel()

    def _extend(self) -> None:
        if self._word is not None:
            self._word.cancel()
        now_s = self._loop.time()
        self._deadline_s = now_s + self._patience.give_up_s
        self._word = self._loop.call_at(now_s + self._patience.tell_s, self._say)

    def _say(self) -> None:
        if self.left_s > 0:  # a busy loop may come here late
            self._tell(self.error, self.left_s)


async def persist(
    ask: Callable[[Progress], Awaitable[T]],
    patience: Patience,
    is_passing: Callable[[Exception], bool],
    tell: Callable[[Exception | None, float], None],
) -> T:
    """What `ask` returns, asked again after errors that may pass.

    `tell` hears the last error, if any, and the seconds left. Raises OutOfPatience at the
    deadline, and at once what will not pass.
    """
    progress, pause_s = Progress(patience, tell), FIRST_PAUSE_S
    try:
        while True:
            try:
                async with progress.start_try():
                    return await ask(progress)
            except Exception as error:
                if not is_passing(error):
                    raise
                progress.fail(error)
            finally:
                progress.pause()
            wait_s = pause_s * random.uniform(0.5, 1.0)  # many machines must not ask in step
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            if progress.left_s <= wait_s:
                raise OutOfPatience(patience.give_up_s) from progress.error
            await asyncio.sleep(wait_s)
    finally:
        progress.end()
