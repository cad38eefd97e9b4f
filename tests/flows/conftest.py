"""A store with toy stages, a toy policy and a server that the flow tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.config import PolicyConfig, RefreshConfig
from tests.flows.toy import install, write_policy


@pytest.fixture
def toy_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RefreshConfig:
    """A configuration whose stages are the toy ones, with a store of its own."""
    install(monkeypatch.setitem)
    policy = PolicyConfig(model=str(write_policy(tmp_path / "policy")))
    return RefreshConfig(name="toy", store=tmp_path / "store", policy=policy)
