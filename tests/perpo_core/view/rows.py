"""A store with the rows of one run as its stages leave them, for looking at: hand-made, and any
number of lists.

The first samples are what real ones may be: hostile texts, two images and several turns, several
accepted truths, boxes in the second image, an answer nobody could read.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from flows.runs.records import write_record
from perpo_core.store.keys import compute_digest, compute_hash
from perpo_core.store.packs import PackWriter
from perpo_core.store.provenance import describe_producer
from perpo_core.store.store import Store
from perpo_core.vision.images import StoredImage, build_stored, hash_pixels
from schemas.arrow import CANDIDATES, DROPPED, PREDICTIONS, PREFERENCES, SAMPLES, SCORES
from schemas.artifact import (
    AnyArtifact,
    CandidateSet,
    Counts,
    EvalReport,
    FileRef,
    PreferenceSet,
    SampleSet,
    ScoredSet,
)
from schemas.config import RefreshConfig
from schemas.run import RunRecord, StageRecord

AT = datetime(2025, 3, 14, 9, 26, tzinfo=UTC)
POLICY = "b" * 64
SCRIPT = "<script>alert(1)</script>\" onmouseover='alert(2)' <img src=x onerror=alert(3)>"
BIDI = "abc\u202egnp.exe\u2066\x1b[31m\x00"
NUM_ANSWERS = 4
PART = "part-00000.parquet"
Row = dict[str, Any]


def encode_picture(number: int) -> bytes:
    """A picture of rectangles, told apart by its number."""
    image = Image.new("RGB", (240, 160 + number), (244, 244 - number, 240))
    draw = ImageDraw.Draw(image)
    for step in range(6):
        corner = (15 + 36 * step, 20 + (37 * (step + number)) % 90)
        draw.rectangle(
            (*corner, corner[0] + 26, corner[1] + 30), fill=(40 * step, 90, 200 - 30 * step)
        )
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def build_image(data: bytes, size: tuple[int, int] = (240, 160)) -> StoredImage:
    try:
        image = Image.open(io.BytesIO(data)).convert("RGB")
    except OSError:  # something else that somebody put there
        return build_stored(data, size, size, "0" * 64)
    return build_stored(data, image.size, image.size, hash_pixels(image))


def ask(*texts: str, num_images: int = 1, system: str | None = None) -> list[Row]:
    """Messages: the images, then the turns."""
    images = [{"type": "image", "text": None}] * num_images
    turns = [{"role": "user" if n % 2 == 0 else "assistant",
              "content": [*(images if n == 0 else []), {"type": "text", "text": text}]}
             for n, text in enumerate(texts)]  # fmt: skip
    first = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system else []
    return first + turns


def build_sample(name: str, task: str, images: list[StoredImage], prompt: list[Row], target: Row,
                 split: str = "train") -> Row:  # fmt: skip
    return {
        "sample_id": compute_hash(["sample", name]),
        "prompt_id": compute_hash(["prompt", name]),
        "task": task,
        "split": split,
        "image_id": images[0].pixels_hash,
        "images": [image.image_hash for image in images],
        "width": images[0].width,
        "height": images[0].height,
        "prompt": prompt,
        "target": {"box": None, "text": None, "count": None, **target},
        "source": "made by hand",
        "licence": "CC0-1.0",
        "row": f"rows.jsonl, row {name}",
    }


def build_samples(images: list[StoredImage]) -> list[Row]:
    """Those of the first part, and held-out ones."""
    one, two = images[0], images[1]
    boxes = {"boxes": [[0.05, 0.1, 0.2, 0.4], [0.5, 0.5, 0.7, 0.8], [0.8, 0.1, 0.95, 0.4]]}
    other = {"box": [0.55, 0.2, 0.75, 0.6], "text": None, "count": None}
    several = {"box": [0.1, 0.2, 0.3, 0.6], "image": 1, "others": [other]}
    turns = ask("What is in both?", "A red square.", "Where is it in the second?", num_images=2,
                system="Answer with a box.")  # fmt: skip
    accepted = {"text": "VALVE", "others": [{"box": None, "text": "VALVES", "count": None}]}
    return [
        build_sample("hostile", "ocr", [one], ask(SCRIPT, system=BIDI),
                     {"text": f"{SCRIPT} {BIDI}"}),
        build_sample("two-images", "grounding", [one, two], turns, several),
        build_sample("many-boxes", "grounding", [two], ask("Every square?"), boxes),
        build_sample("accepted", "ocr", [one], ask("Read the sign."), accepted),
        build_sample("no-list", "counting", [two], ask("How many?"), {"count": 6}),
        build_sample("held-1", "grounding", [one], ask("Where is the moon?"),
                     {"box": [0.2, 0.2, 0.4, 0.5]}, "test"),
        build_sample("held-2", "ocr", [two], ask("Read the moon."), {"text": "LUNA"}, "validation"),
    ]  # fmt: skip


def answer_of(sample: Row, index: int) -> str:
    """Grounding answers drift away from the truth, texts lose letters; the last is unreadable."""
    target = sample["target"]
    if sample["task"] == "grounding":
        box = target["box"] or target["boxes"][0]
        corners = [min(1.0, value + 0.04 * index) for value in box]
        return "no idea" if index == NUM_ANSWERS - 1 else str([round(v, 2) for v in corners])
    if sample["task"] == "counting":
        return "6"
    return str(target["text"])[index:]


def build_list(sample: Row) -> Row:
    responses = [
        {"index": n, "candidate_hash": compute_hash([sample["sample_id"], n]),
         "text": answer_of(sample, n), "token_ids": [1, 2, 3] * 20, "reward": 1 - 0.3 * n,
         "rank": n, "logp": -1.0}
        for n in range(NUM_ANSWERS - 1)
    ]  # fmt: skip
    names = ("sample_id", "prompt_id", "task", "images", "prompt", "target")
    return {**{name: sample[name] for name in names}, "responses": responses, "reward_gap": 0.6}


def build_candidates(samples: list[Row]) -> list[Row]:
    return [
        {"prompt_id": sample["prompt_id"], "index": n, "policy_digest": POLICY,
         "candidate_hash": compute_hash([sample["sample_id"], n]), "text": answer_of(sample, n),
         "token_ids": [1], "token_logps": [-1.0], "logp": -1.0, "finish_reason": "stop", "seed": 0}
        for sample in samples for n in range(NUM_ANSWERS)
    ]  # fmt: skip


def build_scores(samples: list[Row]) -> list[Row]:
    rows = []
    for sample in samples:
        for n in range(NUM_ANSWERS):
            is_bad = n == NUM_ANSWERS - 1 and sample["task"] == "grounding"
            rewards = [("iou", 1 - 0.3 * n), ("format", 0.5)]
            rows.append(
                {"sample_id": sample["sample_id"], "prompt_id": sample["prompt_id"], "index": n,
                 "candidate_hash": compute_hash([sample["sample_id"], n]), "task": sample["task"],
                 "reward": 0.0 if is_bad else 1 - 0.3 * n, "rewards": rewards, "parsed": None,
                 "error": f"no box in {SCRIPT}" if is_bad else None}
            )  # fmt: skip
    return rows


def build_predictions(samples: list[Row]) -> list[Row]:
    rows = []
    for policy, gain in (("base", 0.0), ("trained", 0.4)):
        for sample in samples:
            for index in range(-1, 2):
                text = answer_of(sample, 2 if policy == "base" else 0)
                rows.append(
                    {"sample_id": sample["sample_id"], "image_id": sample["image_id"],
                     "task": sample["task"], "split": sample["split"], "policy": policy,
                     "index": index, "text": text, "reward": 0.5 + gain,
                     "error": "no box" if policy == "base" and sample["task"] == "grounding"
                     else None}
                )  # fmt: skip
    return rows


def build_store(
    root: Path, num_more: int = 0, part_lists: int = 1024, extra_images: Iterable[bytes] = ()
) -> tuple[Store, RunRecord]:
    """A run with the samples above, and `num_more` further lists in parts of their own."""
    store = Store(root)
    images = [build_image(encode_picture(0)), build_image(encode_picture(1))]
    more = [build_image(data) for data in extra_images]
    samples = build_samples(images)
    train = [sample for sample in samples if sample["split"] == "train"]
    held = [sample for sample in samples if sample["split"] != "train"]
    workspace = store.open_workspace("samples", compute_hash(["samples", num_more]))
    with PackWriter(workspace, compute_hash("looking")) as packs:
        for image in (*images, *more):
            packs.add(image, "0" * 64)
    part = workspace.write_table(PART, _tabulate(samples, SAMPLES), 64)
    bulk = list(range(0, num_more, part_lists))
    sizes = [min(part_lists, num_more - start) for start in bulk]
    files = [part, *_write_bulk(workspace, samples[1], SAMPLES, bulk, sizes), *packs.files]
    dropped = [_drop("collect", "rows.jsonl:7", "bad box", f"x {SCRIPT}")]
    files.append(workspace.write_table("dropped.parquet", _tabulate(dropped, DROPPED)))
    made: list[AnyArtifact] = [
        SampleSet(**_describe("collect", workspace.key, files, len(samples)), per_split={})
    ]
    made.append(_make_candidates(store, train, num_more))
    made.append(_make_scores(store, train, num_more))
    made.append(_make_lists(store, train, num_more, bulk, sizes))
    made.append(_make_evaluation(store, held, num_more))
    return store, _record(store, [store.commit(each) for each in made])


def _make_candidates(store: Store, train: list[Row], num_more: int) -> AnyArtifact:
    workspace = store.open_workspace("candidates", compute_hash(["candidates", num_more]))
    rows = build_candidates(train)
    file = workspace.write_table(PART, _tabulate(rows, CANDIDATES))
    return CandidateSet(
        **_describe("generate", workspace.key, [file], len(rows)), policy_digest=POLICY,
        num_prompts=len(train), num_candidates=len(rows), num_tokens=len(rows),
    )  # fmt: skip


def _make_scores(store: Store, train: list[Row], num_more: int) -> AnyArtifact:
    workspace = store.open_workspace("scores", compute_hash(["scores", num_more]))
    rows = build_scores(train)
    file = workspace.write_table(PART, _tabulate(rows, SCORES))
    return ScoredSet(**_describe("score", workspace.key, [file], len(rows)), mean_reward={})


def _make_lists(
    store: Store, train: list[Row], num_more: int, bulk: list[int], sizes: list[int]
) -> AnyArtifact:
    workspace = store.open_workspace("preferences", compute_hash(["preferences", num_more]))
    kept = [sample for sample in train if sample["task"] != "counting"]
    lists = [build_list(sample) for sample in kept]
    files = [workspace.write_table(PART, _tabulate(lists, PREFERENCES), 64)]
    files += _write_bulk(workspace, lists[1], PREFERENCES, bulk, sizes)
    counted = next(sample for sample in train if sample["task"] == "counting")
    dropped = [_drop("materialize", counted["sample_id"], "all equal", "all 1")]
    dropped += [_drop("materialize", f"{each['sample_id']}/3", "no reward", "no box")
                for each in kept]  # fmt: skip
    files.append(workspace.write_table("dropped-00000.parquet", _tabulate(dropped, DROPPED)))
    described = _describe("materialize", workspace.key, files, len(lists) + num_more)
    return PreferenceSet(**described, num_lists={}, mean_list_size=3)


def _make_evaluation(store: Store, held: list[Row], num_more: int) -> AnyArtifact:
    workspace = store.open_workspace("evaluation", compute_hash(["evaluation", num_more]))
    rows = build_predictions(held)
    file = workspace.write_table("predictions.parquet", _tabulate(rows, PREDICTIONS))
    described = _describe("evaluate", workspace.key, [file], len(rows))
    return EvalReport(**described, metrics={}, validation={}, headroom_closed={})


def _write_bulk(
    workspace: Any, like: Row, schema: pa.Schema, starts: list[int], sizes: list[int]
) -> list[FileRef]:
    """Parts of rows like one, each with an id of its own and a gap that falls with its number."""
    files = []
    for number, (start, size) in enumerate(zip(starts, sizes, strict=True), start=1):
        table = pa.Table.from_pylist([like], schema).take(pa.array(np.zeros(size, np.int64)))
        ids = [f"{start + n:016x}{'0' * 48}" for n in range(size)]
        table = _replace(table, "sample_id", pa.array(ids))
        if "reward_gap" in schema.names:
            gaps = 1 - (start + np.arange(size)) / 1e6
            table = _replace(table, "reward_gap", pa.array(gaps))
        files.append(workspace.write_table(f"part-{number:05d}.parquet", table, 64))
    return files


def _replace(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), table.schema.field(name), values)


def _tabulate(rows: list[Row], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(rows, schema)


def _drop(stage: str, name: str, reason: str, detail: str) -> Row:
    return {"stage": stage, "id": name, "reason": reason, "detail": detail}


def _describe(stage: str, key: str, files: list[FileRef], num_rows: int) -> dict[str, Any]:
    return {
        "stage": stage,
        "key": key,
        "digest": compute_digest(files),
        "files": files,
        "counts": Counts(num_in=num_rows, num_kept=num_rows),
        "parents": [],
        "producer": describe_producer(seed=0, threads=1),
        "created_at": AT,
        "seconds": 1.0,
    }


def _record(store: Store, made: list[AnyArtifact]) -> RunRecord:
    config = RefreshConfig.model_validate(
        {"name": "view", "store": store.root, "policy": {"box_format": "norm1"}}
    )
    record = RunRecord(
        run_id="view-20250314-092600",
        status="completed",
        config=config,
        policy_digest=POLICY,
        policy_folder=store.root,
        stages={
            each.stage: StageRecord(kind=each.kind, key=each.key, digest=each.digest, reused=False,
                                    seconds=1.0)
            for each in made
        },
        started_at=AT,
        ended_at=AT,
    )  # fmt: skip
    write_record(store, record)
    return record
