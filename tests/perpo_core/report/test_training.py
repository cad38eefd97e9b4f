"""The report of a training: its curves, and the warning when the best answers lost likelihood."""

from __future__ import annotations

import json
from pathlib import Path

from perpo_core.report import write_report
from perpo_core.report.plots import CURVES
from perpo_core.store.store import Store
from schemas.artifact import Checkpoint
from schemas.run import RunRecord
from schemas.train_config import TrainConfig
from tests.perpo_core.report.report_fixture import build_run


def change_metrics(store: Store, run: RunRecord, metrics: dict[str, float]) -> None:
    """Every step of the training with these metrics alone."""
    checkpoint = store.load("checkpoint", run.stages["train"].key)
    assert isinstance(checkpoint, Checkpoint)
    history = [point.model_copy(update={"metrics": metrics}) for point in checkpoint.history]
    store.commit(checkpoint.model_copy(update={"history": history}))


def load_warnings(path: Path) -> list[str]:
    content = json.loads((path.parent / "report.json").read_text())
    return list(content["warnings"])


def test_displacement_is_a_warning_in_both_files(tmp_path: Path) -> None:
    store, run = build_run(tmp_path, 8, 8, train=TrainConfig(displacement_nats=2.0))
    path = write_report(store, run)
    assert load_warnings(path) == []
    assert 'class="warning"' not in path.read_text(encoding="utf-8")
    change_metrics(store, run, {"logps/chosen_change": -1.5})
    assert load_warnings(write_report(store, run)) == []
    change_metrics(store, run, {"logps/chosen_change": -2.5})
    (warning,) = load_warnings(write_report(store, run))
    assert warning.startswith("step 25: the best answers are 2.5 nats less likely")
    assert f'<p class="warning"><b>Warning</b> {warning}.</p>' in path.read_text(encoding="utf-8")


def test_curves_are_drawn_of_the_metrics_there_are(tmp_path: Path) -> None:
    """All of them; then those of an objective that needs no reference."""
    store, run = build_run(tmp_path, 8, 8)
    page = write_report(store, run).read_text(encoding="utf-8")
    assert all(f"<b>{curve.title}</b>" in page for curve in CURVES)
    change_metrics(store, run, {"logps/chosen": -20.0, "logps/rejected": -30.0})
    page = write_report(store, run).read_text(encoding="utf-8")
    shown = [curve.title for curve in CURVES if f"<b>{curve.title}</b>" in page]
    assert shown == ["Loss", "Gradient norm"]
