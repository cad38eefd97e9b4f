"""The report of a run: report.html for people and report.json for machines."""

from __future__ import annotations

from perpo_core.report.write import write_report

__all__ = ["write_report"]
