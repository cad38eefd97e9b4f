"""Rows as they really come, rewards of one's own and a judge: a whole refresh, and its pages.

Boxes in the second of two images after a system message, objects of which there may be none, and
questions with three accepted answers. Boxes are rewarded by a mixture with one's own function,
short answers by one with a judge on a vLLM server of its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from perpo_core.stages.collect.sources.digits import compose_scene, encode_png
from schemas.base import SPLITS, Split
from tests.flows.whole import load_report, run_perpo
from tests.vllm_server import JUDGE, serve_builtin

NUM_SCENES = {"train": 12, "selection": 3, "validation": 4, "test": 6}  # of each task
CONFIG = """
name = "mixed"
store = "{store}"

[source]
kind = "jsonl"
files = ["rows.jsonl"]

[policy]
max_model_len = 1024

[generate]
num_candidates = 8
processes = 1
threads = 1

[score]
detection = "matched_iou"

[score.grounding]
reward = {{ iou = 1.0, "rewards_of_mine:fits" = 0.1 }}
clip = [0.0, 1.0]

[score.vqa]
reward = {{ edit_similarity = 1.0, judge = 0.2 }}

[score.vqa.options.judge]
instruction = "judge.txt"
base_url = "{url}"
{judge}

[lists]
min_gap = {{ grounding = 0.02, detection = 0.02, vqa = 0.02 }}

[train]
learning_rate = 3e-4
batch_lists = 4
micro_batch_lists = 4
eval_every_steps = 4
threads = 1

[evaluate]
num_samples = 2
bootstrap_resamples = 200
"""
REWARD = '''
async def fits(completions, target, images, **kwargs):
    """Whether a number is written for each side of the box, and there are two images to look at."""
    return [
        float(completion[0]["content"].count(",") == 3 and len(shown) == 2)
        for completion, shown in zip(completions, images)
    ]
'''


def build_rows(folder: Path, split: Split, index: int) -> list[dict[str, Any]]:
    """A row of each task."""

    def draw(task: Any, number: int) -> tuple[str, Any]:
        scene = compose_scene(split, task, number, seed=6)
        name = f"{task}-{split}-{number}.png"
        (folder / name).write_bytes(encode_png(scene.image))
        return name, scene.questions[0]

    other, _ = draw("grounding", 3 * index)
    box, asked_box = draw("grounding", 3 * index + 1)
    objects, asked_objects = draw("grounding", 3 * index + 2)
    text, asked_text = draw("ocr", index)
    found = [] if index % 4 == 3 else [asked_objects.target]
    shared = {"split": split, "licence": "CC-BY-4.0"}
    return [
        shared | {"task": "grounding", "images": [other, box], "image_number": 2,
                  "system": "Answer with a box.", "prompt": asked_box.prompt,
                  "box_norm": asked_box.target},
        shared | {"task": "detection", "image": objects, "prompt": asked_objects.prompt,
                  "boxes_norm": found},
        shared | {"task": "vqa", "image": text, "prompt": asked_text.prompt,
                  "answers": [asked_text.target, f"It says {asked_text.target}.", "digits"]},
    ]  # fmt: skip


def write_data(folder: Path, url: str) -> Path:
    rows = [
        row
        for split in SPLITS
        for index in range(NUM_SCENES[split])
        for row in build_rows(folder, split, index)
    ]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "rewards_of_mine.py").write_text(REWARD)
    (folder / "judge.txt").write_text("Say how well the answer fits, from 0 to 10.")
    judge = "\n".join(f"{name} = {write_toml(value)}" for name, value in JUDGE.items())
    path = folder / "mixed.toml"
    path.write_text(CONFIG.format(store=folder / "store", url=url, judge=judge))
    return path


def write_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {write_toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(value)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_mixed_rows_and_outside_rewards_run_through_a_refresh(tmp_path: Path) -> None:
    with serve_builtin(tmp_path) as url:
        config = write_data(tmp_path, url)
        assert "error" not in run_perpo("doctor", config)
        run_perpo("refresh", config)
    store = tmp_path / "store"
    report = load_report(store)
    assert report["status"] == "completed" and report["missing"] == {}
    assert set(report["metrics"]) == {"grounding", "detection", "vqa"}
    counts = report["counts"]
    assert counts["score"]["num_kept"] == counts["score"]["num_in"] == 8 * 3 * NUM_SCENES["train"]
    assert counts["materialize"]["num_kept"] > 10
    parts = {
        row["task"]: {name for name, _ in row["rewards"]}
        for path in (store / "scores").glob("*/part-*.parquet")
        for row in pq.read_table(path).to_pylist()
    }
    assert parts == {
        "grounding": {"iou", "rewards_of_mine:fits"},
        "detection": {"matched_iou"},
        "vqa": {"edit_similarity", "judge"},
    }
    assert len(list((store / "judge").glob("*/*.json"))) > 10
    [page] = (store / "reports").glob("*/report.html")
    html = page.read_text()
    assert "rewards_of_mine:fits" in html and "judge" in html

    # Without its server and with the same command: nothing is asked, every stage is reused.
    again = run_perpo("refresh", config)
    assert "made" not in again or "reused" in again
