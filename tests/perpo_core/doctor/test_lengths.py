"""Doctor counts prompts with their images, and finds the images that a processor refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpo_core.doctor import check_run, lengths, measuring
from perpo_core.doctor.lengths import MAX_MEGAPIXELS, MAX_SIZES, choose_sizes
from perpo_core.policy.builtin_folder import BUILTIN_FOLDER
from perpo_core.policy.encoding import encode_unexpanded
from perpo_core.policy.stamps import refer_to
from perpo_core.stages import collect, generate
from perpo_core.stages.collect.sources.rows import build_messages
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.store.store import Store
from schemas.config import RefreshConfig
from schemas.run import Measured, MeasureJob
from tests.perpo_core.cases import encode_noise, make_row, write_source
from tests.perpo_core.tiny_processors import write_character_policy

TEMPLATE = (
    "{% for part in messages[0]['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
)
TILE = 6  # tokens: <fake_token_around_image><row_1_col_1> and 4 of the image
OTHERS = 4  # newlines, and what ends the image
COUNT = {"task": "counting", "prompt": "How many?", "answer": 1, "split": "train"}

pytestmark = pytest.mark.usefixtures("measured_here")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """One whose prompts are a token a character, with tiles of 16 pixels for images up to 32."""
    return write_character_policy(tmp_path / "policy", TEMPLATE)


def find(
    folder: Path, source: Any, at: Path = BUILTIN_FOLDER, **sections: Any
) -> dict[str, list[str]]:
    """What doctor says of prompts and of the processor, by level."""
    config = RefreshConfig(store=folder / "store", source=source, min_free_disk_gb=0, **sections)
    found: dict[str, list[str]] = {"ok": [], "warning": [], "error": []}
    for finding in check(config, at):
        found[finding.level].append(finding.what)
    return found


def check(config: RefreshConfig, policy: Path) -> list[Any]:
    from perpo_core.doctor.source import check_source

    wanted = ("prompts: ", "policy ", "is too long", "cannot be asked")
    return [f for f in check_source(config, policy) if any(word in f.what for word in wanted)]


def write_sizes(folder: Path, *sizes: tuple[int, int], **settings: Any) -> Any:
    rows = [COUNT | {"image": f"images/{number}.png"} for number, _ in enumerate(sizes)]
    source = write_source(folder, rows, num_images=0, **settings)
    for number, (width, height) in enumerate(sizes):
        (folder / "images" / f"{number}.png").write_bytes(encode_noise(number, width, height))
    return source


# Lengths


def test_a_prompt_is_counted_with_its_image(tmp_path):
    """The case of a built-in policy with policy.max_model_len = 64, where an image takes 66."""
    source = write_source(
        tmp_path / "data",
        [make_row(prompt="Where is the red block?", split="train"),
         make_row(prompt="Where is the red block here?", split="train")],
    )  # fmt: skip
    sections: dict[str, Any] = {
        "policy": {"max_model_len": 64}, "generate": {"max_tokens": 24}
    }  # fmt: skip
    [error] = find(tmp_path, source, **sections)["error"]
    assert error.startswith(
        "source: data/cases.jsonl row 1 is too long: prompt and image take 86 tokens, "
        "policy.max_model_len is 64 (1 more like it: 2); raise that"
    )
    dropping = source.model_copy(update={"on_bad_row": "drop"})
    found = find(tmp_path, dropping, **sections)
    assert found["error"] == [] and "86 tokens" in found["warning"][0]


@pytest.mark.parametrize(
    ("max_model_len", "words"),
    [(86, ""), (87, " and answers may have 24"), (109, " and answers may have 24"), (110, None)],
)
def test_answers_need_their_room_too(tmp_path, max_model_len, words):
    rows = [make_row(prompt="Where is the red block?", split="train")]
    source = write_source(tmp_path / "data", rows)
    found = find(
        tmp_path, source, policy={"max_model_len": max_model_len}, generate={"max_tokens": 24}
    )
    assert len(found["error"]) == (words is not None)
    said = f"prompt and image take 86 tokens{words}, policy.max_model_len is {max_model_len}"
    assert all(said in error for error in found["error"])
    longest = f"the longest takes 86 of policy.max_model_len = {max_model_len} tokens"
    assert [longest in what for what in found["ok"]] == [True]


def test_an_image_is_measured_as_it_will_be_stored(tmp_path, policy, monkeypatch):
    jobs: list[MeasureJob] = []

    def note(job: MeasureJob) -> Measured:
        jobs.append(job)
        return measuring.measure(job)

    monkeypatch.setattr(lengths, "measure", note)
    for limit, stored in ((2048, {(400, 16), (30, 30)}), (16, {(16, 1), (16, 16)})):
        source = write_sizes(tmp_path / "data", (400, 16), (30, 30), (400, 16))
        scaled = source.model_copy(update={"max_image_side": limit})
        [longest] = find(tmp_path, scaled, policy)["ok"]
        assert set(jobs[-1].sizes) == stored and jobs[-1].prompts == [build_messages("How many?")]
        assert f"takes {9 + 5 * TILE + OTHERS} of" in longest


def test_scenes_are_held_against_a_small_model_before_they_are_composed(tmp_path):
    source = {"kind": "digits", "train": {"ocr": 5}, "validation": {}, "selection": {}, "test": {}}
    assert find(tmp_path, source)["error"] == []
    errors = find(tmp_path, source, policy={"max_model_len": 80})["error"]
    assert errors[0].startswith("source: digits train/ocr scene ")
    assert " is too long: prompt and image take " in errors[0]
    assert "max_image_side" not in "".join(errors)


def test_collected_samples_are_held_against_other_settings(tmp_path):
    """Nothing of the source changed, so its rows are not read again; the limit did."""
    source = write_source(tmp_path / "data", [make_row(split="train")])
    config = RefreshConfig(store=tmp_path / "store", source=source, min_free_disk_gb=0)
    context = StageContext(Store(config.store), config, refer_to(BUILTIN_FOLDER))
    samples = find_or_make(context, collect).artifact
    assert find(tmp_path, source)["error"] == []
    [error] = find(tmp_path, source, policy={"max_model_len": 70})["error"]
    assert "data/cases.jsonl row 1 is too long" in error

    key = generate.compute_key(config, context.policy, samples)
    store = context.store
    assert store.load("candidates", key) is None


def test_what_a_policy_has_answered_is_not_measured_again(tmp_path, asked, monkeypatch):
    source = write_source(tmp_path / "data", [make_row(split="train")])
    config = RefreshConfig(store=tmp_path / "store", source=source, min_free_disk_gb=0)
    context = StageContext(Store(config.store), config, refer_to(BUILTIN_FOLDER))
    samples = find_or_make(context, collect).artifact
    find_or_make(context, generate, samples)
    jobs: list[MeasureJob] = []

    def note(job: MeasureJob) -> Measured:
        jobs.append(job)
        return measuring.measure(job)

    monkeypatch.setattr(lengths, "measure", note)
    digest = context.policy.digest
    said = [finding.what for finding in check_run(config, BUILTIN_FOLDER, digest)]
    assert "prompts: this policy has answered them under these settings" in said and jobs == []
    smaller = config.model_copy(
        update={"policy": config.policy.model_copy(update={"max_model_len": 300})}
    )
    check_run(smaller, BUILTIN_FOLDER, digest)
    check_run(config, BUILTIN_FOLDER)
    assert len(jobs) == 2


# Sizes


@given(st.lists(st.tuples(st.integers(1, 3000), st.integers(1, 3000)), min_size=1, max_size=200))
def test_few_sizes_are_all_measured_and_of_many_the_extremes(sizes):
    chosen = choose_sizes(sizes)
    assert len(chosen) == len(set(chosen)) <= MAX_SIZES
    assert set(chosen) <= set(sizes)
    area = sum(width * height for width, height in chosen)
    assert area <= max(MAX_MEGAPIXELS * 1e6, max(width * height for width, height in sizes))
    if area + 9e6 < MAX_MEGAPIXELS * 1e6:
        for extreme in (max, min):
            wanted = extreme(width / height for width, height in sizes)
            assert wanted in {width / height for width, height in chosen}
        if len(set(sizes)) <= MAX_SIZES:
            assert set(chosen) == set(sizes)
    assert max(width * height for width, height in sizes) in {w * h for w, h in chosen}


def test_where_sizes_are_sampled_it_is_said(tmp_path, policy, monkeypatch):
    monkeypatch.setattr(lengths, "MAX_SIZES", 7)
    source = write_sizes(tmp_path / "data", *((20 + number, 20) for number in range(12)))
    [longest] = find(tmp_path, source, policy)["ok"]
    assert longest.endswith("7 of 12 image sizes were measured")


# What a processor refuses


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_a_side_ratio_that_a_processor_refuses_names_the_row(tmp_path, policy, family):
    """Where torchvision is missing, the image processor alone still says so."""
    write_qwen(policy, family)
    source = write_sizes(tmp_path / "data", (300, 1), (96, 96), (1, 201), (200, 1))
    errors = find(tmp_path, source, policy)["error"]
    [refused] = [error for error in errors if "cannot be asked" in error]
    assert refused.startswith(
        "source: data/cases.jsonl row 1 cannot be asked: the policy's processor refuses an image "
        "of 300x1 pixels (absolute aspect ratio must be smaller than 200, got 300"
    )
    assert "(1 more like it: 3)" in refused


def write_qwen(folder: Path, family: str) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": family}))
    (folder / "processor_config.json").unlink()
    kind = {"image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2VLProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(kind))


def test_a_processor_that_cannot_be_loaded_is_an_error(tmp_path, policy):
    (policy / "processor_config.json").write_text('{"processor_class": "NoSuchProcessor"}')
    source = write_source(tmp_path / "data", [make_row(split="train")])
    found = find(tmp_path, source, policy)
    [error] = found["error"]
    assert f"policy {policy}: its processor cannot be loaded here (" in error
    assert "\n" not in error and found["ok"] == []


def test_a_template_whose_image_no_engine_can_expand_is_an_error(tmp_path, policy):
    (policy / "chat_template.jinja").write_text(TEMPLATE.replace("<image>", "<picture>"))
    source = write_source(tmp_path / "data", [make_row(split="train")])
    assert any(
        "puts no image token into a prompt" in error
        for error in find(tmp_path, source, policy)["error"]
    )


def test_other_tokens_than_transformers_makes_are_an_error(policy, monkeypatch):
    monkeypatch.setattr(
        measuring, "encode_unexpanded", lambda *args: [34, *encode_unexpanded(*args)]
    )
    job = MeasureJob(folder=policy, prompts=[build_messages("a")], sizes=[(20, 20)])
    said = measuring.measure(job).disagreement
    assert said is not None and "other tokens than training: around the image" in said


# The child process


def test_a_child_measures_and_one_that_dies_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.undo()  # the real child
    sizes = [(96, 96), (20, 10)]
    job = MeasureJob(folder=BUILTIN_FOLDER, prompts=[build_messages("How many?")], sizes=sizes)
    measured = lengths.measure(job)
    assert measured == Measured(prompt_tokens=[10], image_tokens=[66, 66], refusals=[None, None])
    monkeypatch.setattr(lengths, "CHILD", "perpo_core.doctor.no_such_child")
    source = write_source(tmp_path / "data", [make_row(split="train")])
    [error] = find(tmp_path, source)["error"]
    assert "its processor failed with exit status 1: " in error and "no_such_child" in error
