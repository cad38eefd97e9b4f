"""A run's report on disk: <store>/reports/<run-id>/report.html and report.json."""

from __future__ import annotations

from pathlib import Path

from perpo_core.report.load import load_artifacts
from perpo_core.report.page import build_page
from perpo_core.report.summary import compute_report
from perpo_core.store.store import Store
from schemas.run import RunRecord

REPORTS_FOLDER = "reports"


def write_report(store: Store, run: RunRecord) -> Path:
    """Write both files, each atomically, and return the path of report.html.

    A run that failed or is still going gives a report of what there is; what is not there says why.
    """
    artifacts = load_artifacts(store, run)
    report = compute_report(run, artifacts)
    page = build_page(store, run, artifacts, report)
    folder = f"{REPORTS_FOLDER}/{run.run_id}"
    store.write(f"{folder}/report.json", (report.model_dump_json(indent=2) + "\n").encode())
    store.write(f"{folder}/report.html", page.encode())
    return store.root / folder / "report.html"
