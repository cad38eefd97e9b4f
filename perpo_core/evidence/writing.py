"""A comparison on disk: <store>/reports/compare-NAME/, beside the reports of its runs.

report.json (schemas/comparison.py, ComparisonReport) has the same bytes whenever the same is found;
costs.json is of the machine; report.html shows both. tables.md and the figures as SVG files are for
documents.
"""

from __future__ import annotations

from pathlib import Path

from perpo_core.evidence.page import build_figures, build_page, write_markdown
from perpo_core.report.write import REPORTS_FOLDER
from perpo_core.store.store import Store
from schemas.comparison import ComparisonCosts, ComparisonReport


def write_comparison(
    store: Store, name: str, report: ComparisonReport, costs: ComparisonCosts
) -> Path:
    """Write all files, each atomically, and return the path of report.html."""
    folder = name_folder(name)
    store.write(f"{folder}/report.json", (report.model_dump_json(indent=2) + "\n").encode())
    store.write(f"{folder}/costs.json", (costs.model_dump_json(indent=2) + "\n").encode())
    for file, figure in build_figures(report).items():
        store.write(f"{folder}/{file}", figure.encode())
    store.write(f"{folder}/tables.md", write_markdown(report, costs).encode())
    store.write(f"{folder}/report.html", build_page(report, costs).encode())
    return store.root / folder / "report.html"


def name_folder(name: str) -> str:
    """Of the comparison of a configuration's name, relative to the store."""
    return f"{REPORTS_FOLDER}/compare-{name}"
