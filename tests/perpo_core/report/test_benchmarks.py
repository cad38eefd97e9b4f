"""Outside benchmarks on the page and in report.json, and what of them a promotion depends on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perpo_core.report import write_report
from perpo_core.stages import promote
from perpo_core.stages.promote.gates import compute_gates, decide, find_unmeasured
from schemas.artifact import Checkpoint, EvalReport, Promotion
from schemas.benchmarks import BenchmarkMetric
from schemas.config import PromoteConfig, RefreshConfig
from schemas.report import Report
from schemas.run import PolicyRef
from tests.perpo_core.report.html_page import Page
from tests.perpo_core.report.report_fixture import build_run

LIMITS = {"pope": {"pope/acc": 0.01}}
NAME = "pope<script>/acc"


def load(store: Any, run: Any, stage: str) -> Any:
    entry = run.stages[stage]
    return store.load(entry.kind, entry.key)


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """A finished run whose evaluation asked a benchmark, and whose gate on it failed."""
    store, record = build_run(tmp_path)
    worse = BenchmarkMetric(
        base=0.86, trained=0.80, base_stderr=0.01, trained_stderr=0.01, better="higher"
    )
    metrics = {"pope/acc": worse, NAME: BenchmarkMetric(base=1200, trained=1201.5)}
    evaluation: EvalReport = load(store, record, "evaluate")
    store.commit(evaluation.model_copy(update={"benchmarks": {"pope": metrics}}))
    config = PromoteConfig(min_gain={}, max_loss={}, max_loss_benchmarks=LIMITS)
    gates = compute_gates(config, {}, benchmarks={"pope": metrics})
    promotion: Promotion = load(store, record, "promote")
    store.commit(promotion.model_copy(update={"gates": gates, "promoted": False, "held": None}))
    return store, record


def test_both_files_say_what_a_benchmark_said(run):
    path = write_report(*run)
    content = json.loads((path.parent / "report.json").read_text())
    said = content["benchmarks"]["pope"]["pope/acc"]
    assert (said["base"], said["trained"], said["better"]) == (0.86, 0.80, "higher")
    report = Report.model_validate(content)
    assert report.benchmarks["pope"]["pope/acc"].gain == pytest.approx(-0.06)
    assert "it was not promoted because it failed on benchmark pope pope/acc" in report.headline
    page = Page(path.read_text())
    text = " ".join(page.text.split())
    assert "Outside benchmarks" in text and "benchmark pope" in text
    assert "0.860 ± 0.010" in text and "beyond 2 errors (0.028): worse" in text
    assert NAME in text and "no errors given" in text
    assert not page.find("script"), "a metric's name is text"


def test_without_any_neither_file_speaks_of_them(tmp_path):
    path = write_report(*build_run(tmp_path))
    assert "benchmarks" not in json.loads((path.parent / "report.json").read_text())
    assert "Outside benchmarks" not in path.read_text()


def test_a_promotion_depends_on_benchmarks_only_where_a_gate_does(run):
    store, record = run
    evaluation, checkpoint = load(store, record, "evaluate"), load(store, record, "train")
    assert isinstance(checkpoint, Checkpoint)
    plain = evaluation.model_copy(update={"benchmarks": {}})

    def compute(config: RefreshConfig, each: EvalReport) -> str:
        policy = PolicyRef(digest=record.policy_digest, folder=store.root)
        return promote.compute_key(config, policy, each, checkpoint)

    config = record.config
    assert compute(config, evaluation) == compute(config, plain)
    gated = config.promote.model_copy(update={"max_loss_benchmarks": LIMITS})
    config = config.model_copy(update={"promote": gated})
    assert compute(config, evaluation) != compute(config, plain)


def test_a_gate_on_what_was_not_asked_keeps_the_pointer():
    config = PromoteConfig(min_gain={}, max_loss={}, max_loss_benchmarks=LIMITS)
    gates = compute_gates(config, {})
    assert gates[0].measured is None and not decide(gates)
    assert (
        "promote.max_loss_benchmarks names only benchmark pope, of which there are no scores"
        in (find_unmeasured(gates) or "")
    )
    assert gates[0].rule.endswith("(not measured: no scores of this task)")
