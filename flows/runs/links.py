"""Where a browser finds a run's report and rows: at the server of `perpo serve`.

A report is a file besides.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flows.runs.home import (
    HOME,
    find_public_url,
    find_reports_key,
    find_served,
    find_tune_key,
    find_view_key,
)
from perpo_core.store.place import find_folder
from perpo_core.store.store import PROFILES, Store
from schemas.run import RunRecord

# Of the UI's address; Prefect's own pages have no such paths.
REPORTS_PATH = "/perpo/reports"
VIEW_PATH = "/perpo/view"
TUNE_PATH = "/perpo/tune"


def find_profiles(store: Store, record: RunRecord) -> Path:
    """Where a run's profiles lie, a folder a stage, if it was asked for any."""
    return store.root / PROFILES / record.run_id


def find_report_url(store: Store, record: RunRecord) -> str | None:
    """The report's address, http where the store is served; None if the run has none."""
    if record.report is None:
        return None
    served = find_served(store.root)
    if served is None:
        return (store.root / record.report).absolute().as_uri()
    page = record.report.relative_to("reports").as_posix()
    key = find_reports_key(find_folder(store.place) / HOME)
    path = "/".join(filter(None, (REPORTS_PATH, key, page)))
    return f"{find_public_url() or served.removesuffix('/api')}{path}"


def find_view_url(store: Store, record: RunRecord) -> str | None:
    """The address of a run's rows where the store is served; None elsewhere."""
    return _build_url(store, VIEW_PATH, find_view_key, record.run_id, "lists")


def find_tune_url(store: Store, study: str) -> str | None:
    """The address where a study's trials are compared, where the store is served; None elsewhere.

    Of a study by its name.
    """
    return _build_url(store, TUNE_PATH, find_tune_key, study)


def _build_url(
    store: Store, page: str, find_key: Callable[[Path], str | None], *parts: str
) -> str | None:
    served = find_served(store.root)
    if served is None:
        return None
    key = find_key(find_folder(store.place) / HOME)
    path = "/".join(filter(None, (page, key, *parts)))
    return f"{find_public_url() or served.removesuffix('/api')}{path}"
