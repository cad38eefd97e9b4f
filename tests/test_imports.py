"""Who may import whom, and how light the command line stays."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "vllm", "prefect", "transformers"}
HELP = """
import json, sys
from flows.commands.cli import app
try:
    app(["--help"])
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def find_imports(path: Path) -> set[str]:
    """Top-level packages a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None and node.level == 0, f"{path}: relative import"
            found.add(node.module.partition(".")[0])
    return found


def test_imports_run_one_way() -> None:
    linted = run([str(Path(sys.executable).with_name("lint-imports")), "--no-cache"])
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize("path", sorted((ROOT / "schemas").rglob("*.py")), ids=lambda p: p.name)
def test_schemas_import_pydantic_and_pyarrow_only(path: Path) -> None:
    allowed = {"pydantic", "pyarrow", "schemas"} | sys.stdlib_module_names
    assert find_imports(path) <= allowed


def test_help_imports_nothing_heavy() -> None:
    shown = run([sys.executable, "-c", HELP])
    assert shown.returncode == 0, shown.stdout
    assert "refresh" in shown.stdout
    assert not HEAVY & set(json.loads(shown.stdout.splitlines()[-1]))


def test_help_answers_within_a_second() -> None:
    command = [str(Path(sys.executable).with_name("perpo")), "--help"]
    seconds = []
    for _ in range(3):  # the best of three: a busy machine is not the command's fault
        started_s = time.monotonic()
        shown = run(command)
        assert shown.returncode == 0, shown.stdout
        seconds.append(time.monotonic() - started_s)
    assert min(seconds) < 1.0
