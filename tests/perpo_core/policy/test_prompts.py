"""Prompts as they are read from samples, shared out into shards and seeded."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from perpo_core.policy.prompts import Prompt, iter_prompts, list_prompt_ids
from perpo_core.stages import generate
from perpo_core.stages.generate.shards import list_shards
from perpo_core.stages.samples import list_sample_files
from perpo_core.store.keys import derive_seed
from perpo_core.store.store import Store
from perpo_core.vision.images import encode_for_store
from schemas.arrow import SAMPLES
from schemas.run import PolicyRef, SampleFiles
from tests.perpo_core.small_store import (
    BOX,
    POLICY_DIGEST,
    build_context,
    build_sample_row,
    commit_samples,
)


def write_samples(root: Path, rows: list[dict[str, Any]], num_parts: int = 1) -> SampleFiles:
    """A set of so many parts."""
    store = Store(root / "store")
    files = list_sample_files(store, commit_samples(store, rows))
    size = -(-len(rows) // num_parts)
    parts = [root / f"{number}.parquet" for number in range(num_parts)]
    for number, part in enumerate(parts):
        mine = rows[number * size : (number + 1) * size]
        pq.write_table(pa.Table.from_pylist(mine, schema=SAMPLES), part, row_group_size=2)
    return files.model_copy(update={"parts": parts})


def test_prompts_are_distinct_and_in_the_files_order(tmp_path):
    first, second = (build_sample_row(n, "grounding", BOX) for n in (9, 4))
    again = build_sample_row(9, "grounding", [0.1, 0.1, 0.2, 0.2])  # another truth, same prompt
    held_out = build_sample_row(5, "grounding", BOX, split="test")
    files = write_samples(tmp_path, [first, held_out, again, second])
    assert [p.prompt_id for p in iter_prompts(files, ["train"])] == [
        first["prompt_id"], second["prompt_id"],
    ]  # fmt: skip
    assert [p.prompt_id for p in iter_prompts(files, ["test"])] == [held_out["prompt_id"]]
    assert list(iter_prompts(files, ["validation"])) == []


def test_messages_lose_the_none_that_arrow_adds_and_images_their_mode(tmp_path):
    files = write_samples(tmp_path, [build_sample_row(7, "ocr", "1")])
    (prompt,) = iter_prompts(files, ["train"])
    assert prompt.messages == [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Question ocr"}]}
    ]
    (image,) = prompt.open_images()
    assert (image.mode, image.size, image.getpixel((3, 3))) == ("RGB", (20, 10), (7, 7, 7))


@pytest.mark.parametrize(
    ("num_rows", "shard_prompts", "sizes"), [(7, 3, [3, 3, 1]), (6, 3, [3, 3]), (2, 5, [2])]
)
def test_shards_hold_so_many_prompts_and_the_last_one_the_rest(
    tmp_path, num_rows, shard_prompts, sizes
):
    rows = [build_sample_row(number, "counting", 1) for number in range(num_rows)]
    files = write_samples(tmp_path, rows)
    request = generate.build_request(
        build_context(tmp_path, generate={"shard_prompts": shard_prompts}).config
    )
    policy = PolicyRef(digest=POLICY_DIGEST, folder=tmp_path)
    shards = list_shards(files, request, policy)
    assert [len(shard.prompt_ids) for shard in shards] == sizes
    assert [i for shard in shards for i in shard.prompt_ids] == [row["prompt_id"] for row in rows]


def test_wanted_prompts_alone_are_read_whatever_files_they_lie_in(tmp_path):
    rows = [build_sample_row(number, "counting", number) for number in range(9)]
    files = write_samples(tmp_path, rows, num_parts=2)
    ids = list_prompt_ids(files, ["train"])
    wanted = [ids[0], ids[5], ids[8]]
    assert [p.prompt_id for p in iter_prompts(files, ["train"], set(wanted))] == wanted
    assert list(iter_prompts(files, ["train"], set())) == []
    assert [p.prompt_id for p in iter_prompts(files, ["train"])] == ids


def test_prompts_are_read_lazily(tmp_path):
    rows = [build_sample_row(number, "counting", 1) for number in range(3)]
    files = write_samples(tmp_path, rows)
    prompts = iter_prompts(files, ["train"])
    assert next(prompts).prompt_id == rows[0]["prompt_id"]
    prompts.close()  # type: ignore[attr-defined]


def test_a_prompts_seed_depends_on_run_seed_and_prompt_alone():
    seeds = {derive_seed(run, prompt) for run in range(20) for prompt in ("a", "b", "c")}
    assert len(seeds) == 60
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert derive_seed(3, "a") == derive_seed(3, "a")


def test_what_collect_takes_by_the_largest_settings_the_engines_open_too():
    side = 14_000
    encoded = io.BytesIO()
    Image.new("L", (side, side), 200).save(encoded, "PNG")  # more than Pillow opens by itself
    stored = encode_for_store(encoded.getvalue(), "a row", max_megapixels=1000, max_side=16384)
    assert (stored.width, stored.height) == (side, side)
    (image,) = Prompt("p", [], [stored.data]).open_images()
    assert (image.mode, image.size) == ("RGB", (side, side))
