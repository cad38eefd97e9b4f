"""Training without the images (train.image = blank): it is blind, and so is its reference."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from perpo_core.stages import contrast, train
from perpo_core.stages.samples import list_sample_files
from perpo_core.stages.train import child, sidecars
from perpo_core.stages.train.data import CroppedLists, RankedLists, Shown
from perpo_core.stages.train.references import References, read_rows
from perpo_core.stages.train.settings import list_unread
from schemas.arrow import PREFERENCES
from schemas.run import SampleFiles, TrainJob
from schemas.train_config import TrainConfig
from tests.perpo_core.stages.train.test_references import run_stage
from tests.perpo_core.stages.train.training import (
    LORA,
    NUM_LISTS,
    TRAIN,
    build_job,
    build_trainer,
    copy_weights,
    same_weights,
)

pytestmark = pytest.mark.usefixtures("training_events")


def open_lists(setting: Any, processor: Any, image: Shown) -> RankedLists:
    context, samples, preferences = setting
    packs = list_sample_files(context.store, samples).packs
    return RankedLists(context.store.paths(preferences), packs, processor, image)


def read_pixels(ranked: Any) -> torch.Tensor:
    pixels: torch.Tensor = ranked.packable.vision["pixel_values"]
    return pixels


def test_every_list_shows_the_same_grey_and_asks_the_same(trainable, processor):
    kept, blank = (open_lists(trainable, processor, image) for image in ("kept", "blank"))
    greys = [read_pixels(blank[i]) for i in range(NUM_LISTS)]
    assert all(torch.equal(grey, greys[0]) for grey in greys)
    assert greys[0].std(dim=(-2, -1)).max() < 1e-6, "one value everywhere"
    for i in range(NUM_LISTS):
        assert blank[i].packable.prefix_ids == kept[i].packable.prefix_ids
        assert blank[i].packable.branches == kept[i].packable.branches
        assert read_pixels(kept[i]).shape == greys[i].shape
        assert not torch.equal(read_pixels(kept[i]), greys[i])
    crops = CroppedLists(blank, processor, seed=0)
    assert torch.allclose(read_pixels(crops[0]), greys[0], atol=1e-6)


def test_its_reference_is_of_the_grey_image_and_has_a_table_of_its_own(
    trainable, processor, tmp_path
):
    context, _, preferences = trainable
    lists: dict[Shown, Any] = {}
    shows: tuple[Shown, ...] = ("kept", "blank")
    for image in shows:
        trainer = build_trainer(trainable, tmp_path / image, image=image)
        lists[image] = trainer.train_dataset.ref_logps_PG
    job = build_job(trainable, tmp_path, TrainConfig(**TRAIN))
    model, _ = child.load_model(job, job.policy)
    made = References(processor.tokenizer.pad_token_id, "float32", job.config.train)
    for image, rows in lists.items():
        shown = open_lists(trainable, processor, image)
        expected = made.compute(shown, range(NUM_LISTS), model)
        assert rows == expected
    assert lists["kept"] != lists["blank"]

    def key_of(of: Any, **changes: Any) -> str:
        config = context.config.model_copy(update={"train": TrainConfig(**(TRAIN | changes))})
        return sidecars.compute_key(config, preferences, context.policy, of)

    for of in ("lists", "crops", "tokens"):
        assert key_of(of, image="blank") != key_of(of) == key_of(of, image="kept")


def test_the_stage_shows_its_child_no_image(tmp_path, policy, processor):
    """A real child process: what it says of the reference is what a forward on grey says."""
    context, checkpoint, _ = run_stage(tmp_path, policy, processor, image="blank")
    [table] = (context.store.root / "references").glob("*/part-00000.parquet")
    [lists] = (context.store.root / "preferences").glob("*/part-00000.parquet")
    packs = list((context.store.root / "samples").glob("*/pack-*.parquet"))
    config = TrainConfig(**TRAIN, image="blank")
    job = TrainJob(
        config=context.config, policy=policy, references=[], lists=[lists], folder=tmp_path,
        samples=SampleFiles(parts=[], packs=packs), store=context.store.place,
    )  # fmt: skip
    model, _ = child.load_model(job, policy)
    made = References(processor.tokenizer.pad_token_id, "float32", config)
    blank = RankedLists([lists], packs, processor, "blank")
    expected = made.compute(blank, range(NUM_LISTS), model)
    for row, logps in zip(read_rows([table]), expected, strict=True):
        assert row == pytest.approx(logps, abs=1e-4)
    assert checkpoint.history[0].loss == pytest.approx(math.log(2), abs=1e-4)


def test_it_learns_the_same_whatever_the_images_show(trainable, tmp_path):
    """The images of the lists change places: a blind training does not notice, another does."""

    def train_on(path: Path, image: str) -> dict[str, torch.Tensor]:
        inputs = {"lists": [path]}
        folder = tmp_path / f"{path.stem}-{image}"
        # sft asks no reference, whose table in the store is of the images as they were
        trainer = build_trainer(
            trainable, folder, inputs=inputs, image=image, objective="sft", epochs=1
        )
        trainer.train()
        return copy_weights(trainer.model)

    context, _, preferences = trainable
    rows = pq.read_table(context.store.paths(preferences)).to_pylist()
    turned = [row | {"images": rows[n - 1]["images"]} for n, row in enumerate(rows)]
    paths = [tmp_path / "right.parquet", tmp_path / "turned.parquet"]
    for path, table in zip(paths, (rows, turned), strict=True):
        pq.write_table(pa.Table.from_pylist(table, PREFERENCES), path)
    assert same_weights(*(train_on(path, "blank") for path in paths))
    assert not same_weights(*(train_on(path, "kept") for path in paths))


def test_it_is_another_training_and_the_default_is_none(trainable):
    context, samples, preferences = trainable

    def keys_of(**changes: Any) -> tuple[str, str]:
        settings = TrainConfig(**(TRAIN | LORA | {"objective": "tis_dpo"} | changes))
        config = context.config.model_copy(update={"train": settings})
        return (
            train.compute_key(config, context.policy, samples, preferences),
            contrast.compute_key(config, context.policy, samples, preferences),
        )

    assert "image" in list_unread(TrainConfig()), "its key is the one from before the setting"
    assert "image" not in list_unread(TrainConfig(image="blank"))
    assert keys_of(image="kept") == keys_of()
    for kept, blank in zip(keys_of(), keys_of(image="blank"), strict=True):
        assert kept != blank


@pytest.mark.parametrize("changes", [{"reference_logps": "sampled"}, {"objective": "p3o"}])
def test_what_the_sampler_said_was_said_with_the_images(changes):
    with pytest.raises(ValueError, match="image = blank needs log-probabilities without the"):
        TrainConfig(image="blank", **changes)
