"""`make bench-train`: how fast and how large a training on ranked lists is, by method and shape.

Every engine runs in a child process of its own, on the same model and lists (engines.py). Of a
shape, the children take turns, a round at a time, so that a slower minute of the machine slows all
of them; the first round warms up and is not counted. The last line is one JSON object, see
docs/bench.md for its fields.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.benchmarks.engines import ENGINES, serve
from tests.benchmarks.llava import PREFIX_TOKENS, Shape

PACKED = ("packed", "packed-cached-ref")
Job = tuple[Shape, str]  # shape, engine
# Jobs that take turns. G40 has no competitor: it shows that cost follows unique tokens.
GROUPS: list[list[Job]] = [
    [(Shape(4, 20), engine) for engine in ENGINES],
    [(Shape(8, 20), engine) for engine in ENGINES],
    [(Shape(20, 20), engine) for engine in ENGINES] + [(Shape(40, 20), name) for name in PACKED],
    [(Shape(5, 300), engine) for engine in ENGINES],
]
STEPS_PER_ROUND = {"packed": 3, "packed-cached-ref": 3, "separate": 1, "trl": 1}
SAME_LOSS = 1e-3  # relative, packed against separate, over all steps that both made


@dataclass
class Child:
    """A running engine and the seconds of its rounds."""

    job: Job
    process: multiprocessing.process.BaseProcess
    connection: Connection
    seconds: list[float]


def main() -> None:
    arguments = parse_arguments()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # for the children
    say(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"{arguments.threads} threads a training, prefix {PREFIX_TOKENS} tokens")  # fmt: skip
    results: list[dict[str, Any]] = []
    for group in GROUPS:
        jobs = [job for job in group if not arguments.shapes or job[0].name in arguments.shapes]
        if jobs:
            results += measure(jobs, arguments.rounds, arguments.threads)
    for row in results:
        say(describe(row))
    print(json.dumps({"results": results}))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (default 5)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of a training")
    parser.add_argument("--shapes", nargs="*", help="only these, such as G20-R20 (default all)")
    return parser.parse_args()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure(jobs: Sequence[Job], num_rounds: int, threads: int) -> list[dict[str, Any]]:
    """Start a child a job, let them take turns, and collect a row of each."""
    with tempfile.TemporaryDirectory() as work:
        children = [start(job, num_rounds, threads, Path(work)) for job in jobs]
        for number in range(num_rounds + 1):
            for child in children:
                child.connection.send(True)
                child.seconds.append(child.connection.recv())
                say(f"round {number} {child.job[0].name} {child.job[1]}: {child.seconds[-1]:.2f} s")
        ends = {child.job: stop(child) for child in children}
    check_losses(ends)
    return [build_row(child, ends[child.job]) for child in children]


def start(job: Job, num_rounds: int, threads: int, work: Path) -> Child:
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    shape, engine = job
    process = context.Process(
        target=serve,
        args=(theirs, engine, shape, num_rounds, STEPS_PER_ROUND[engine], threads, work),
        daemon=True,  # ends with the parent
    )
    process.start()
    theirs.close()  # a child that dies is then an EOFError, not a wait for ever
    assert mine.recv() == "ready"
    return Child(job, process, mine, [])


def stop(child: Child) -> dict[str, Any]:
    child.connection.send(False)
    end: dict[str, Any] = child.connection.recv()
    child.process.join()
    return end


def check_losses(ends: dict[Job, dict[str, Any]]) -> None:
    """Speed means nothing unless the work is the same."""
    for (shape, engine), end in ends.items():
        others = ends.get((shape, "separate"))
        if engine in PACKED and others:
            for mine, theirs in zip(end["losses"], others["losses"], strict=False):
                if abs(mine - theirs) > SAME_LOSS * theirs:
                    raise ValueError(f"{shape.name}: {engine} has loss {mine}, separate {theirs}")


def build_row(child: Child, end: dict[str, Any]) -> dict[str, Any]:
    """Medians over the counted rounds, with the slowest and the fastest beside them."""
    shape, engine = child.job
    speeds = sorted(end["lists_per_round"] / seconds for seconds in child.seconds[1:])
    lists_per_s = statistics.median(speeds)
    return {
        "shape": shape.name,
        "engine": engine,
        "lists_per_s": round(lists_per_s, 4),
        "lists_per_s_range": [round(speeds[0], 4), round(speeds[-1], 4)],
        "tokens_per_s": round(lists_per_s * end["tokens_per_list"]),
        "peak_bytes": end["peak_bytes"],
        "start_bytes": end["start_bytes"],
        "token_bound": round(end["tokens_per_list"] / shape.packed_tokens, 3),
    }


def describe(row: dict[str, Any]) -> str:
    low, high = row["lists_per_s_range"]
    over = (row["peak_bytes"] - row["start_bytes"]) / 2**20
    return (
        f"{row['shape']:8} {row['engine']:18} {row['lists_per_s']:7.3f} lists/s "
        f"({low:.3f} to {high:.3f})  {row['tokens_per_s']:7d} tokens/s  {over:6.0f} MiB over start"
        f"  token bound {row['token_bound']:.2f}"
    )


if __name__ == "__main__":
    main()
