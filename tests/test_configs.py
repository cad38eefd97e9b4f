"""Every configuration that ships is one that loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perpo_core.configuration.load import load_config
from perpo_core.doctor.settings import check_settings
from perpo_core.doctor.splits import check_splits, count_scenes
from perpo_core.evidence.trials import check_trials, list_sweep
from schemas.config import RefreshConfig
from schemas.sources import DigitsSource, JsonlSource, RefcocoSource

CONFIGS = sorted((Path(__file__).parents[1] / "infra" / "configs").rglob("*.toml"))


# What the run scripts of github.com/ningerhhh/PerPO pass (e39a24a, run/*.sh), their arguments'
# defaults aside: (grounding on LLaVA-1.5-7B, pages on LLaVA-NeXT).
PAPER: dict[str, tuple[Any, Any]] = {
    "policy.dtype": ("bfloat16", "bfloat16"),
    "policy.max_model_len": (2048, 4096),
    "generate.num_candidates": (20, 5),
    "lists.list_size": (20, 5),
    "lists.min_gap": ({"grounding": 0.8}, {"ocr": 0.04}),
    "train.objective": ("perpo", "perpo"),
    "train.beta": (0.1, 0.1),
    "train.gamma": (0.5, 0.5),
    "train.adapter": ("lora", "lora"),
    "train.lora_rank": (128, 128),
    "train.lora_alpha": (256, 256),
    "train.learning_rate": (5e-6, 5e-6),
    "train.projector_learning_rate": (5e-6, 5e-6),
    "train.vision_learning_rate": (None, 5e-7),
    "train.schedule": ("cosine", "cosine"),
    "train.warmup_share": (0.0, 0.0),
    "train.weight_decay": (0.0, 0.0),
    "train.epochs": (1.0, 1.0),
    "train.batch_lists": (2, 1),
    "train.micro_batch_lists": (2, 1),
    "train.gradient_checkpointing": (True, True),
    "train.seed": (42, 42),
}
BOX_FORMATS = {"llava-1.5-7b-grounding": "norm1_padded", "qwen2.5-vl-3b": "pixels_resized"}
COMPARED = {
    "compare-refcoco-llava-1.5-7b": "norm1_padded",
    "compare-refcoco-qwen2.5-vl-3b": "pixels_resized",
}
READY_MADE = ["llava-1.5-7b-grounding", "llava-next-ocr", "qwen2.5-vl-3b"]


def load(name: str) -> RefreshConfig:
    return load_config(next(path for path in CONFIGS if path.stem == name), [])


def read(config: RefreshConfig, key: str) -> Any:
    section, _, name = key.partition(".")
    return getattr(getattr(config, section), name)


def test_there_are_configurations() -> None:
    assert {"default.toml", "photos.toml"} <= {path.name for path in CONFIGS}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_it_loads(path: Path) -> None:
    config = load_config(path, [])
    assert config.generate.max_tokens < config.policy.max_model_len


def test_photos_names_the_sample_cases_where_they_are() -> None:
    config = load("photos")
    assert isinstance(config.source, JsonlSource)
    samples = CONFIGS[0].parents[3] / "shared" / "samples"
    if not samples.is_dir():
        pytest.skip("the sample cases are not beside this repository")
    assert all(file.is_file() for file in config.source.files)


@pytest.mark.parametrize("key", PAPER)
def test_the_papers_numbers_are_the_papers(key: str) -> None:
    grounding, pages = PAPER[key]
    assert read(load("llava-1.5-7b-grounding"), key) == grounding
    assert read(load("llava-next-ocr"), key) == pages


@pytest.mark.parametrize("name", ["default", "nightly"])
def test_the_scenes_that_ship_are_enough_to_choose_and_to_judge_by(name: str) -> None:
    config = load(name)
    assert isinstance(config.source, DigitsSource)
    assert list(check_splits(config, count_scenes(config.source))) == []
    asked = config.train.eval_prompts
    assert asked == sum(config.source.selection.values()), "every reading is of all of them"


@pytest.mark.parametrize("name", READY_MADE)
def test_a_ready_made_configuration_agrees_with_itself(name: str) -> None:
    config = load(name)
    assert [finding.level for finding in check_settings(config)] == ["ok"]
    assert isinstance(config.source, JsonlSource)
    assert all(file.parent.name == "data" for file in config.source.files)
    assert config.policy.box_format == BOX_FORMATS.get(name, "norm1")
    assert config.promote.min_gain.keys() | config.promote.max_loss <= config.lists.min_gap.keys()


@pytest.mark.parametrize("name", COMPARED)
def test_a_comparison_of_real_models_is_of_the_papers_methods_on_official_splits(name: str) -> None:
    config = load(name)
    assert [finding.level for finding in check_settings(config)] == ["ok"]
    assert isinstance(config.source, RefcocoSource) and config.source.splits == {}
    assert config.policy.box_format == COMPARED[name]
    assert set(config.compare.methods) == {"sft", "dpo", "perpo"} and config.compare.seeds == 3
    check_trials(config)
    for method in config.compare.methods:
        trials = list_sweep(config, method)
        assert {trial.config.train.objective for trial in trials} == {method}
        rates = [trial.config.train.learning_rate for trial in trials]
        assert rates == config.compare.sweep["train.learning_rate"]
    assert not config.promote.enabled, "a comparison moves nothing"


@pytest.mark.parametrize("name", READY_MADE[:2])
def test_every_number_of_the_papers_configurations_has_its_comment(name: str) -> None:
    """A value of the paper says so; a value of ours says why."""
    path = next(path for path in CONFIGS if path.stem == name)
    lines = path.read_text().partition("[policy]")[2].partition("[promote]")[0].splitlines()
    plain = ("objective = ", "adapter = ", "model = ")
    for line in lines:
        assert not line or line[0] in "[#" or line.startswith(plain) or "  # " in line, line
