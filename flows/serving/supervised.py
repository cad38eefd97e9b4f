"""A long-lived command that ends whole, with the block that started it or with this process.

It runs under perpo_core.process.supervisor: closing the pipe to it, which the kernel does even
after kill -9, ends everything it started. It is out of reach of Ctrl-C, so that the order in which
things end is ours.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from perpo_core.process.supervisor import GRACE_S


@contextmanager
def supervised(
    command: Sequence[str],
    *,
    log_path: Path,
    env: Mapping[str, str],
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
    umask: int = -1,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `python COMMAND`, its output in the log; yields the supervisor, which ends with it.

    `umask` is for the files that it makes; -1: as here.
    """
    supervisor = [sys.executable, "-m", "perpo_core.process.supervisor", sys.executable]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [*supervisor, *command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=pass_fds,
            start_new_session=True,
            env=dict(env),
            cwd=cwd,
            umask=umask,
        )
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait(GRACE_S + 10)


def build_python_path() -> str:
    """What a child needs to import what this process can, wherever it stands."""
    return os.pathsep.join(filter(None, sys.path))
