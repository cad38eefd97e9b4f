"""`make gpu-check`: what a CPU cannot prove, on one machine with CUDA, in 8 minutes at most.

Parts, what matters most first:
  parity      packed lists equal separate sequences: every model family, float32 and bfloat16
  attention   the ways of attending side by side at real head sizes: errors, time, memory
  objectives  training steps of every objective and term: finite, moving, equal to the CPU's
  speed-0.5B  lists and tokens a second, share of the card's peak and memory, packed against
  speed-7B    separate, with random weights of these shapes, bfloat16, LoRA of rank 128
  refresh     a whole small refresh of the built-in policy, its stages without Prefect
  memory      what generation held is free again once it has ended
Each is a process of its own with a time budget; one that fails, breaks or takes too long leaves the
others alone. The result is a JSON object and a Markdown table, written after every case and printed
at the end (the last line is the object); docs/bench.md has its fields. Exit status 0: no part
failed; 1: one did; 2: nothing could be checked.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.gpu_check.needed import find_first_obstacle

DEFAULT_OUT = Path("build/gpu-check.json")


def main() -> int:
    arguments = parse_arguments()
    obstacle = find_first_obstacle(arguments.cpu) or find_unknown_part(arguments.only)
    if obstacle:
        print(f"gpu-check: {obstacle}", file=sys.stderr)
        return 2
    from perpo_core.process.environment import apply_defaults

    apply_defaults()
    return check(arguments)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make gpu-check ARGS=...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--cpu", action="store_true", help="all of it in miniature on a CPU: no figures")
    add("--only", metavar="PART,...", help="these parts only, such as parity,speed-7B")
    add("--engine", choices=["vllm", "transformers"],
        help="of generation (default vllm where it is installed; --cpu: transformers)")  # fmt: skip
    add("--total-s", type=float, help="seconds for all parts together (default 470)")
    add("--out", type=Path, default=DEFAULT_OUT, metavar="FILE.json",
        help=f"the object; FILE.md beside it has the table (default {DEFAULT_OUT})")  # fmt: skip
    return parser.parse_args()


def check(arguments: argparse.Namespace) -> int:
    """Run the parts and write what they found; imports what find_first_obstacle looked for."""
    from tests.gpu_check.flops import find_peak
    from tests.gpu_check.machine import describe_machine
    from tests.gpu_check.plan import CPU_PATIENCE, TOTAL_S, Part, PartJob
    from tests.gpu_check.runner import Result, run_parts
    from tests.gpu_check.table import describe, write_table

    device = "cpu" if arguments.cpu else "cuda"
    machine = describe_machine(device)
    out: Path = arguments.out.absolute()
    work = out.with_suffix("")
    shutil.rmtree(work, ignore_errors=True)
    usual = "vllm" if machine["vllm"] and not arguments.cpu else "transformers"
    engine = arguments.engine or usual
    patience = CPU_PATIENCE if arguments.cpu else 1.0
    total_s = arguments.total_s or patience * TOTAL_S
    started_s, began = time.monotonic(), datetime.now(UTC)

    def build_job(part: Part, budget_s: float) -> PartJob:
        return PartJob(
            device=device, folder=work / part.name, budget_s=budget_s, engine=engine,
            size=part.size, peak_flops=find_peak(machine["card"]),
        )  # fmt: skip

    def describe_check(results: list[Result]) -> dict[str, Any]:
        return {
            "date": f"{began:%Y-%m-%d %H:%M} UTC", "machine": machine, "miniature": arguments.cpu,
            "seconds": round(time.monotonic() - started_s, 1), "parts": results,
        }  # fmt: skip

    def write(results: list[Result]) -> dict[str, Any]:
        whole = describe_check(results)
        replace_text(out, json.dumps(whole, indent=1) + "\n")
        replace_text(out.with_suffix(".md"), write_table(whole))
        return whole

    def tell(results: list[Result]) -> None:
        write(results)
        say(results[-1])

    print(f"gpu-check: {describe(describe_check([]))}", file=sys.stderr, flush=True)
    results = run_parts(choose_parts(arguments.only, patience), build_job, total_s, tell)
    whole = write(results)
    print(write_table(whole))
    print(json.dumps(whole), flush=True)
    return int(any(result["status"] == "failed" for result in results))


def find_unknown_part(only: str | None) -> str:
    """The sentence about a name that --only does not know; empty when there is none."""
    from tests.gpu_check.plan import PARTS

    names = [part.name for part in PARTS]
    unknown = [name for name in (only or "").split(",") if name and name not in names]
    return f"no part is named {unknown[0]}; there are {', '.join(names)}." if unknown else ""


def choose_parts(only: str | None, patience: float) -> list[Any]:
    """The parts asked for, in their order, with their budgets `patience` times as long."""
    from tests.gpu_check.plan import PARTS

    chosen = [part for part in PARTS if not only or part.name in only.split(",")]
    return [replace(part, budget_s=patience * part.budget_s) for part in chosen]


def replace_text(path: Path, text: str) -> None:
    """Whole or not at all, whenever this process is ended."""
    path.parent.mkdir(parents=True, exist_ok=True)
    passing = path.with_suffix(f".{os.getpid()}.tmp")
    passing.write_text(text, encoding="utf-8")
    passing.replace(path)


def say(result: dict[str, Any]) -> None:
    """Progress on stderr: the last row of a part that runs, or its end."""
    line = f"{result['status']} in {result['seconds']:.0f} s {result['reason']}"
    if result["status"] == "running":
        row = result["rows"][-1]
        line = f"{row['case']}: {row['result']}"
    print(f"gpu-check: {result['name']}: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
