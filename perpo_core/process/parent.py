"""Heavy work in a child process that ends whole: memory comes back, nothing survives its parent.

    parent (any thread) -> perpo_core.process.supervisor (own session) -> python -m MODULE job.json
    -> ...

The parent holds the writing end of the supervisor's lifeline; closing it, or dying, ends every
process below. Events come back as JSON lines on a pipe (perpo_core.process.child); everything else
the child prints goes to a log file whose last lines are part of the error.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel

from perpo_core.process.environment import DEFAULTS
from perpo_core.process.supervisor import GRACE_S
from perpo_core.process.troubles import DiskFull, build_disk_full, met_full_disk, met_lack_of_memory

CHECK_S = 0.5  # how often a waiting thread looks for the end of its program or its supervisor
END_S = GRACE_S + 3  # within which a supervisor has ended everything that can be ended
READ_BYTES = 1 << 16  # the pipe's capacity on Linux
TAIL_BYTES = 1 << 16
TAIL_LINES = 20
TERMINAL_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class ChildFailed(RuntimeError):
    """A child process ended without its result; the message says why, with its last lines."""

    def __init__(self, module: str, reason: str, log_path: Path, last_lines: list[str]) -> None:
        self.module, self.reason = module, reason
        self.log_path, self.last_lines = log_path, last_lines
        tail = "; its last lines:\n" + "\n".join(last_lines) if last_lines else ""
        super().__init__(f"{module} {reason} (log: {log_path}){tail}")


def run_child(
    module: str,
    job: BaseModel | Mapping[str, Any],
    *,
    on_event: Callable[[dict[str, Any]], None],
    log: Callable[[str], None],
    progress_timeout_s: float,
    env: Mapping[str, str] | None = None,
    log_path: Path | None = None,
    stop: threading.Event | None = None,
    processes: int = 1,
    memory_advice: str = "",
) -> dict[str, Any]:
    """Run `python -m MODULE job.json` and return the fields of its result event.

    Args:
        on_event: gets every event but log and result, in order, in the calling thread.
        log: gets the messages of log events.
        progress_timeout_s: the child is ended when it reports no event for this long.
        env: added to the environment.
        log_path: stderr and stray stdout are appended here; None means a temporary file that
            stays only after a failure.
        stop: set by another thread, it ends the child within a second or so; whoever waits for
            several children in threads sets it when one fails or on KeyboardInterrupt.
        processes: above 1, torchrun starts the module that many times on this machine; the first
            one's events are heard, and when one fails all end.
        memory_advice: which settings to lower when memory did not suffice.

    Raises:
        ChildFailed: exit status, signal, silence, a stop, or no result. Whatever is raised, a
            callback's exception and KeyboardInterrupt included, no process of the child is left.
        DiskFull: the child met a full disk.
    """
    with tempfile.TemporaryDirectory(prefix="perpo-job-") as folder:
        job_path = Path(folder) / "job.json"
        job_path.write_text(_to_json(job), encoding="utf-8")
        path = log_path or _make_log_path(module)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as log_file:
            command = [*_build_launcher(processes), "-m", module, str(job_path)]
            process = _start(command, env, log_file)
            with _Child(
                module, process, log_file, path, progress_timeout_s, stop, memory_advice
            ) as child:
                result = child.follow(on_event, log)
    if log_path is None:
        path.unlink()
    return result


def _to_json(job: BaseModel | Mapping[str, Any]) -> str:
    return job.model_dump_json() if isinstance(job, BaseModel) else json.dumps(job)


def _make_log_path(module: str) -> Path:
    handle, name = tempfile.mkstemp(prefix=f"{module}-", suffix=".log")
    os.close(handle)
    return Path(name)


def _build_launcher(processes: int) -> list[str]:
    """What `-m MODULE` is given to."""
    if processes == 1:
        return [sys.executable]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    # Without an address torchrun asks DNS for this machine's name, which may take long or lie.
    return [*torchrun, "--local-addr=127.0.0.1", f"--nproc-per-node={processes}"]


def _start(
    command: list[str], env: Mapping[str, str] | None, log_file: IO[bytes]
) -> subprocess.Popen[bytes]:
    own = {
        "PYTHONSAFEPATH": "1",  # a folder named like ours where the user stands must not shadow it
        "PYTHONFAULTHANDLER": "1",  # a native crash leaves its Python stack in the log
    }
    supervisor = [sys.executable, "-m", "perpo_core.process.supervisor"]
    return subprocess.Popen(
        supervisor + command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log_file,
        bufsize=0,
        start_new_session=True,  # Ctrl-C in the terminal is the parent's to handle
        env={**DEFAULTS, **os.environ, **own, **(env or {})},
    )


class _Child:
    """A running supervisor, seen from its parent; leaving the block ends the group."""

    def __init__(
        self,
        module: str,
        process: subprocess.Popen[bytes],
        log_file: IO[bytes],
        log_path: Path,
        timeout_s: float,
        stop: threading.Event | None,
        memory_advice: str,
    ) -> None:
        assert process.stdin is not None and process.stdout is not None
        self.module, self.process = module, process
        self.lifeline, self.events_pipe = process.stdin, process.stdout
        self.log_file, self.log_path = log_file, log_path
        self.log_start_bytes = log_path.stat().st_size
        self.timeout_s = timeout_s
        self.stop = stop or threading.Event()
        self.memory_advice = f"; {memory_advice}" if memory_advice else ""
        self.deadline_s = time.monotonic() + timeout_s

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *exception: object) -> None:
        """End the group and wait for it; quick when the child has ended by itself."""
        self.lifeline.close()
        self.events_pipe.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(END_S)
        if self.process.returncode != 0:  # the supervisor itself was killed, or cannot finish
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def follow(
        self, on_event: Callable[[dict[str, Any]], None], log: Callable[[str], None]
    ) -> dict[str, Any]:
        """Hand on the events until the child has ended; its result's fields."""
        result, returncode = None, None
        for event in self._read_events():
            if event["event"] == "exit":
                returncode = event["returncode"]
            elif event["event"] == "result":
                result = {name: value for name, value in event.items() if name != "event"}
            elif event["event"] == "log":
                log(event["message"])
            else:
                on_event(event)
            if self.stop.is_set():
                raise self._failed("was ended as asked")
            self.deadline_s = time.monotonic() + self.timeout_s
        if returncode != 0:
            raise self._explain(returncode)
        if result is None:
            raise self._failed("ended without a result")
        return result

    def _read_events(self) -> Iterator[dict[str, Any]]:
        """Events in order, the supervisor's exit event last; other lines go to the log."""
        for line in self._read_lines():
            event = _parse_event(line)
            if event is not None:
                yield event
                if event["event"] == "exit":
                    return
            elif line.strip():
                self.log_file.write(line + b"\n")
                self.log_file.flush()

    def _read_lines(self) -> Iterator[bytes]:
        rest = b""
        while chunk := self._read_chunk():
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines

    def _read_chunk(self) -> bytes:
        """The next bytes of the event pipe; none when it ended or the supervisor died.

        Waits in short steps: an exception that another thread injects here, as Prefect does to
        cancel, is raised between two of them.
        """
        fd = self.events_pipe.fileno()
        while not _is_readable(fd, CHECK_S):
            if self.process.poll() is not None and not _is_readable(fd, 0):
                return b""
            if time.monotonic() > self.deadline_s:
                silence = f"reported no progress for {self.timeout_s:g} s and was ended"
                raise self._failed(silence)
            if self.stop.is_set():
                raise self._failed("was ended as asked")
            if not threading.main_thread().is_alive():
                raise self._failed("was ended because the program is ending")
        return os.read(fd, READ_BYTES)

    def _explain(self, returncode: int | None) -> ChildFailed | DiskFull:
        """What a child that ended badly is told of as: a full disk is for the user to mend."""
        text = _read_end(self.log_path, self.log_start_bytes)
        if met_full_disk(text, self.log_path.parent):
            return build_disk_full(self.log_path.parent)
        reason = _describe_exit(returncode)
        if returncode == -signal.SIGKILL:
            reason += f", most likely by the system for lack of memory{self.memory_advice}"
        elif met_lack_of_memory(text):
            reason += f" for lack of memory{self.memory_advice}"
        return self._failed(reason)

    def _failed(self, reason: str) -> ChildFailed:
        tail = _split_lines(_read_end(self.log_path, self.log_start_bytes))
        return ChildFailed(self.module, reason, self.log_path, tail)


def _is_readable(fd: int, timeout_s: float) -> bool:
    # poll, not select: a long-lived server may hold more than 1024 descriptors.
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def _parse_event(line: bytes) -> dict[str, Any] | None:
    """The event on a line; None for anything a library may have printed."""
    if not line.startswith(b"{"):
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def _describe_exit(returncode: int | None) -> str:
    if returncode is None:
        return "was lost: its supervisor ended too early"
    if returncode > 0:
        return f"failed with exit status {returncode}"
    return f"was killed by {signal.Signals(-returncode).name}"


def _read_end(path: Path, start_bytes: int) -> str:
    """The end of a log, from a position on."""
    with path.open("rb") as handle:
        size_bytes = handle.seek(0, os.SEEK_END)
        handle.seek(max(start_bytes, size_bytes - TAIL_BYTES))
        return handle.read().decode("utf-8", errors="replace")


def _split_lines(text: str) -> list[str]:
    """The last lines, as a terminal would show them."""
    # Progress bars rewrite their line after a carriage return; the last state is what counts.
    lines = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n")]
    return [TERMINAL_CODES.sub("", line) for line in lines if line][-TAIL_LINES:]
