"""Runs one command and, however things end, leaves no process of it behind.

    python -m perpo_core.process.supervisor COMMAND [ARGUMENT ...]

perpo_core.process.parent starts this as the leader of a new session, with the reading end of a pipe
as stdin (the lifeline) and the event pipe as stdout. Everything the command starts is ended
(SIGTERM, a short grace, SIGKILL) when the command exits, when the lifeline closes - which the
kernel does even for a parent that was killed with SIGKILL - or on SIGTERM, SIGINT or SIGHUP. The
last line on stdout is {"event": "exit", "returncode": N}, N negative for a signal.

PR_SET_PDEATHSIG is no substitute: it fires when the starting THREAD ends, and grandchildren do not
inherit it. On Linux orphans are adopted (PR_SET_CHILD_SUBREAPER), so that processes which left the
session, as torchrun's workers do, are found too; elsewhere those found are the descendants at the
time and the process group. Standard library only: it starts in tens of milliseconds.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

GRACE_S = 2.0  # between SIGTERM and SIGKILL; a killed run loses at most the shard in hand anyway
PARENT_CHECK_S = 1.0  # the lifeline may live on in a process forked from the parent
POLL_S = 0.02
STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class Group:
    """The command and everything that descends from it."""

    def __init__(self, command: list[str]) -> None:
        self.returncode: int | None = None
        """Of the command, once it has ended; negative for a signal."""
        no_input = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        self.pid = os.posix_spawn(command[0], command, os.environ, file_actions=[no_input])

    def reap(self) -> None:
        """Collect every ended child, adopted orphans included."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:  # no children are left
                return
            if pid == 0:
                return
            if pid == self.pid:
                self.returncode = os.waitstatus_to_exitcode(status)

    def end(self) -> None:
        """SIGTERM to all, SIGKILL after GRACE_S to those still there, until none is."""
        deadline_s = time.monotonic() + GRACE_S
        self._send(signal.SIGTERM)
        while self.find_members():
            if time.monotonic() > deadline_s:
                self._send(signal.SIGKILL)
            time.sleep(POLL_S)
            self.reap()
        self.reap()

    def _send(self, number: signal.Signals) -> None:
        for pid in self.find_members():
            try:
                os.kill(pid, number)
            except ProcessLookupError:  # it ended by itself in between
                continue

    def find_members(self) -> set[int]:
        """Living processes that descend from this one or share its process group."""
        me = os.getpid()
        living = list(list_processes())
        members = {pid for pid, _, group in living if group == me}
        found = {me} | members
        while found:
            found = {pid for pid, parent, _ in living if parent in found} - members
            members |= found
        return members - {me}


def list_processes() -> Iterator[tuple[int, int, int]]:
    """(pid, parent's pid, process group) of every living process; zombies are not living."""
    rows = _read_proc() if os.path.isdir("/proc/self") else _ask_ps()
    for pid, state, parent, group in rows:
        if state[0] not in "ZX":
            yield pid, parent, group


def _read_proc() -> Iterator[tuple[int, str, int, int]]:
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as handle:
                stat = handle.read().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):  # it ended by itself in between
            continue
        # The command name in the second field may itself hold spaces and brackets.
        state, parent, group = stat.rpartition(")")[2].split()[:3]
        yield int(name), state, int(parent), int(group)


def _ask_ps() -> Iterator[tuple[int, str, int, int]]:
    listing = ["ps", "-A", "-o", "pid=,stat=,ppid=,pgid="]
    with subprocess.Popen(listing, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as ps:
        assert ps.stdout is not None
        for line in ps.stdout.read().decode().splitlines():
            pid, state, parent, group = line.split()
            if int(pid) != ps.pid:
                yield int(pid), state, int(parent), int(group)


def wait_for_end(group: Group, wake: int, parent: int) -> None:
    """Return when the command has ended, the parent is gone, or it or a signal asks for an end."""
    lifeline = 0
    while True:
        ready, _, _ = select.select([lifeline, wake], [], [], PARENT_CHECK_S)
        if wake in ready and STOP_SIGNALS & set(os.read(wake, 4096)):
            return
        group.reap()
        if group.returncode is not None or os.getppid() != parent:
            return
        if lifeline in ready and not os.read(lifeline, 4096):
            return


def open_signal_pipe() -> int:
    """A descriptor that becomes readable on SIGCHLD and on the signals that ask for an end."""
    wake, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, *STOP_SIGNALS):
        # A handler, unlike SIG_IGN, is not inherited by the command.
        signal.signal(number, lambda *_: None)
    return wake


def adopt_orphans() -> None:
    """Linux: make every orphaned descendant a child of this process instead of init's."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def main() -> None:
    parent = os.getppid()
    wake = open_signal_pipe()
    adopt_orphans()
    group = Group(sys.argv[1:])
    wait_for_end(group, wake, parent)
    group.end()
    line = json.dumps({"event": "exit", "returncode": group.returncode})
    try:
        # The line break first: a killed command may have left half a line.
        os.write(1, f"\n{line}\n".encode())
    except BrokenPipeError:  # nobody listens any more
        return


if __name__ == "__main__":
    main()
