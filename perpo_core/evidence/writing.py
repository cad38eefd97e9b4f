"""A comparison on disk: <store>/reports/compare-NAME/, beside the reports of its runs.

report.json (schemas/comparison.py, ComparisonReport) has the same bytes whenever the same is found;
costs.json is of the machine; report.html shows both.
"""

from __future__ import annotations

from pathlib import Path

from perpo_core.evidence.page import build_page
from perpo_core.report.write import REPORTS_FOLDER
from perpo_core.store.store import Store
from schemas.comparison import ComparisonCosts, ComparisonReport


def write_comparison(
    store: Store, name: str, report: ComparisonReport, costs: ComparisonCosts
) -> Path:
    """Write the three files, each atomically, and return the path of report.html."""
    folder = find_folder(name)
    store.write(f"{folder}/report.json", (report.model_dump_json(indent=2) + "\n").encode())
    store.write(f"{folder}/costs.json", (costs.model_dump_json(indent=2) + "\n").encode())
    store.write(f"{folder}/report.html", build_page(report, costs).encode())
    return store.root / folder / "report.html"


def find_folder(name: str) -> str:
    """Of the comparison of a configuration's name, relative to the store."""
    return f"{REPORTS_FOLDER}/compare-{name}"
