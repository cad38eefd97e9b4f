"""What is checked ahead, while a server starts, is used once and for nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.runs import checks
from perpo_core.doctor.findings import Finding
from perpo_core.policy.resolve import resolve_policy
from perpo_core.store.open import open_store
from schemas.config import RefreshConfig
from schemas.run import PolicyRef


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[RefreshConfig]:
    """The configurations that the doctor looked at; it finds an error in each."""
    seen: list[RefreshConfig] = []

    def check_run(config: RefreshConfig, folder: Path, digest: str) -> list[Finding]:
        del folder, digest
        seen.append(config)
        return [Finding("error", f"error {len(seen)}")]

    monkeypatch.setattr(checks, "check_run", check_run)
    return seen


def find_policy(config: RefreshConfig) -> PolicyRef:
    return resolve_policy(config.policy, open_store(config.store))


def test_what_was_found_ahead_is_said_once_and_then_looked_for_anew(
    tmp_path: Path, asked: list[RefreshConfig]
) -> None:
    config = RefreshConfig(store=tmp_path)
    checks.check_ahead(config)
    for number in (1, 2):  # the data may have changed since
        with pytest.raises(ValueError, match=f"error {number}"):
            checks.refuse_errors(config, find_policy(config))
    assert len(asked) == 2


def test_another_configuration_is_looked_at_itself(
    tmp_path: Path, asked: list[RefreshConfig]
) -> None:
    config = RefreshConfig(store=tmp_path)
    checks.check_ahead(config)
    other = config.model_copy(update={"name": "other"})
    with pytest.raises(ValueError, match="error 2"):
        checks.refuse_errors(other, find_policy(other))
    assert asked == [config, other]


def test_a_policy_that_is_not_there_is_left_for_the_flow_to_say(
    tmp_path: Path, asked: list[RefreshConfig]
) -> None:
    config = RefreshConfig.model_validate(
        {"store": tmp_path, "policy": {"model": str(tmp_path / "none")}}
    )
    checks.check_ahead(config)
    assert asked == []
    with pytest.raises(ValueError, match="neither a folder"):
        find_policy(config)
