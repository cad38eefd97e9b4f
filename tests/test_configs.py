"""Every configuration that ships is one that loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpo_core.configuration import load_config
from schemas.config import JsonlSource

CONFIGS = sorted((Path(__file__).parents[1] / "infra" / "configs").rglob("*.toml"))


def test_there_are_configurations() -> None:
    assert {"default.toml", "photos.toml"} <= {path.name for path in CONFIGS}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_it_loads(path: Path) -> None:
    config = load_config(path, [])
    assert config.generate.max_tokens < config.policy.max_model_len


def test_photos_names_the_sample_cases_where_they_are() -> None:
    config = load_config(next(path for path in CONFIGS if path.name == "photos.toml"), [])
    assert isinstance(config.source, JsonlSource)
    samples = CONFIGS[0].parents[3] / "shared" / "samples"
    if not samples.is_dir():
        pytest.skip("the sample cases are not beside this repository")
    assert all(file.is_file() for file in config.source.files)
