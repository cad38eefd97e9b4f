"""A lock across machines: an object that its holder writes anew while it lives.

Whoever has not written for LEASE_S, by the server's own clock, is taken for dead, and the lease for
free. A holder that was out of touch for so long is told that it lost the lease, and ends.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pydantic import TypeAdapter

from perpo_core.store.bucket.objects import Body, Remote, RemoteError
from perpo_core.store.lenient import Unreadable, parse
from schemas.base import Frozen

LEASE_S = 60.0
BEAT_S = 15.0


class _Held(Frozen):
    """The object; its content differs from beat to beat, since its ETag must."""

    holder: str | None
    """None: given back."""
    owner: str
    """The process, so to say: differs from holder to holder."""
    beat: int
    machine: str
    """The working copy. On a machine a lock on a file tells who is dead, and at once."""


_HELD = TypeAdapter(_Held)


class Lease:
    """A lease that this process holds."""

    def __init__(self, remote: Remote, name: str, version: str, held: _Held) -> None:
        self._remote, self._name, self._version, self._held = remote, name, version, held
        self._beaten_s = time.monotonic()
        self._is_lost = self._is_told = False

    def check(self) -> None:
        """Raise ValueError if another machine may hold it by now."""
        if self._is_lost or time.monotonic() - self._beaten_s > LEASE_S:
            raise ValueError(
                f"{self._remote.address} was out of reach for more than {LEASE_S:.0f} s, and "
                f"another machine may have taken {self._name} over; start the same command again"
            )

    def renew(self) -> None:
        """Say that the holder lives; whatever keeps it from that is told once and tried again.

        Nothing may end the thread that beats: `check` tells what it means for the run.
        """
        if self._is_lost:
            return
        try:
            self._write(self._held.holder)
        except Exception as error:
            self._tell(error)
        else:
            self._beaten_s, self._is_told = time.monotonic(), False

    def _tell(self, error: Exception) -> None:
        if not self._is_told:
            what = str(error) if isinstance(error, RemoteError) else repr(error)
            said = f"{self._name} could not be renewed, trying on: {what}"
            print(said, file=sys.stderr, flush=True)
        self._is_told = True

    def give_back(self) -> None:
        """Let the next one have it at once."""
        with suppress(Exception):  # it expires by itself
            if not self._is_lost:
                self._write(None)

    def _write(self, holder: str | None) -> None:
        self._held = self._held.model_copy(update={"holder": holder, "beat": self._held.beat + 1})
        version = _swap(self._remote, self._name, self._held, self._version)
        self._is_lost |= version is None
        self._version = version or self._version


@contextmanager
def hold_lease(
    remote: Remote, name: str, machine: str, beat_s: float = BEAT_S
) -> Iterator[Lease | None]:
    """Hold the lease, renewing it from a thread; None if another machine holds it.

    The caller holds a lock on a file that keeps other processes of this machine away.
    """
    lease = _take(remote, name, machine)
    if lease is None:
        yield None
        return
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(beat_s):
            lease.renew()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        ended.set()
        thread.join()
        lease.give_back()


def find_holder(remote: Remote, name: str, machine: str) -> str | None:
    """Who on another machine holds a lease now; None if nobody does."""
    return _get_holder(remote.read(name), machine)


def _get_holder(found: Body | None, machine: str) -> str | None:
    if found is None or found.age_s > LEASE_S:
        return None
    held = _parse(found)
    if held is None:  # written a moment ago, by whom nobody can read
        return "a machine whose lease cannot be read"
    return None if held.machine == machine else held.holder


def _parse(found: Body) -> _Held | None:
    try:
        return parse(_HELD, found.content, "lease")
    except Unreadable:
        return None


def describe_holder() -> str:
    """This process, for messages on other machines."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def _take(remote: Remote, name: str, machine: str) -> Lease | None:
    found = remote.read(name)
    if _get_holder(found, machine) is not None:
        return None
    held = _Held(holder=describe_holder(), owner=uuid.uuid4().hex, beat=0, machine=machine)
    version = _swap(remote, name, held, found.version if found else None)
    return Lease(remote, name, version, held) if version else None


def _swap(remote: Remote, name: str, held: _Held, version: str | None) -> str | None:
    """remote.swap, where a write of our own whose answer was lost on the way is no other's."""
    body = held.model_dump_json().encode()
    written = remote.swap(name, body, version)
    found = remote.read(name) if written is None else None
    theirs = _parse(found) if found else None
    if found is None or theirs is None or theirs.owner != held.owner:
        return written
    return remote.swap(name, body, found.version)
