"""`make two-workers`: two workers on one Postgres server and one store, two refreshes at once.

Each round starts refresh/nightly and refresh/on-demand through the API, with two configurations,
in an empty store that both share; each of the two workers takes one. Afterwards both runs' rows,
digests and numbers are compared with those of the same configuration alone. In every other round
the two differ in their samples too, else in beta only, so that both want the same artifacts at the
same time. While they run, their processes are looked at: which worker has which run, and whether
two engines or trainers are ever there at once (the GPU slot).

The last line is one JSON object: "rounds", "failed" of them, and of the rounds how many were
"completed", "identical", "overlapped" (both flow runs at once), "on_both_workers" and "in_turn"
(never two on the GPU); "rows_lost", "rows_doubled", "orphans", "database_errors" over all;
"min_overlap_s" and "seconds_per_round".
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from flows.runs.records import load_records
from perpo_core.store.store import Store
from schemas.base import STAGES
from tests.flows.comparing import compare_rows, find_differences
from tests.flows.many import Many, RunProcess, find_run_processes, running_many
from tests.flows.whole import GONE_TIMEOUT_S, run_perpo, write_config

WORKERS = ("worker-1", "worker-2")
# Name -> what differs from the configuration file.
VARIANTS = {
    "first": (),
    "other-beta": ("train.beta=0.5",),
    "other-samples": ("train.beta=0.5", "source.seed=7"),
}
PAIRS = (("first", "other-samples"), ("first", "other-beta"))
DEPLOYMENTS = ("refresh/nightly", "refresh/on-demand")
ENDS = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
DATABASE_ERRORS = ("database is locked", "DeadlockDetected", "QueuePool limit")
ROUND_TIMEOUT_S = 900.0
LOOK_EVERY_S = 0.2
TAIL_CHARACTERS = 2000


@dataclass
class Round:
    """What became of two runs that were started together."""

    runs: list[dict[str, Any]]
    workers: dict[str, set[str]]
    """Flow run id -> names of the workers that its processes were started by."""
    most_on_gpu: int
    """Flow runs that had an engine or a trainer at the same time."""
    overlap_s: float
    problems: list[str] = field(default_factory=list)


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="perpo-two-") as folder:
        tally = run_rounds(Path(folder), arguments.times)
    print(json.dumps(tally))
    sys.exit(1 if tally["failed"] else 0)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    return parser.parse_args()


def run_rounds(folder: Path, times: int) -> dict[str, Any]:
    """So many rounds, and what came of them."""
    config, _ = write_config(folder)
    wanted = dict.fromkeys(name for pair in PAIRS[:times] for name in pair)
    alone = {name: run_alone(folder, config, name) for name in wanted}
    tally: Counter[str] = Counter(dict.fromkeys(("rounds", "failed", "completed", "identical",
        "overlapped", "on_both_workers", "in_turn", "rows_lost", "rows_doubled", "orphans",
        "database_errors"), 0))  # fmt: skip
    overlaps_s: list[float] = []
    with running_many(folder, WORKERS) as many:
        started_s = time.monotonic()
        for number in range(times):
            store = folder / f"store-{number}"
            ended = run_round(many, config, store, PAIRS[number % len(PAIRS)], alone, tally)
            overlaps_s.append(ended.overlap_s)
            say(f"round {number + 1}: {', '.join(ended.problems) or 'as it should be'}; together "
                f"{ended.overlap_s:.0f} s")  # fmt: skip
        seconds = (time.monotonic() - started_s) / times
        tally["database_errors"] = count_database_errors(many)
        tally["failed"] = max(tally["failed"], int(tally["database_errors"] > 0))
    return {**tally, "min_overlap_s": round(min(overlaps_s), 1),
            "seconds_per_round": round(seconds, 1)}  # fmt: skip


def run_alone(folder: Path, config: Path, name: str) -> Path:
    """The store of a refresh that has the machine, a server and a store to itself."""
    store = folder / f"alone-{name}"
    changes = [*list_overrides(name), f"store={store}"]
    run_perpo("refresh", config, *(part for change in changes for part in ("--set", change)))
    say(f"alone: {name}")
    return store


def list_overrides(name: str) -> list[str]:
    return [f"name={name}", *VARIANTS[name]]


def run_round(
    many: Many, config: Path, store: Path, pair: tuple[str, str], alone: Mapping[str, Path],
    tally: Counter[str],
) -> Round:  # fmt: skip
    """One round, judged; the tally has it."""
    runs = [
        many.api.start(
            deployment, config_file=str(config), overrides=list_overrides(name), store=str(store)
        )
        for deployment, name in zip(DEPLOYMENTS, pair, strict=True)
    ]
    ended = watch(many, runs)
    tally["rounds"] += 1
    orphans = count_left(runs)
    tally["orphans"] += orphans
    checks = judge_together(ended) | judge_results(store, pair, runs, alone, ended, tally)
    for check, is_good in checks.items():
        tally[check] += is_good
        if not is_good:
            ended.problems.append(f"not {check.replace('_', ' ')}")
    if orphans:
        ended.problems.append(f"{orphans} orphans")
    if ended.problems:
        tally["failed"] += 1
        for name, said in many.logs.items():
            say(f"{name}: ...{said[-TAIL_CHARACTERS:]}")
    return ended


def watch(many: Many, runs: list[str]) -> Round:
    """Look at two runs until both have ended."""
    workers: dict[str, set[str]] = {run: set() for run in runs}
    most_on_gpu = 0
    deadline_s = time.monotonic() + ROUND_TIMEOUT_S
    while True:
        last = [many.api.read_run(run) for run in runs]
        if all(found["state_type"] in ENDS for found in last):
            break
        assert time.monotonic() < deadline_s, many.logs
        seen = find_run_processes(runs)
        note_workers(workers, seen)
        most_on_gpu = max(most_on_gpu, len({one.run for one in seen if one.uses_gpu}))
        time.sleep(LOOK_EVERY_S)
    return Round(last, workers, most_on_gpu, compute_overlap_s(last))


def note_workers(workers: dict[str, set[str]], seen: list[RunProcess]) -> None:
    for process in seen:
        if process.worker:
            workers[process.run].add(process.worker)


def compute_overlap_s(runs: list[dict[str, Any]]) -> float:
    """Seconds in which all of the flow runs were under way; 0 or less if they never were."""
    if not all(run["start_time"] and run["end_time"] for run in runs):
        return 0.0
    begun, ended = ([datetime.fromisoformat(run[key]) for run in runs]
                    for key in ("start_time", "end_time"))  # fmt: skip
    return (min(ended) - max(begun)).total_seconds()


def judge_together(ended: Round) -> dict[str, bool]:
    """Whether they ran at once, one on each worker, and never both on the GPU."""
    names = [name for names in ended.workers.values() for name in names]
    return {
        "overlapped": ended.overlap_s > 0,
        "on_both_workers": sorted(names) == sorted(WORKERS),
        "in_turn": ended.most_on_gpu == 1,
    }


def judge_results(
    store: Path, pair: tuple[str, str], runs: list[str], alone: Mapping[str, Path], ended: Round,
    tally: Counter[str],
) -> dict[str, bool]:  # fmt: skip
    """Whether both are recorded as whole, and came out as they do alone."""
    records = {record.config.name: record for record in load_records(Store(store))}
    completed = (
        all(run["state_type"] == "COMPLETED" for run in ended.runs)
        and sorted(records) == sorted(pair)
        and len(load_records(Store(store))) == len(pair)
        and [records[name].flow_run_id for name in pair] == runs
        and all(tuple(record.stages) == STAGES for record in records.values())
        and all(record.status == "completed" for record in records.values())
    )
    if not completed:
        return {"completed": False, "identical": False}
    identical = True
    for name in pair:
        lost, doubled = compare_rows(store, alone[name], name)
        tally["rows_lost"] += lost
        tally["rows_doubled"] += doubled
        different = find_differences(store, alone[name], name)
        if different:
            ended.problems.append(f"{name} differs in {', '.join(different)}")
        identical = identical and not different and lost == doubled == 0
    return {"completed": True, "identical": identical}


def count_left(runs: list[str]) -> int:
    """Processes of ended runs that are still there after a grace."""
    deadline_s = time.monotonic() + GONE_TIMEOUT_S
    while (left := find_run_processes(runs)) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    return len(left)


def count_database_errors(many: Many) -> int:
    """Lines of any log in which the database could not do what it was asked."""
    return sum(said.count(error) for said in many.logs.values() for error in DATABASE_ERRORS)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
