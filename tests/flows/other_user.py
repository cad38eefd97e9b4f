"""Another user of this machine: a child process that gives up root, in a folder all may enter."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534  # uid and gid
READ = """
import os, sys
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
for path in sys.argv[2:]:
    try:
        print(len(os.listdir(path) if os.path.isdir(path) else open(path, "rb").read()))
    except PermissionError:
        print("refused")
"""


@contextmanager
def open_folder() -> Iterator[Path]:
    """A new folder that others may read; those of pytest are their owner's."""
    folder = Path(tempfile.mkdtemp(prefix="perpo-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def read_as_another(*paths: Path) -> list[str]:
    """What another user gets of each path, "refused" or a length; needs root."""
    command = [sys.executable, "-c", READ, str(NOBODY), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    return done.stdout.split()
