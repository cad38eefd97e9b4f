"""`make bench-score`: how fast answers are scored, from candidate Parquet to score Parquet.

Engines: `columns` is the score stage, with its checks and two workers; `loop` what one would write
in an afternoon, a Python loop with IoU of a pair and nltk's edit distance, of the first answers
only; `rapidfuzz` the bare edit distances of the same pages in memory, on two threads, without
reading, normalizing or writing anything. Each is a child process of its own; they take turns. The
last line is one JSON object, see docs/bench.md; the exit status is 1 where a demand is missed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from perpo_core.stages import score
from perpo_core.stages.stage import StageContext
from perpo_core.store.store import Store
from schemas.artifact import CandidateSet, SampleSet
from schemas.config import RefreshConfig
from schemas.run import PolicyRef
from tests.benchmarks.memory import watch_memory
from tests.benchmarks.score_data import build_parents
from tests.benchmarks.train_speed import say
from tests.perpo_core.small_store import POLICY_DIGEST

WORKERS = 2
BOXES_PER_S = 300_000
SHARE_OF_RAPIDFUZZ = 0.8
FLAT = 1.25  # most memory of the most answers, over that of the fewest
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Job:
    """Answers of one task, scored by one engine."""

    task: str
    engine: str
    num_answers: int
    """How many there are."""
    num_scored: int
    """How many of them the engine scores."""


@dataclass(frozen=True)
class Night:
    """What an engine works on."""

    context: StageContext
    samples: SampleSet
    candidates: CandidateSet
    num_scored: int

    @property
    def paths(self) -> list[Path]:
        return self.context.store.paths(self.candidates)

    def load_truths(self) -> dict[str, Any]:
        """prompt_id -> target."""
        rows = pq.read_table(self.context.store.paths(self.samples)[0]).to_pylist()
        return {row["prompt_id"]: row["target"] for row in rows}


def score_columns(night: Night) -> Callable[[], float]:
    """The stage, its shares as tasks/score_shares.py deals them out."""

    def run() -> float:
        shutil.rmtree(night.context.store.root / "scores", ignore_errors=True)
        started_s = time.perf_counter()
        given = night.samples, night.candidates
        key = score.compute_key(night.context.config, night.context.policy, *given)
        scorer = score.build_scorer(night.context, key, *given)
        with ThreadPoolExecutor(WORKERS) as pool:
            shares = [
                pool.submit(score.score_share, scorer, start, WORKERS) for start in range(WORKERS)
            ]
            score.collect_shards(scorer, [shard for share in shares for shard in share.result()])
        return time.perf_counter() - started_s

    return run


def score_in_a_loop(night: Night) -> Callable[[], float]:
    from nltk.metrics.distance import edit_distance

    def judge(text: str, target: Mapping[str, Any]) -> float:
        if target["text"] is not None:
            longest = max(len(text), len(target["text"]), 1)
            return 1 - edit_distance(text, target["text"]) / longest
        box = [float(number) for number in NUMBER.findall(text)]
        return compute_iou(box, target["box"]) if len(box) == 4 else 0.0

    def run() -> float:
        started_s = time.perf_counter()
        truths = night.load_truths()
        rows = pq.read_table(night.paths[0]).to_pylist()[: night.num_scored]
        scores = [
            {
                "candidate_hash": r["candidate_hash"],
                "reward": judge(r["text"], truths[r["prompt_id"]]),
            }
            for r in rows
        ]
        pq.write_table(pa.Table.from_pylist(scores), night.context.store.root / "loop.parquet")
        return time.perf_counter() - started_s

    return run


def compute_iou(a: Sequence[float], b: Sequence[float]) -> float:
    """As it stands in every tutorial."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def compare_barely(night: Night) -> Callable[[], float]:
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cpdist

    truths = night.load_truths()
    rows = pq.read_table(night.paths, columns=["prompt_id", "text"]).to_pylist()[: night.num_scored]
    texts = [row["text"] for row in rows]
    expected = [truths[row["prompt_id"]]["text"] for row in rows]

    def run() -> float:
        started_s = time.perf_counter()
        cpdist(texts, expected, scorer=Levenshtein.normalized_distance, workers=WORKERS)
        return time.perf_counter() - started_s

    return run


ENGINES = {"columns": score_columns, "loop": score_in_a_loop, "rapidfuzz": compare_barely}


