"""`make chaos`: kill -9 at random, over and over, and nothing is lost, doubled or different.

A small whole refresh runs against a real Prefect server. At random moments one of flow (the whole
process group of the command), engine (vLLM), trainer or server is killed; a killed server is
started again seconds later while the command goes on, and a command that ended is given again,
until enough was killed. Whenever a refresh is through, its artifacts are compared with those of an
undisturbed one and another begins in an empty store. The last line is one JSON object, {"kills",
"resumes", "rows_lost", "rows_doubled", "orphans", "identical"}; "by_victim" besides says who was
killed how often.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from tests.flows.comparing import compare_rows, find_differences
from tests.flows.prefect_server import Server
from tests.flows.whole import (
    COMMAND_TIMEOUT_S,
    GONE_TIMEOUT_S,
    MARK,
    PERPO,
    build_env,
    find_marked,
    load_latest,
    run_perpo,
    write_config,
)

VICTIMS = {"engine": "perpo_core.stages.generate.child", "trainer": "perpo_core.stages.train.child"}
KINDS = ("flow", "engine", "trainer", "server")
RUN_SHARE, CHILD_SHARE = 0.5, 0.1  # of an undisturbed run's time: until a run or child is killed
SERVER_AWAY_S = 10.0  # at most, before it is started again


def main() -> None:
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # to leave nothing behind then, too
    with tempfile.TemporaryDirectory(prefix="perpo-chaos-") as folder:
        tally = run_chaos(Path(folder), arguments.kills, random.Random(arguments.seed))
    print(json.dumps(tally))
    sys.exit(0 if is_clean(tally) else 1)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def is_clean(tally: dict[str, Any]) -> bool:
    """Whether nothing was lost, doubled, left behind or different."""
    bad = tally["rows_lost"] + tally["rows_doubled"] + tally["orphans"]
    return bad == 0 and tally["identical"]


def run_chaos(folder: Path, num_kills: int, rng: random.Random) -> dict[str, Any]:
    """Refreshes with that many kills among them, and what came of it."""
    expected, duration_s = run_undisturbed(folder / "undisturbed")
    say(f"undisturbed: {duration_s:.0f} s")
    tally: dict[str, Any] = {
        "kills": 0, "resumes": 0, "rows_lost": 0, "rows_doubled": 0, "orphans": 0,
        "identical": True, "by_victim": Counter(),
    }  # fmt: skip
    round_number = 0
    with Server(folder / "server") as server:
        while tally["kills"] < num_kills:
            store = run_disturbed(folder / str(round_number), server, duration_s, num_kills, rng,
                                  tally)  # fmt: skip
            compare(store, expected, tally)
            round_number += 1
    return tally


def run_undisturbed(folder: Path) -> tuple[Path, float]:
    """(store, seconds) of a refresh that nobody disturbs."""
    folder.mkdir()
    config, store = write_config(folder)
    started_s = time.monotonic()
    run_perpo("refresh", config)
    return store, time.monotonic() - started_s


def run_disturbed(
    folder: Path,
    server: Server,
    duration_s: float,
    num_kills: int,
    rng: random.Random,
    tally: dict[str, Any],
) -> Path:
    """The same command until it is through, killed in between; its store."""
    folder.mkdir()
    config, store = write_config(folder)
    while True:
        server.ensure()
        mark = uuid.uuid4().hex
        with run_marked(mark, server, config, folder / "refresh.log") as process:
            victims = disturb(process, mark, server, duration_s, num_kills - tally["kills"], rng)
            process.wait(COMMAND_TIMEOUT_S)
        tally["kills"] += len(victims)
        tally["by_victim"].update(victims)
        tally["orphans"] += count_orphans(mark)
        record = load_latest(store)
        done = ", ".join(record.stages) if record else "nothing"
        who = ", ".join(victims) or "nobody"
        say(f"kill {tally['kills']}: {who}; ended with {process.returncode}, done: {done}")
        if process.returncode == 0:
            return store
        assert victims, (folder / "refresh.log").read_text()[-3000:]
        tally["resumes"] += 1


def disturb(
    process: subprocess.Popen[bytes], mark: str, server: Server, duration_s: float,
    num_kills: int, rng: random.Random,
) -> list[str]:  # fmt: skip
    """Kill so many at most, one after the other while the command goes on; whom, in order."""
    victims: list[str] = []
    while len(victims) < num_kills:
        victim = kill_something(process, mark, server, duration_s, rng)
        if victim is None:
            break
        victims.append(victim)
        if victim == "flow":
            process.wait()
        if victim == "server":
            time.sleep(rng.uniform(0, SERVER_AWAY_S))
            server.ensure()
    return victims


@contextmanager
def run_marked(
    mark: str, server: Server, config: Path, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A refresh that reports to the server; whatever happens, it is gone afterwards."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            [PERPO, "refresh", str(config)], stdout=out, stderr=subprocess.STDOUT,
            env=build_env(**{MARK: mark}) | {"PREFECT_API_URL": server.url},
            start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def kill_something(
    process: subprocess.Popen[bytes], mark: str, server: Server, duration_s: float,
    rng: random.Random,
) -> str | None:  # fmt: skip
    """Kill one of them at a random moment of a run; None if it ended before that.

    An engine or a trainer is waited for, since each lives for a part of the run only.
    """
    kind = rng.choice(KINDS)
    moment_s = time.monotonic() + rng.uniform(0, RUN_SHARE * duration_s)
    while process.poll() is None and time.monotonic() < moment_s + COMMAND_TIMEOUT_S:
        time.sleep(0.05)
        found = find_victim(process, mark, server, kind)
        if found and (time.monotonic() >= moment_s or kind in VICTIMS):
            if kind in VICTIMS:
                time.sleep(rng.uniform(0, CHILD_SHARE * duration_s))
            with suppress(ProcessLookupError):
                os.kill(found, signal.SIGKILL) if kind in VICTIMS else os.killpg(
                    found, signal.SIGKILL
                )
                return kind
    return None


def find_victim(
    process: subprocess.Popen[bytes], mark: str, server: Server, kind: str
) -> int | None:
    """The process, or leader of the group, to kill."""
    if kind == "flow":
        return process.pid
    if kind == "server":
        return server.pid
    for candidate in find_marked(mark):
        with suppress(psutil.Error):
            line = candidate.cmdline()
            if VICTIMS[kind] in line and "perpo_core.process.supervisor" not in line:
                return candidate.pid
    return None


def count_orphans(mark: str) -> int:
    """Processes of an ended command that are still there after a grace."""
    deadline_s = time.monotonic() + GONE_TIMEOUT_S
    while (left := list(find_marked(mark))) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    return len(left)


def compare(store: Path, expected: Path, tally: dict[str, Any]) -> None:
    """Add what is missing, double or different in a store to the tally."""
    lost, doubled = compare_rows(store, expected)
    tally["rows_lost"] += lost
    tally["rows_doubled"] += doubled
    if different := find_differences(store, expected):
        say(f"different: {', '.join(different)}")
        tally["identical"] = False


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
