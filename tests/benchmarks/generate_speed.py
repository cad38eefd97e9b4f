"""`make bench-generate`: how fast answers are sampled, and how long the engine has nothing to do.

Every way of sampling runs in a child process of its own, on the same model and prompts
(sampling_engines.py). The children take turns, a round at a time, so that a slower minute of the
machine slows all of them. The last line is one JSON object, see docs/bench.md for its fields; the
exit status is 1 where streaming gives less than 0.9 of what bare generation gives.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tests.benchmarks.sampling_engines import ENGINES, Setting, serve
from tests.benchmarks.train_speed import say

ENOUGH = 0.9  # of bare generation
SAME_IDS = ("after", "before", "bare")  # transformers draws its own random numbers


def main() -> None:
    arguments = parse_arguments()
    os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")  # for the children
    setting = Setting(
        arguments.prompts, arguments.candidates, arguments.max_tokens, arguments.shard_prompts,
        arguments.side,
    )  # fmt: skip
    rounds = measure(arguments.engines, setting, arguments.rounds)
    check_ids(rounds)
    results = [build_row(engine, setting, each) for engine, each in rounds.items()]
    for row in results:
        say(describe(row))
    ratio = compute_ratio(rounds)
    print(json.dumps({**vars(setting), "results": results, "after_per_bare": ratio}))
    sys.exit(ratio is not None and ratio < ENOUGH)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=192, help="a round (default 192)")
    parser.add_argument("--candidates", type=int, default=16, help="answers a prompt (default 16)")
    parser.add_argument("--max-tokens", type=int, default=40, help="longest answer (default 40)")
    parser.add_argument("--shard-prompts", type=int, default=32, help="of a shard (default 32)")
    parser.add_argument("--side", type=int, default=640, help="of a photo, pixels (default 640)")
    parser.add_argument("--engines", nargs="*", default=list(ENGINES), choices=list(ENGINES))
    return parser.parse_args()


def measure(
    engines: Sequence[str], setting: Setting, num_rounds: int
) -> dict[str, list[dict[str, Any]]]:
    """Engine -> what each of its rounds took."""
    context = multiprocessing.get_context("spawn")
    connections = {}
    for engine in engines:
        mine, theirs = context.Pipe()
        # Not a daemon: it has children of its own. It ends with its last round or its parent.
        context.Process(target=serve, args=(theirs, engine, setting, num_rounds)).start()
        theirs.close()
        assert mine.recv() == "ready"
        connections[engine] = mine
    rounds: dict[str, list[dict[str, Any]]] = {engine: [] for engine in engines}
    for number in range(num_rounds):
        for engine, connection in connections.items():
            connection.send(True)
            rounds[engine].append(connection.recv())
            say(f"round {number} {engine}: {rounds[engine][-1]['seconds']:.2f} s")
    return rounds


def check_ids(rounds: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Speed means nothing unless the answers are the same."""
    for number, ids in enumerate(
        zip(*([row["ids"] for row in rounds[e]] for e in SAME_IDS if e in rounds), strict=True)
    ):
        if len(set(ids)) > 1:
            raise ValueError(f"round {number}: vLLM gave other tokens in one way than in another")


def build_row(engine: str, setting: Setting, rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds, with the slowest and the fastest beside them."""
    num_samples = setting.num_prompts * setting.num_candidates
    speeds = sorted(num_samples / row["seconds"] for row in rounds)
    return {
        "engine": engine,
        "samples_per_s": round(statistics.median(speeds), 1),
        "samples_per_s_range": [round(speeds[0], 1), round(speeds[-1], 1)],
        "idle_share": round(statistics.median(row["idle_share"] for row in rounds), 3),
        "cpu_s": round(statistics.median(row["cpu_s"] for row in rounds), 2),
    }


def compute_ratio(rounds: Mapping[str, Sequence[Mapping[str, Any]]]) -> float | None:
    """Streaming per bare generation, the median over the rounds; None where one was left out.

    Of a round, since the two follow each other there and the machine is nearly the same.
    """
    if not rounds.keys() >= {"after", "bare"}:
        return None
    pairs = zip(rounds["bare"], rounds["after"], strict=True)
    return round(statistics.median(bare["seconds"] / after["seconds"] for bare, after in pairs), 3)


def describe(row: Mapping[str, Any]) -> str:
    low, high = row["samples_per_s_range"]
    return (
        f"{row['engine']:14} {row['samples_per_s']:8.1f} samples/s ({low:.1f} to {high:.1f})  "
        f"idle {row['idle_share']:.1%}  {row['cpu_s']:.2f} CPU s"
    )


if __name__ == "__main__":
    main()
