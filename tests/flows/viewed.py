"""`perpo view` as a process of its own, and the address that it says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def viewing(store: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The latest run of a store, until the block ends."""
    command = [sys.executable, "-m", "flows.commands.cli", "view", "latest", "--no-browser"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [*command, "--store", str(store)], stdout=subprocess.PIPE, text=True, env=env
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()