def serve(connection: Connection, job: Job, root: Path) -> None:
    """A round whenever the parent asks for one; the first is not counted."""
    os.environ["PERPO_CACHE"] = str(root / "cache")
    store = Store(root / "store")
    context = StageContext(
        store, RefreshConfig(store=root / "store"), PolicyRef(digest=POLICY_DIGEST, folder=root)
    )
    samples, candidates = (store.list_committed(kind)[0] for kind in ("samples", "candidates"))
    assert isinstance(samples, SampleSet) and isinstance(candidates, CandidateSet)
    run = ENGINES[job.engine](Night(context, samples, candidates, job.num_scored))
    start_bytes = measure_memory()
    connection.send("ready")
    with watch_memory() as peak:
        while connection.recv():
            before_s = measure_cpu_s()
            seconds = run()
            cpu_s = measure_cpu_s() - before_s
            peak_bytes = max(peak.num_bytes, measure_memory())
            told = {"seconds": seconds, "cpu_s": cpu_s}
            connection.send(told | {"start_bytes": start_bytes, "peak_bytes": peak_bytes})


def measure_memory() -> int:
    memory = psutil.Process().memory_info()
    return int(memory.rss - memory.shared)


def measure_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    arguments = parse_arguments()
    few, many, pages = arguments.answers, arguments.answers * 10, arguments.pages
    jobs = [
        Job("grounding", "columns", few, few),
        Job("grounding", "columns", many, many),
        Job("grounding", "loop", few, min(few, 4096)),
        Job("ocr", "columns", pages, pages),
        Job("ocr", "rapidfuzz", pages, pages),
        Job("ocr", "loop", pages, arguments.loop_pages),
    ]
    with tempfile.TemporaryDirectory() as work:
        rounds = measure(jobs, Path(work), arguments.rounds)
    results = [build_row(job, each) for job, each in zip(jobs, rounds, strict=True)]
    for row in results:
        say(json.dumps(row))
    missed = find_missed(results)
    for sentence in missed:
        say(sentence)
    print(json.dumps({"workers": WORKERS, "results": results}))
    sys.exit(bool(missed))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--answers", type=int, default=100_000, help="boxes; and ten times as many")
    parser.add_argument("--pages", type=int, default=40_960, help="answers of 1,000 characters")
    parser.add_argument("--loop-pages", type=int, default=16, help="of them, in the loop with nltk")
    return parser.parse_args()


def measure(jobs: Sequence[Job], work: Path, num_rounds: int) -> list[list[dict[str, Any]]]:
    """What each round of each job took; a round of all jobs, then the next."""
    context = multiprocessing.get_context("spawn")
    connections = []
    for job in jobs:
        root = work / f"{job.task}-{job.num_answers}"
        if not root.exists():
            say(f"making {job.num_answers} answers of {job.task}")
            build_parents(Store(root / "store"), job.task, job.num_answers)
        mine, theirs = context.Pipe()
        context.Process(target=serve, args=(theirs, job, root), daemon=True).start()
        theirs.close()
        assert mine.recv() == "ready"
        connections.append(mine)
    rounds: list[list[dict[str, Any]]] = [[] for _ in jobs]
    for _ in range(1 + num_rounds):
        for connection, each in zip(connections, rounds, strict=True):
            connection.send(True)
            each.append(connection.recv())
    for connection in connections:
        connection.send(False)
    return [each[1:] for each in rounds]


def build_row(job: Job, rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds, with the slowest and the fastest beside them."""
    speeds = sorted(job.num_scored / each["seconds"] for each in rounds)
    return {
        "task": job.task,
        "engine": job.engine,
        "answers": job.num_scored,
        "rows_per_s": round(statistics.median(speeds), 1),
        "rows_per_s_range": [round(speeds[0], 1), round(speeds[-1], 1)],
        "cpu_us_per_row": round(
            1e6 * statistics.median(each["cpu_s"] for each in rounds) / job.num_scored, 2
        ),
        "peak_bytes": max(each["peak_bytes"] for each in rounds),
        "start_bytes": rounds[0]["start_bytes"],
    }


def find_missed(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is demanded and not reached, in sentences."""
    found = {(row["task"], row["engine"]): row for row in results}
    boxes = [r for r in results if (r["task"], r["engine"]) == ("grounding", "columns")]
    missed = [
        f"{row['answers']} boxes: {row['rows_per_s']:,.0f} a second, {BOXES_PER_S:,} are demanded"
        for row in boxes
        if row["rows_per_s"] < BOXES_PER_S
    ]
    peaks = sorted(row["peak_bytes"] for row in boxes)
    if peaks[-1] > FLAT * peaks[0]:
        missed.append(f"memory grows with the answers: {peaks} bytes")
    share = found["ocr", "columns"]["rows_per_s"] / found["ocr", "rapidfuzz"]["rows_per_s"]
    if share < SHARE_OF_RAPIDFUZZ:
        missed.append(f"pages: {share:.2f} of rapidfuzz, {SHARE_OF_RAPIDFUZZ} are demanded")
    return missed


if __name__ == "__main__":
    main()
