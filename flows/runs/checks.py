"""The checks at the start of a run: doubts are said, errors keep it from starting."""

from __future__ import annotations

from contextlib import suppress

from perpo_core.doctor import check_run
from perpo_core.doctor.findings import Finding
from perpo_core.doctor.place import check_disk
from perpo_core.policy.resolve import resolve_policy
from perpo_core.store.open import open_store
from perpo_core.store.store import DamagedArtifact
from schemas.config import RefreshConfig
from schemas.run import PolicyRef
from tasks.watch import get_watcher

_AHEAD: dict[tuple[str, str], list[Finding]] = {}
"""Configuration and policy -> what was found ahead, until it is asked for once."""


def check_ahead(config: RefreshConfig) -> None:
    """Check now what refuse_errors is about to ask, so that it need not wait.

    What keeps policy or store from being found is left for the flow, which says it.
    """
    with suppress(ValueError, OSError, DamagedArtifact):
        policy = resolve_policy(config.policy, open_store(config.store))
        _AHEAD[_name(config, policy)] = _check(config, policy)


def refuse_errors(config: RefreshConfig, policy: PolicyRef) -> None:
    """Raise ValueError, one sentence a line, unless the doctor finds no error."""
    ahead = _AHEAD.pop(_name(config, policy), None)
    findings = _check(config, policy) if ahead is None else ahead
    for finding in findings:
        if finding.level == "warning":
            get_watcher().note(f"warning: {finding.what}")
    _raise_errors(findings)


def refuse_full_disk(config: RefreshConfig) -> None:
    """Raise ValueError, one sentence, where a stage would begin with too little free disk."""
    _raise_errors(check_disk(config))


def _check(config: RefreshConfig, policy: PolicyRef) -> list[Finding]:
    get_watcher().note("checking configuration, data and policy")
    return check_run(config, policy.folder, policy.digest)


def _name(config: RefreshConfig, policy: PolicyRef) -> tuple[str, str]:
    return config.model_dump_json(), policy.digest


def _raise_errors(findings: list[Finding]) -> None:
    errors = [finding.what for finding in findings if finding.level == "error"]
    if errors:
        raise ValueError("\n".join(errors))
