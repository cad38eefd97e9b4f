"""What a harness left in its output folder, as metric -> number.

Read from their code and, of lmms-eval, from what a run of it on the built-in policy wrote:

- lmms-eval 0.7.3 (PyPI; `python -m lmms_eval --model vllm --model_args model=FOLDER --tasks A,B
  --output_path OUTPUT`): OUTPUT/MODEL/TIME_results.json (loggers/evaluation_tracker.py), whose
  `results` hold task -> "metric,filter" and "metric_stderr,filter", the latter "N/A" or null where
  there is none, beside an alias and other errors ("metric_stderr_clt,filter"). Earlier ones wrote
  results.json or results_TIME.json. It ends with exit status 0 where it failed, without this file.
- VLMEvalKit of 2026 (PyPI's ms-vlmeval 0.0.20; `run.py --config FILE --work-dir OUTPUT`):
  OUTPUT/MODEL/status.json (smp/status_report.py), whose `datasets` hold flat `metrics` of each, or
  an `error_message` or `skip_reason`: it ends well even where a data set failed. Earlier ones wrote
  OUTPUT/MODEL/[TIME/]MODEL_DATASET_acc.csv, _score.csv or _score.json alone, and links to these.

Names here are TASK/METRIC, with ",FILTER" behind it where that is not "none", and DATASET/METRIC.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.benchmarks import BenchmarkScore

STDERR = "_stderr"
NO_FILTER = "none"
STATUS = "status.json"
TABLE_NAME = re.compile(r"_(acc|score|rating)$")


@dataclass
class Read:
    """What one harness said of one policy."""

    scores: dict[str, BenchmarkScore] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    """Metric -> what it said instead of a finite number."""
    files: list[Path] = field(default_factory=list)
    """That were read."""
    since_ns: int = 0

    def find(self, output: Path, *patterns: str) -> list[Path]:
        """Oldest first, each once, whatever links there are to it; raises ValueError for none."""
        found = {path.resolve() for pattern in patterns for path in output.rglob(pattern)}
        files = {path: path.stat().st_mtime_ns for path in found if path.is_file()}
        new = [path for path, time_ns in files.items() if time_ns >= self.since_ns]
        if not new:
            raise ValueError(f"has no new file like {' or '.join(patterns)}")
        return sorted(new, key=lambda path: (files[path], path.name))

    def add(self, name: str, value: Any, stderr: Any = None) -> None:
        """A value that is no number at all, such as a text or a flag, is no metric."""
        if (number := to_number(value)) is None:
            return
        if not math.isfinite(number):
            self.unread[name] = str(value)
            return
        error = to_number(stderr)
        known = error if error is not None and math.isfinite(error) and error >= 0 else None
        self.scores[name] = BenchmarkScore(value=number, stderr=known)


def to_number(value: Any) -> float | None:
    """Numbers, and texts that are nothing else; NaN is one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def read_results(output: Path, format_name: str, pattern: str | None, since_ns: int = 0) -> Read:
    """`since_ns`: files that were last written before it are of an earlier try and do not count.

    Raises ValueError, what follows "OUTPUT", where there is nothing, or what is there is damaged.
    """
    read = Read(since_ns=since_ns)
    READERS[format_name](output, pattern, read)
    if not read.scores and not read.unread:
        where = ", ".join(path.name for path in read.files)
        raise ValueError(f"holds no metric in {where}")
    return read


def _read_lmms_eval(output: Path, pattern: str | None, read: Read) -> None:
    path = read.find(output, pattern or "*results*.json")[-1]
    read.files.append(path)
    results = _load(path).get("results")
    if not isinstance(results, dict):
        raise ValueError(f"{path.name} has no results, as lmms-eval writes them")
    for task, values in results.items():
        for key, value in values.items() if isinstance(values, dict) else ():
            metric, _, filter_name = key.partition(",")
            if metric == "alias" or STDERR in metric:  # _stderr, and _stderr_clt, _stderr_clustered
                continue
            stderr = values.get(f"{metric}{STDERR},{filter_name}")
            name = f"{task}/{metric if filter_name in ('', NO_FILTER) else key}"
            for inner, number in _flatten(value, "/", name):
                read.add(inner, number, stderr)


def _read_vlmevalkit(output: Path, pattern: str | None, read: Read) -> None:
    patterns = [pattern] if pattern else [STATUS, "*_acc.csv", "*_score.csv", "*_score.json"]
    found = read.find(output, *patterns)
    statuses = [path for path in found if path.name == STATUS]
    if statuses:
        read.files.append(statuses[-1])
        return _read_status(statuses[-1], read)
    for path in found:
        dataset = _name_dataset(path, output.resolve())
        read.files.append(path)
        values = _flatten_table(path) if path.suffix == ".csv" else _flatten(_load(path), "|")
        for name, value in values:
            read.add(f"{dataset}/{name}", value)


def _read_status(path: Path, read: Read) -> None:
    datasets = _load(path).get("datasets")
    for dataset, said in (datasets if isinstance(datasets, dict) else {}).items():
        if not said.get("metrics"):
            why = said.get("error_message") or said.get("skip_reason") or said.get("status")
            raise ValueError(f"{path.name} has no metrics of {dataset}: {why}")
        for name, value in said["metrics"].items():
            read.add(f"{dataset}/{name}", value)


def _name_dataset(path: Path, output: Path) -> str:
    """MODEL_DATASET_acc.csv lies below a folder MODEL."""
    stem = TABLE_NAME.sub("", path.stem)
    for folder in path.relative_to(output).parents:
        if folder.name and stem.startswith(f"{folder.name}_"):
            return stem.removeprefix(f"{folder.name}_")
    return stem


def _flatten_table(path: Path) -> Iterator[tuple[str, Any]]:
    """Every number of a table, named as status.json names it: "split=none|Overall"."""
    rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    columns = [name for name in (rows[0] if rows else {}) if name]
    numeric = [c for c in columns if any(_is_finite(row[c]) for row in rows)]
    for row in rows:
        dims = [f"{c}={row[c]}" for c in columns if c not in numeric and row[c]]
        for column in numeric:
            yield "|".join([*dims, column]), row[column]


def _is_finite(text: str) -> bool:
    number = to_number(text)
    return number is not None and math.isfinite(number)


def _read_json(output: Path, pattern: str | None, read: Read) -> None:
    """NAME_stderr beside NAME is its standard error."""
    for path in read.find(output, pattern or "*.json"):
        read.files.append(path)
        values = dict(_flatten(_load(path), "/"))
        for name, value in values.items():
            if not (name.endswith(STDERR) and name.removesuffix(STDERR) in values):
                read.add(name, value, values.get(f"{name}{STDERR}"))


def _flatten(value: Any, separator: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield prefix, value
        return
    for name, inner in value.items():
        yield from _flatten(inner, separator, f"{prefix}{separator}{name}" if prefix else name)


def _load(path: Path) -> Mapping[str, Any]:
    """A JSON object; NaN and Infinity in it are read as such."""
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} is not JSON ({error})") from error
    if not isinstance(loaded, dict):
        raise ValueError(f"{path.name} holds no JSON object")
    return loaded


READERS: dict[str, Callable[[Path, str | None, Read], None]] = {
    "lmms-eval": _read_lmms_eval,
    "vlmevalkit": _read_vlmevalkit,
    "json": _read_json,
}


def list_names(names: Sequence[str], most: int = 20) -> str:
    """For an error: what there is to choose from."""
    shown = ", ".join(sorted(names)[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
