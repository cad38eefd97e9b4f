"""`hf` and the way of every export: files of bounded size, refusals, memory, what TRL trains on."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from perpo_core.export.lists import Asked, export_lists, files
from perpo_core.export.lists.tally import Tally
from perpo_core.store.store import Store
from schemas.arrow import EXPORTED_ANSWERS, EXPORTED_LISTS, EXPORTED_PAIRS
from schemas.run import RunRecord
from tests.perpo_core.export.mixed_lists import IMAGE, build_mixed_run, say, store_picture, user
from tests.perpo_core.report.report_fixture import build_run

Finished = tuple[Store, RunRecord]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return build_run(tmp_path_factory.mktemp("store"))


def export(finished: Finished, folder: Path, *asked: object) -> tuple[Tally, list[str]]:
    store, run = finished
    said: list[str] = []
    return export_lists(store, run, [run], folder, Asked(*asked), said.append), said  # type: ignore[arg-type]


def test_files_and_row_groups_are_of_bounded_size(finished, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(files, "FILE_BYTES", 20_000)
    monkeypatch.setattr(files, "GROUP_BYTES", 8_000)
    tally, _ = export(finished, tmp_path / "out")
    made = sorted((tmp_path / "out").glob("lists-*.parquet"))
    assert len(made) > 1 and pq.ParquetFile(made[0]).num_row_groups > 1
    assert sum(pq.read_metadata(path).num_rows for path in made) == tally.num_rows


def test_the_pairs_of_a_list_do_not_multiply_its_image(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8)
    picture = store_picture(Image.fromarray(noise))
    prompts = {str(i): [user(IMAGE, say(f"Question {i}"))] for i in range(4)}
    finished = build_mixed_run(tmp_path / "store", prompts, [picture])
    tally, _ = export(finished, tmp_path / "out", "trl", "best-rest")
    [file] = (tmp_path / "out").glob("*.parquet")
    assert tally.num_rows == 12 and len(picture.data) > 1_000_000
    assert file.stat().st_size < 2 * len(picture.data)


def test_a_run_whose_lists_are_gone_is_refused(finished: Finished, tmp_path: Path) -> None:
    store, run = finished
    stages = {name: each for name, each in run.stages.items() if name == "collect"}
    with pytest.raises(ValueError, match="has no lists to export: The run ended before mat"):
        export((store, run.model_copy(update={"stages": stages})), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("hf", "all"), "--format hf has no --pairs all; it takes list, or"),
        (("trl", "list"), "takes best-worst or best-rest or adjacent or all, or"),
        (("trl-kto", "adjacent"), "--format trl-kto has no --pairs adjacent"),
        (
            ("hf", None, 1.5),
            r"none of the \d+ lists can be written as hf \(gap below --min-gap \d+\)",
        ),
        (("trl", "all", 1.5), r"as trl \(no pair left \d+\); choose another --format or --pairs"),
    ],
)
def test_what_cannot_be_written_is_one_sentence(asked, said, finished, tmp_path) -> None:
    with pytest.raises(ValueError, match=said) as refusal:
        export(finished, tmp_path / "out", *asked)
    assert len(str(refusal.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_text_that_holds_the_mark_of_an_image_is_left_out_and_said(tmp_path: Path) -> None:
    prompts = {
        "good": [user(IMAGE, say("What is this?"))],
        "marked": [user(IMAGE, say("What does <image> mean?"))],
    }
    finished = build_mixed_run(tmp_path / "store", prompts)
    for name in ("llamafactory", "swift", "openrlhf", "llava", "perpo-json"):
        tally, said = export(finished, tmp_path / name, name)
        assert tally.dropped_lists.total() == 1 and tally.lists_of.total() == 1
        assert said[-2 if tally.num_pairs else -1].startswith(
            "1 of 2 lists were left out: the word <image> in a text, which the format cannot say 1"
        )
        assert len(list((tmp_path / name / "images").rglob("*.*"))) == 1  # none of the other
    for name in ("hf", "trl", "nemo-rl", "openai"):
        assert not export(finished, tmp_path / name, name)[0].dropped_lists


def test_openrlhf_is_said_to_see_no_image(finished, tmp_path) -> None:
    assert "read text alone" in export(finished, tmp_path / "out", "openrlhf")[1][0]


@pytest.mark.parametrize("name", ["hf", "trl", "llamafactory", "openai"])
def test_memory_does_not_grow_with_lists(name, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(files, "GROUP_ROWS", 16)
    monkeypatch.setattr("perpo_core.export.lists.ranked.READ_ROWS", 8)
    peaks = []
    for num_lists in (40, 400):
        prompts = {str(i): [user(IMAGE, say(f"Question {i}"))] for i in range(num_lists)}
        finished = build_mixed_run(tmp_path / f"store-{num_lists}", prompts)
        export(finished, tmp_path / f"warm-{num_lists}", name)
        tracemalloc.start()
        export(finished, tmp_path / f"out-{num_lists}", name)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 300_000  # bytes; 360 more lists as rows are a megabyte and more


@pytest.mark.parametrize("schema", [EXPORTED_LISTS, EXPORTED_PAIRS, EXPORTED_ANSWERS])
def test_schema_metadata_is_what_datasets_means_by_images(schema: pa.Schema) -> None:
    from datasets import Features, Image, List

    expected = Features.from_arrow_schema(schema.remove_metadata())
    expected["images"] = List(Image())
    assert Features.from_arrow_schema(schema) == expected
    assert expected.arrow_schema.remove_metadata() == schema.remove_metadata()


TRAIN = """
import sys
from datasets import load_dataset
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl import {trainer}Config, {trainer}Trainer

folder, policy, work = sys.argv[1:]
rows = load_dataset(folder, split="train", cache_dir=work)
args = {trainer}Config(
    work, max_steps=2, per_device_train_batch_size=2, logging_steps=1, max_length=None, bf16=False,
    use_cpu=True, report_to="none", gradient_checkpointing=False, learning_rate=1e-4,
    save_strategy="no",
)
model = AutoModelForImageTextToText.from_pretrained(policy, dtype="float32")
trainer = {trainer}Trainer(
    model, args=args, train_dataset=rows, processing_class=AutoProcessor.from_pretrained(policy)
)
before = model.get_input_embeddings().weight.detach().clone()
trainer.train()
losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
assert trainer.state.global_step == len(losses) == 2 and all(loss > 0 for loss in losses), losses
assert not before.equal(model.get_input_embeddings().weight), "nothing was learned"
print("trained", len(rows), losses)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trainer", "asked"),
    [("DPO", ("trl", "best-rest")), ("DPO", ("hf",)), ("KTO", ("trl-kto", "best-rest"))],
)
def test_trl_takes_two_steps_on_a_real_runs_lists(trainer, asked, finished, tmp_path) -> None:
    from perpo_core.policy.builtin_folder import BUILTIN_FOLDER

    tally, _ = export(finished, tmp_path / "out", *asked)
    done = subprocess.run(
        [sys.executable, "-c", TRAIN.format(trainer=trainer), str(tmp_path / "out"),
         str(BUILTIN_FOLDER), str(tmp_path / "work")],
        env={"HF_HUB_OFFLINE": "1", "HOME": str(tmp_path), "TRL_EXPERIMENTAL_SILENCE": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"trained {tally.num_rows} " in done.stdout
