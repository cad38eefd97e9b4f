"""The report of a training: its curves, and the warning when the best answers lost likelihood."""

from __future__ import annotations

import json
import re
from pathlib import Path

from perpo_core.report import write_report
from perpo_core.report.plots import CURVES
from perpo_core.store.store import Store
from schemas.artifact import Checkpoint, Counts, DegreeReading
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


def test_how_well_degrees_are_told_stands_under_the_curves(tmp_path: Path) -> None:
    """Nothing of it where no degree was told."""
    store, run = build_run(tmp_path, 8, 8)
    path = write_report(store, run)
    assert "Degrees of answers" not in path.read_text(encoding="utf-8")
    assert json.loads((path.parent / "report.json").read_text())["degree_reading"] is None
    reading = DegreeReading(
        step=50, confusion=[[30, 10], [4, 36]],
        prompts=Counts(num_in=50, num_kept=40, dropped={"no box is stated": 10}),
        lists=Counts(num_in=1200, num_kept=1200),
    )  # fmt: skip
    commit_reading(store, run, reading)
    page = write_report(store, run).read_text(encoding="utf-8")
    assert "tells the degree of 82.5% of 80 versions, where chance has 50.0%" in page
    assert "of the true answers to 40 of 50 validation prompts (without versions: 10 no" in page
    assert "no box is stated), at step 50. Of 1,200 lists that were trained on, 1,200" in page
    rows = re.findall(r'<tr><th scope="row">([01])</th>(.*)</tr>', page)
    shares = [re.findall(r">([^<]+)</td>", cells) for _, cells in rows]
    assert shares == [["75%", "25%", "40"], ["10%", "90%", "40"]]
    assert re.findall(r"strong\">([^<]+)<", "".join(cells for _, cells in rows)) == ["75%", "90%"]
    content = json.loads((path.parent / "report.json").read_text())
    assert content["degree_reading"]["confusion"] == [[30, 10], [4, 36]]


def test_a_reading_of_nothing_says_so(tmp_path: Path) -> None:
    store, run = build_run(tmp_path, 8, 8)
    none = Counts(num_in=3, num_kept=0, dropped={"no count is stated": 3})
    empty = DegreeReading(step=50, confusion=[[0, 0], [0, 0]], prompts=none, lists=none)
    assert empty.accuracy is None
    commit_reading(store, run, empty)
    page = write_report(store, run).read_text(encoding="utf-8")
    assert "No validation prompt has a true answer with degraded versions (without" in page
    assert "versions: 3 no count is stated)." in page


def commit_reading(store: Store, run: RunRecord, reading: DegreeReading) -> None:
    checkpoint = store.load("checkpoint", run.stages["train"].key)
    assert isinstance(checkpoint, Checkpoint)
    store.commit(checkpoint.model_copy(update={"degree_reading": reading}))
