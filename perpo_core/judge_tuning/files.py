"""The instruction that a tuning writes, and its report beside it."""

from __future__ import annotations

from pathlib import Path

from perpo_core.process.troubles import find_write_obstacle
from perpo_core.store.atomic import write_atomic
from schemas.judge_tuning import JudgeTuningReport


def name_report(to: Path) -> Path:
    """Beside the instruction, under its whole name: judge.txt has judge.txt.json."""
    return to.with_name(f"{to.name}.json")


def check_target(to: Path, in_use: Path, overwrite: bool) -> None:
    """Before any call: raise ValueError where the instruction or its report cannot be written, or
    would replace a file that nobody said may go."""
    if obstacle := find_write_obstacle(to.absolute().parent):
        raise ValueError(f"--to {to}: {obstacle}; name another file")
    for path in (to, name_report(to)):
        if path.is_dir():
            raise ValueError(f"--to {to}: {path} is a folder; name a file")
        if path.exists() and not overwrite:
            what = "the instruction in use" if _is_same(path, in_use) else "already there"
            raise ValueError(
                f"--to {to}: {path} is {what}; name another file, or say --overwrite to replace it"
            )


def _is_same(path: Path, other: Path) -> bool:
    return other.exists() and path.samefile(other)


def write_outcome(report: JudgeTuningReport, to: Path) -> Path:
    """Write both; returns the report's path. The instruction comes last: where it is, all is."""
    beside = name_report(to)
    write_atomic(beside, (report.model_dump_json(indent=2) + "\n").encode())
    write_atomic(to, report.instruction.encode())
    return beside
