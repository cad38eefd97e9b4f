"""Questions about two images, system messages and earlier turns through a whole refresh."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from perpo_core.stages.collect.sources.digits import compose_scene, encode_png
from schemas.base import SPLITS
from tests.flows.whole import load_report, run_perpo

NUM_SCENES = {"train": 24, "selection": 6, "validation": 8, "test": 8}
CONFIG = """
name = "two-images"
store = "{store}"

[source]
kind = "jsonl"
files = ["rows.jsonl"]
images = "pictures"

[policy]
max_model_len = 1024

[generate]
num_candidates = 8
processes = 1
threads = 1

[lists]
min_gap = {{ grounding = 0.02 }}  # the built-in policy knows no second image

[train]
objective = "mdpo"
learning_rate = 3e-4
batch_lists = 4
micro_batch_lists = 4
eval_every_steps = 3
threads = 1

[evaluate]
num_samples = 2
bootstrap_resamples = 200
"""


def build_row(split: str, index: int, names: list[str], question: Any) -> dict[str, Any]:
    """In turn: a box in the second image, a box after an earlier turn, either of two boxes."""
    row = {"task": "grounding", "split": split, "box_norm": question.target}
    row |= {"prompt": question.prompt}
    match index % 3:
        case 0:
            return row | {"images": names, "image_number": 2, "system": "Answer with a box."}
        case 1:
            earlier = {"role": "user", "content": "<image> What is this?"}
            turns = [earlier, {"role": "assistant", "content": "a 7"}]
            asked = {"role": "user", "content": f"<image>\n{question.prompt}"}
            return {k: v for k, v in row.items() if k != "prompt"} | {
                "images": names, "image_number": 2, "messages": [*turns, asked],
            }  # fmt: skip
        case _:
            return row | {"image": names[1], "box_norm": [question.target, [0.0, 0.0, 0.25, 0.25]]}


def write_rows(folder: Path) -> Path:
    (folder / "pictures").mkdir()
    lines = []
    for split in SPLITS:
        for index in range(NUM_SCENES[split]):
            scenes = [compose_scene(split, "grounding", 2 * index + n, seed=6) for n in range(2)]
            names = [f"{split}-{index}-{number}.png" for number in range(2)]
            for name, scene in zip(names, scenes, strict=True):
                (folder / "pictures" / name).write_bytes(encode_png(scene.image))
            [question] = scenes[1].questions
            lines.append(json.dumps(build_row(split, index, names, question)))
    (folder / "rows.jsonl").write_text("\n".join(lines))
    path = folder / "two-images.toml"
    path.write_text(CONFIG.format(store=folder / "store"))
    return path


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_images_and_turns_run_through_a_refresh(tmp_path: Path) -> None:
    config = write_rows(tmp_path)
    assert "error" not in run_perpo("doctor", config)
    run_perpo("refresh", config)
    store = tmp_path / "store"
    report = load_report(store)
    assert report["status"] == "completed" and report["missing"] == {}
    assert report["counts"]["materialize"]["num_kept"] > 10
    assert 0 < report["metrics"]["grounding"]["mean_iou"]["base"] < 1
    [samples] = (store / "samples").glob("*/part-00000.parquet")
    roles = {
        tuple(message["role"] for message in row["prompt"])
        for row in pq.read_table(samples).to_pylist()
    }
    assert roles == {("system", "user"), ("user", "assistant", "user"), ("user",)}
    [page] = (store / "reports").glob("*/report.html")
    cards = page.read_text().split("<article")[1:]
    assert {card.count("<img") for card in cards} == {1, 2}
    drawn = [card for card in cards if card.count("<img") == 2]
    assert all("<rect" in card.rpartition("<img")[2] for card in drawn), "boxes of the second image"
    assert not any("<rect" in card.rpartition("<img")[0] for card in drawn)
