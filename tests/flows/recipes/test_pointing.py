"""A fourth task from its one file to the report: rows of points and boxes, a whole refresh."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perpo_core.stages.collect.sources.digits import compose_scene, encode_png
from schemas.base import SPLITS
from tests.flows.whole import load_report, run_perpo

NUM_SCENES = {"train": 24, "selection": 6, "validation": 12, "test": 12}
CONFIG = """
name = "pointing"
store = "{store}"

[source]
kind = "jsonl"
files = ["rows.jsonl"]

[generate]
num_candidates = 8
processes = 1
threads = 1

[train]
learning_rate = 3e-4
batch_lists = 4
micro_batch_lists = 4
eval_every_steps = 3
threads = 1

[evaluate]
num_samples = 2
bootstrap_resamples = 200

[promote]
min_gain = {{ pointing = {{ sampled_reward = 0.0 }} }}
max_loss = {{ pointing = {{ hits = 0.2, distance = 0.1 }} }}
"""


def write_rows(folder: Path) -> Path:
    """Scenes of digits; every other one is asked about by its middle, the rest by the box."""
    lines = []
    for split in SPLITS:
        for index in range(NUM_SCENES[split]):
            scene = compose_scene(split, "grounding", index, seed=6)
            [question] = scene.questions
            assert isinstance(question.target, tuple)
            x1, y1, x2, y2 = question.target
            name = f"{split}-{index}.png"
            (folder / name).write_bytes(encode_png(scene.image))
            middle = [(x1 + x2) / 2, (y1 + y2) / 2]
            truth = {"point_norm": middle} if index % 2 else {"box_norm": [x1, y1, x2, y2]}
            row = {"task": "pointing", "image": name, "prompt": question.prompt, "split": split}
            lines.append(json.dumps(row | truth))
    (folder / "rows.jsonl").write_text("\n".join(lines))
    path = folder / "pointing.toml"
    path.write_text(CONFIG.format(store=folder / "store"))
    return path


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_pointing_runs_through_a_refresh_into_report_and_trends(tmp_path: Path) -> None:
    config = write_rows(tmp_path)
    said = run_perpo("doctor", config)
    assert "error" not in said
    said = run_perpo("refresh", config)
    report = load_report(tmp_path / "store")
    assert report["status"] == "completed" and report["missing"] == {}
    metrics = report["metrics"]["pointing"]
    assert {"hits", "distance", "greedy_reward", "sampled_reward", "best_of_n"} == set(metrics)
    assert 0 < metrics["hits"]["base"] < 1, "boxes of the built-in policy are pointed at by half"
    assert metrics["distance"]["base"] < 0.25
    assert report["counts"]["materialize"]["num_kept"] > 10
    gates = {gate["metric"] for gate in report["promotion"]["gates"]}
    assert gates == {"sampled_reward", "hits", "distance"}
    assert "pointing" in said and "share of hits" in said
    [page] = (tmp_path / "store" / "reports").glob("*/report.html")
    html = page.read_text()
    assert 'class="card pointing drawn' in html and "box point truth" in html
    trends = run_perpo("trends", "--store", tmp_path / "store")
    assert (
        "pointing" in trends
        or "pointing" in (tmp_path / "store" / "reports" / "trends.html").read_text()
    )
