"""Samples with other images, in a store: real pictures, what is asked of which, what is shared."""

from __future__ import annotations

import io
import random
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from perpo_core.policy.prompts import iter_prompts
from perpo_core.stages.altering.crops import crop_image
from perpo_core.stages.probing import make_probed_samples, read_probed
from perpo_core.stages.samples import list_sample_files
from perpo_core.store.keys import compute_prompt_id, compute_sample_id
from perpo_core.store.packs import Images
from perpo_core.vision.images import build_stored, hash_pixels
from perpo_core.vision.stored import open_stored
from schemas.artifact import SampleSet
from tests.perpo_core.small_store import (
    BOX,
    build_context,
    build_sample_row,
    commit_samples,
    read_rows,
)


def build_row(number: int, split: str = "test", size: tuple[int, int] = (20, 10)) -> dict[str, Any]:
    """A picture whose pixels are not alike; width and height in pixels."""
    row = build_sample_row(number, "grounding", BOX, split)
    noise = random.Random(number).randbytes(3 * size[0] * size[1])
    image = Image.frombytes("RGB", size, noise)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    stored = build_stored(buffer.getvalue(), image.size, image.size, hash_pixels(image))
    prompt_id = compute_prompt_id([stored.image_hash], row["prompt"])
    return row | {
        "sample_id": compute_sample_id(prompt_id, row["target"]),
        "prompt_id": prompt_id,
        "image_id": stored.pixels_hash,
        "images": [stored.image_hash],
        "width": size[0],
        "height": size[1],
        "image": stored,
        "file_hash": stored.image_hash,
    }


def build_rows(number: int, split: str = "test") -> list[dict[str, Any]]:
    return [build_row(n + 50 * (split == "train"), split) for n in range(number)]


def probe(context: Any, samples: SampleSet, number: int) -> SampleSet:
    made = make_probed_samples(context, samples, number)
    assert made is not None
    return made


def test_every_way_shows_what_it_says(tmp_path):
    context = build_context(tmp_path)
    rows = [*build_rows(4), *build_rows(2, "train")]
    samples = commit_samples(context.store, rows)
    made = probe(context, samples, 9)
    asked = read_probed(context.store, made)
    by_id = {row["sample_id"]: row for row in rows[:4]}
    assert {(each.way, each.sample_id) for each in asked} == {
        (way, sample_id) for way in ("blank", "shuffled", "cropped") for sample_id in by_id
    }, "the test split alone"
    files = list_sample_files(context.store, made)
    images, own = Images(files.packs), Images(list_sample_files(context.store, samples).packs)
    for each in asked:
        row = by_id[each.sample_id]
        [shown] = each.images
        right, other = open_stored(own.read(row["images"][0])), open_stored(images.read(shown))
        assert other.size == each.size == (20, 10)
        assert each.target["box"] == BOX and each.image_id == row["image_id"]
        if each.way == "blank":
            assert other.getcolors() == [(200, (128, 128, 128))]
        elif each.way == "cropped":
            expected = crop_image(right, f"{each.sample_id}/0", 0)
            assert other.tobytes() == expected.tobytes()
        else:
            assert [shown] in [r["images"] for r in by_id.values()] and [shown] != row["images"]
        assert each.prompt_id == compute_prompt_id([shown], row["prompt"]) != row["prompt_id"]
    # One grey for all four, and crops; what another sample has is in the store already.
    assert [file.home is None for file in made.files] == [True, True, False]
    assert made.counts.num_in == made.counts.num_kept == 12
    assert made.per_split == {"grounding/test": 12}


def test_the_size_is_that_of_the_image_that_is_shown(tmp_path):
    """Of several, the one that is asked about."""
    context = build_context(tmp_path)
    rows = [build_row(n, size=(20, 10 + n)) for n in range(4)]
    samples = commit_samples(context.store, rows)
    height_of = {tuple(row["images"]): row["height"] for row in rows}
    asked = [each for each in read_probed(context.store, probe(context, samples, 9))
             if each.way == "shuffled"]  # fmt: skip
    assert {each.size for each in asked} == {(20, 10 + n) for n in range(4)}
    assert all(each.size == (20, height_of[tuple(each.images)]) for each in asked)


