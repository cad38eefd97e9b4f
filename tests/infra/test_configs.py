"""The committed configurations: each is taken as it is, and ablations stand on evidence.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpo_core.configuration.load import load_config
from perpo_core.evidence.trials import check_trials, describe_trial, list_judged

CONFIGS = Path(__file__).parents[2] / "infra" / "configs"
ALL = sorted(CONFIGS.rglob("*.toml"))
ABLATIONS = sorted(CONFIGS.glob("ablations/*.toml"))


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_every_committed_configuration_is_taken_with_all_its_trials(path: Path) -> None:
    config = load_config(path)
    if config.compare.methods:
        check_trials(config)
    assert ABLATIONS and set(ABLATIONS) < set(ALL)


@pytest.mark.parametrize("path", ABLATIONS, ids=lambda path: path.stem)
def test_an_ablation_has_the_data_and_the_steps_of_evidence(path: Path) -> None:
    evidence, ablation = load_config(CONFIGS / "evidence.toml"), load_config(path)
    assert ablation.name == path.stem
    for section in ("source", "policy", "score", "promote"):
        assert getattr(ablation, section) == getattr(evidence, section)
    own = {name.partition(".")[2] for m in ablation.compare.methods.values() for name in m.settings}
    chosen = own | {"learning_rate", "beta"}
    assert ablation.train.model_dump(exclude=chosen) == evidence.train.model_dump(exclude=chosen)


@pytest.mark.parametrize("objective", ["perpo", "dpo"])
def test_the_runs_of_image_that_see_images_are_those_of_list_size(objective: str) -> None:
    image, sizes = (
        load_config(CONFIGS / f"ablations/{name}.toml") for name in ("image", "list-size")
    )
    kept, blank, with_8 = (
        [describe_trial(trial.config) for trial in list_judged(config, method, {})]
        for config, method in (
            (image, f"{objective}_kept"),
            (image, f"{objective}_blank"),
            (sizes, f"{objective}_8"),
        )
    )
    assert kept == with_8
    assert not set(blank) & set(kept)
