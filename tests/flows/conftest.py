"""A store with toy stages and a toy policy; the store of one small real run that tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.config import PolicyConfig, RefreshConfig
from tests.flows.toy import install, write_policy
from tests.flows.whole import run_perpo, write_config


@pytest.fixture
def toy_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RefreshConfig:
    """A configuration whose stages are the toy ones, with a store of its own."""
    install(monkeypatch.setitem)
    policy = PolicyConfig(model=str(write_policy(tmp_path / "policy")))
    return RefreshConfig(name="toy", store=tmp_path / "store", policy=policy)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of one undisturbed small refresh; not to be changed."""
    config, store = write_config(tmp_path_factory.mktemp("small"))
    said = run_perpo("refresh", config)
    assert said.splitlines()[-1].endswith("report.html")
    return store