def test_an_engine_is_asked_what_the_rows_say(tmp_path):
    context = build_context(tmp_path)
    made = probe(context, commit_samples(context.store, build_rows(3)), 9)
    prompts = list(iter_prompts(list_sample_files(context.store, made), ["test"]))
    greys = {row.prompt_id for row in read_probed(context.store, made) if row.way == "blank"}
    assert len(greys) == 1, "the same question about the same grey is asked once"
    assert len({prompt.prompt_id for prompt in prompts}) == len(prompts)
    shown = {prompt.prompt_id: prompt.open_images()[0].getpixel((0, 0)) for prompt in prompts}
    assert {shown[prompt_id] for prompt_id in greys} == {(128, 128, 128)}


def test_it_is_made_once_and_the_same_by_others(tmp_path):
    context = build_context(tmp_path / "a")
    samples = commit_samples(context.store, build_rows(6))
    made = probe(context, samples, 4)
    refuse = replace(context, log=pytest.fail)
    assert probe(refuse, samples, 4) == made
    assert probe(context, samples, 5).key != made.key
    elsewhere = build_context(tmp_path / "b")
    again = probe(elsewhere, commit_samples(elsewhere.store, build_rows(6)), 4)
    assert (again.key, again.digest) == (made.key, made.digest)
    assert len({row.sample_id for row in read_probed(context.store, made)}) == 4


def test_one_image_for_all_has_no_other_and_says_so(tmp_path):
    said: list[str] = []
    context = replace(build_context(tmp_path), log=said.append)
    rows = [build_sample_row(10, "counting", count, "test") for count in range(3)]
    made = probe(context, commit_samples(context.store, rows), 9)
    assert {each.way for each in read_probed(context.store, made)} == {"blank", "cropped"}
    assert made.counts.dropped == {"no other image to show": 3}
    assert said == ["warning: for 3 probed counting samples there is no other image to show; more "
                    "than half of them may ask about one"]  # fmt: skip


def test_all_images_of_a_prompt_are_others(tmp_path):
    """Two images each; what shares one with another sample is not shown that one."""
    context = build_context(tmp_path)
    rows = build_rows(6)
    for n in (0, 1, 2):
        rows[n] |= {"images": [*rows[n]["images"], *rows[n + 3]["images"]]}
        rows[n]["target"]["image"] = 1
    made = probe(context, commit_samples(context.store, rows), 9)
    by_id = {row["sample_id"]: row for row in rows}
    for each in read_probed(context.store, made):
        right = by_id[each.sample_id]["images"]
        assert len(each.images) == len(right)
        assert not set(each.images) & set(right)


def test_an_image_that_both_prompts_show_is_no_other(tmp_path):
    context = build_context(tmp_path)
    rows = build_rows(3)
    for row in rows[:2]:
        row["images"] = [*row["images"], *rows[2]["images"]]
    made = probe(context, commit_samples(context.store, rows), 9)
    assert [each for each in read_probed(context.store, made) if each.way == "shuffled"] == []
    assert made.counts.dropped == {"no other image to show": 3}


def test_without_test_samples_there_is_nothing_to_ask(tmp_path):
    context = build_context(tmp_path)
    samples = commit_samples(context.store, build_rows(2, "train"))
    assert make_probed_samples(context, samples, 9) is None


def test_other_sets_do_not_take_it_for_collected_images(tmp_path):
    """collect shares packs of sets that looked at images alike: this one looked at none."""
    context = build_context(tmp_path)
    made = probe(context, commit_samples(context.store, build_rows(3)), 9)
    assert made.looking_digest is None
    assert all(file.made_of is None for file in made.files if file.path.startswith("part-"))
    assert len(read_rows(context.store, made)) == 9
