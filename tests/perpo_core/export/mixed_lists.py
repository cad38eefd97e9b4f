"""A run whose lists have every shape that a prompt may have: images, turns, a system message."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from perpo_core.store.keys import (
    compute_hash,
    compute_prompt_id,
    compute_sample_id,
)
from perpo_core.store.packs import PackWriter
from perpo_core.store.store import Store
from perpo_core.vision.images import StoredImage, build_stored, hash_pixels
from schemas.arrow import PREFERENCES, SAMPLES
from schemas.artifact import PreferenceSet, SampleSet
from schemas.config import RefreshConfig
from schemas.run import RunRecord
from tests.perpo_core.report.report_fixture import build_record
from tests.perpo_core.small_store import common_fields

Row = dict[str, Any]
IMAGE: Row = {"type": "image", "text": None}
BOX = [0.61, 0.1, 0.774, 0.5399]
REWARDS = (0.9, 0.5, 0.5, -0.25)
"""Two of them equal, one below 0, as that of a GIoU."""


def say(text: str) -> Row:
    return {"type": "text", "text": text}


def user(*parts: Row) -> Row:
    return {"role": "user", "content": list(parts)}


PROMPTS: dict[str, list[Row]] = {
    "plain": [user(IMAGE, say("Where is the 7? \u00a7"))],
    "two images": [user(IMAGE, say("What differs from"), IMAGE, say("?"))],
    "system": [
        {"role": "system", "content": [say("Answer shortly.")]},
        user(IMAGE, say("Where is the 8?")),
    ],
    "turns": [
        user(IMAGE, say("How many?")),
        {"role": "assistant", "content": [say("Two.")]},
        user(say("And here?"), IMAGE),
    ],
}


def build_mixed_run(
    root: Path,
    prompts: dict[str, list[Row]] = PROMPTS,
    pictures: Sequence[StoredImage] | None = None,
) -> tuple[Store, RunRecord]:
    """A list of four answers for each prompt, about the last pictures; the record of the run."""
    store, config = Store(root), RefreshConfig(name="mixed", store=root)
    pictures = pictures or [build_picture(number) for number in range(3)]
    rows = [
        build_row(name, messages, [p.image_hash for p in pictures])
        for name, messages in prompts.items()
    ]
    samples = commit_samples(store, rows, pictures)
    preferences = commit_lists(store, [build_list(row) for row in rows])
    return store, build_record(config, root, [samples, preferences])


def build_picture(number: int) -> StoredImage:
    image = Image.new("RGB", (30, 20), (number * 80, 20, 20))
    return store_picture(image, "JPEG" if number == 2 else "PNG")


def store_picture(image: Image.Image, file_format: str = "PNG") -> StoredImage:
    buffer = io.BytesIO()
    image.save(buffer, format=file_format)
    return build_stored(buffer.getvalue(), image.size, image.size, hash_pixels(image))


def build_row(name: str, messages: list[Row], image_hashes: list[str]) -> Row:
    num_images = sum(part["type"] == "image" for m in messages for part in m["content"])
    images = image_hashes[-num_images:]
    prompt_id = compute_prompt_id(images, messages)
    target: Any = {"box": BOX, "text": None, "count": None}
    return {
        "sample_id": compute_sample_id(prompt_id, target), "prompt_id": prompt_id,
        "task": "grounding", "split": "train", "image_id": images[0], "images": images,
        "width": 30, "height": 20, "prompt": messages, "target": target, "source": f"made|{name}",
        "licence": "CC BY 4.0", "row": name,
    }  # fmt: skip


def build_list(row: Row) -> Row:
    responses = [
        {"index": i, "candidate_hash": compute_hash([row["sample_id"], i]), "text": f"[0.{i}, 1.0]",
         "token_ids": [i], "reward": reward, "rank": sorted(set(REWARDS))[::-1].index(reward),
         "logp": -1.0 * i}
        for i, reward in enumerate(REWARDS)
    ]  # fmt: skip
    shared = {name: row[name] for name in PREFERENCES.names if name in row}
    return {**shared, "responses": responses, "reward_gap": REWARDS[0] - REWARDS[-1]}


def commit_samples(store: Store, rows: list[Row], pictures: Sequence[StoredImage]) -> SampleSet:
    workspace = store.open_workspace("samples", compute_hash(["samples", "key"]))
    files = [workspace.write_table("part-00000.parquet", pa.Table.from_pylist(rows, SAMPLES))]
    with PackWriter(workspace, compute_hash("looking")) as writer:
        for picture in pictures:
            writer.add(picture, picture.image_hash)
    fields = common_fields("collect", "samples", len(rows), [*files, *writer.files])
    return store.commit(SampleSet(**fields, per_split={"grounding/train": len(rows)}))


def commit_lists(store: Store, lists: list[Row]) -> PreferenceSet:
    workspace = store.open_workspace("preferences", compute_hash(["preferences", "key"]))
    table = pa.Table.from_pylist(lists, PREFERENCES)
    files = [workspace.write_table("part-00000.parquet", table)]
    fields = common_fields("materialize", "preferences", len(lists), files)
    return store.commit(
        PreferenceSet(**fields, num_lists={"grounding": len(lists)}, mean_list_size=4.0)
    )
