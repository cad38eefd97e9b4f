"""Commands on toy stages in processes of their own, which are left to end or killed halfway."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.flows.whole import build_env

TIMEOUT_S = 300.0
POLL_S = 0.01


@dataclass(frozen=True)
class ToyCommand:
    """`python -m MODULE ARGUMENTS...`; what it prints goes to the log."""

    module: str
    arguments: Sequence[str]
    log: Path

    def run(self) -> None:
        assert self._start().wait(TIMEOUT_S) == 0, self.log.read_text()

    def kill_when(self, condition: Callable[[], bool]) -> None:
        """kill -9 once the condition holds."""
        process, deadline_s = self._start(), time.monotonic() + TIMEOUT_S
        while not condition():
            assert process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline_s
            time.sleep(POLL_S)
        process.kill()
        process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", self.module, *self.arguments]
        with self.log.open("ab") as out:
            return subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, env=build_env(),
                start_new_session=True,
            )  # fmt: skip
