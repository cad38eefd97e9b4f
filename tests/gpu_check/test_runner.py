"""One part never spoils the next, and what it found stays."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.gpu_check.plan import PARTS, TOTAL_S, Part, PartJob
from tests.gpu_check.runner import run_parts
from tests.gpu_check.table import write_table

ROOT = Path(__file__).parents[2]
FIRST = {"case": "first", "result": "passed"}
BUDGET_S = 30.0


def build_part(name: str, budget_s: float = BUDGET_S, needs: tuple[str, ...] = ()) -> Part:
    return Part(name, "tests.gpu_check.faulty", budget_s, needs, size=name)


def run(folder: Path, parts: list[Part], total_s: float = 300) -> tuple[list[Any], list[Any]]:
    """(results, every state that was written)."""

    def build_job(part: Part, budget_s: float) -> PartJob:
        return PartJob(
            device="cpu", folder=folder / part.name, budget_s=budget_s, engine="transformers",
            size=part.size,
        )  # fmt: skip

    states: list[Any] = []
    results = run_parts(parts, build_job, total_s, lambda now: states.append(copy.deepcopy(now)))
    return results, states


def test_parts_that_go_wrong_leave_the_others_alone(tmp_path: Path) -> None:
    parts = [
        build_part("raises"), build_part("dies"), build_part("hangs", 4), build_part("finds"),
        build_part("lacks", needs=("no_such_package",)), build_part("skips"), build_part("works"),
    ]  # fmt: skip
    results, states = run(tmp_path, parts)
    raised, died, hung, found, lacked, skipped, worked = results
    assert all(FIRST in part["rows"] for part in (raised, died, hung, found, worked))
    assert raised["status"] == died["status"] == hung["status"] == found["status"] == "failed"
    assert "ValueError: this part broke" in raised["reason"]
    assert "killed by SIGSEGV" in died["reason"]
    assert hung["reason"] == "It was ended at its budget of 4 s; what it found by then stays."
    assert hung["seconds"] < 12
    assert found["reason"] == "1 of 2 cases failed: second."
    assert (lacked["status"], lacked["rows"]) == ("skipped", [])
    assert lacked["reason"].startswith("no_such_package is not installed: ")
    assert (skipped["status"], skipped["reason"]) == ("skipped", "There is nothing to check here.")
    assert (worked["status"], worked["reason"], worked["rows"]) == ("passed", "", [FIRST])
    running = [state[-1] for state in states if state[-1]["status"] == "running"]
    assert [part["name"] for part in running if part["rows"] == [FIRST]] == [
        "raises", "dies", "hangs", "finds", "works",
    ]  # fmt: skip


def test_when_the_time_of_the_whole_is_up_the_rest_is_skipped(tmp_path: Path) -> None:
    results, _ = run(tmp_path, [build_part("hangs", 3), build_part("works")], total_s=5)
    hung, late = results
    assert hung["reason"].startswith("It was ended at its budget of 3 s")
    assert late["status"] == "skipped"
    assert late["reason"] == "The 5 s of the whole check were used up before it."


def test_every_part_has_its_time_even_if_all_others_use_theirs() -> None:
    assert sum(part.budget_s for part in PARTS) <= TOTAL_S


def test_the_table_has_every_row_once_and_no_broken_cell(tmp_path: Path) -> None:
    results, _ = run(tmp_path, [build_part("finds"), build_part("lacks", needs=("no|pack",))])
    machine = {"card": "a card", "card_gib": 80.0, "cuda": "13.0", "python": "3.12",
               "torch": "2.11", "transformers": "5.17", "peft": "0.21", "vllm": None}  # fmt: skip
    check = {"date": "today", "machine": machine, "miniature": False, "seconds": 1.0,
             "parts": results}  # fmt: skip
    caption, _, *lines = write_table(check).splitlines()
    assert caption == (
        "today, a card (80.0 GiB): Python 3.12, torch 2.11, CUDA 13.0, transformers 5.17, "
        "peft 0.21, no vLLM; 1 s."
    )
    assert all(line.count("|") == 5 for line in lines)
    assert [line.split("|")[2].strip() for line in lines[2:]] == ["", "first", "second", ""]


def ask(*command: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "PYTHON"}
    env["CUDA_VISIBLE_DEVICES"] = ""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=env)


def test_without_a_card_it_says_so() -> None:
    shown = ask("infra/gpu-check.sh")
    assert shown.returncode == 2
    assert "sees no CUDA device; `make gpu-check ARGS=--cpu`" in shown.stderr
    assert len(shown.stderr.splitlines()) == 1


def test_a_part_that_is_not_there_is_named() -> None:
    shown = ask("infra/gpu-check.sh", "--cpu", "--only", "parity,sped")
    assert shown.returncode == 2
    assert shown.stderr.startswith("gpu-check: no part is named sped; there are parity, attention")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_part_that_is_chosen_runs_alone(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    shown = ask("infra/gpu-check.sh", "--cpu", "--only", "parity", "--out", str(out))
    assert shown.returncode == 0, shown.stderr
    assert json.loads(out.read_text()) == json.loads(shown.stdout.splitlines()[-1])
    assert [part["name"] for part in json.loads(out.read_text())["parts"]] == ["parity"]
    assert out.with_suffix(".md").read_text() in shown.stdout
