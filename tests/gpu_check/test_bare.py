"""The check runs where there is no Prefect, no vLLM and no installed perpo."""

from __future__ import annotations

import json
import os
import subprocess
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from perpo_core.stages.train.objectives import OBJECTIVES, TERMS
from tests.gpu_check import bare
from tests.gpu_check.attention import CPU_WAYS, KINDS, SMALL_LAYOUTS
from tests.gpu_check.bare import ROOT
from tests.gpu_check.plan import PARTS
from tests.gpu_check.table import FIGURES

STAGES = ("collect", "generate.child", "score", "materialize", "train.child", "evaluate", "promote")
IMPORTS = f"""
import importlib, importlib.util
for name in ("prefect", "vllm", "perpo", "datasets", "tensorboard", "trl"):
    assert importlib.util.find_spec(name) is None, name
for name in {[part.module for part in PARTS]} + ["tests.gpu_check.objective_steps"]:
    importlib.import_module(name)
for name in {STAGES}:
    importlib.import_module("perpo_core.stages." + name)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bare.build_python(tmp_path_factory.mktemp("bare"), bare.list_bare())


def run(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [python, *arguments], cwd=ROOT, env=kept, capture_output=True, text=True, check=False
    )


def test_the_wheels_need_nothing_that_the_machine_lacks() -> None:
    there = bare.list_bare()
    for name in bare.read_wheels():
        assert set(bare.list_needs(distribution(name))) <= there, name


def test_the_wheels_are_locked() -> None:
    lock = (ROOT / "infra" / "gpu.lock").read_text()
    assert all(f"\n{name}==" in f"\n{lock}" for name in bare.read_wheels())


def test_parts_and_stages_import_there(python: Path) -> None:
    shown = run(python, "-c", IMPORTS)
    assert shown.returncode == 0, shown.stderr


def test_without_the_wheels_it_says_where_they_come_from(tmp_path: Path) -> None:
    python = bare.build_python(tmp_path, bare.find_closure(["torch"]))
    shown = run(python, "-m", "tests.gpu_check")
    assert shown.returncode == 2
    assert "pydantic cannot be imported" in shown.stderr and "make gpu-wheels" in shown.stderr
    assert len(shown.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_check_in_miniature(python: Path, tmp_path: Path) -> None:
    out = tmp_path / "check.json"
    shown = run(python, "-m", "tests.gpu_check", "--cpu", "--out", str(out))
    assert shown.returncode == 0, shown.stderr
    check = json.loads(out.read_text())
    assert check == json.loads(shown.stdout.splitlines()[-1])
    assert out.with_suffix(".md").read_text() in shown.stdout
    assert check["miniature"] and check["machine"]["vllm"] is None
    assert [part["name"] for part in check["parts"]] == [part.name for part in PARTS]
    for part in check["parts"]:
        assert (part["status"], part["reason"]) == ("passed", ""), part
        assert all(row["result"] in ("passed", "measured") for row in part["rows"])
    check_rows({part["name"]: part["rows"] for part in check["parts"]})


def check_rows(rows: dict[str, list[dict[str, Any]]]) -> None:
    """Every case of every part is there, and figures that mean something."""
    assert len([row for row in rows["parity"] if "logps_difference" in row]) == 2 * 8
    assert len(rows["attention"]) == len(KINDS) * len(SMALL_LAYOUTS) * len(CPU_WAYS)
    assert all(row["output_error"] < 0.03 and row["step_ms"] > 0 for row in rows["attention"])
    assert len(rows["objectives"]) == len(OBJECTIVES) + len(TERMS)
    assert all(row["weight_change"] > 0 for row in rows["objectives"])
    for name in ("speed-0.5B", "speed-7B"):
        methods = [row["case"].split()[-1] for row in rows[name]]
        assert methods == ["packed", "separate"] * 2
        assert all(row["lists_per_s"] > 0 and row["peak_gib"] > 0 for row in rows[name])
    assert [row["case"] for row in rows["refresh"]][:2] == ["collect", "generate"]
    [generated] = [row for row in rows["refresh"] if row["case"] == "generate"]
    assert generated["engine"] == "transformers"
    assert rows["memory"][0]["processes_left"] == 0
    known = {"case", "result", "gradient_checkpointing", *FIGURES}
    assert all(set(row) <= known for part in rows.values() for row in part)
