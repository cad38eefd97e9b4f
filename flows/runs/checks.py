"""The checks at the start of a run: doubts are said, errors keep it from starting."""

from __future__ import annotations

from perpo_core.doctor import check_run
from perpo_core.doctor.findings import Finding
from perpo_core.doctor.place import check_disk
from schemas.config import RefreshConfig
from schemas.run import PolicyRef
from tasks.watch import get_watcher


def refuse_errors(config: RefreshConfig, policy: PolicyRef) -> None:
    """Raise ValueError, one sentence a line, unless the doctor finds no error."""
    get_watcher().note("checking configuration, data and policy")
    findings = check_run(config, policy.folder, policy.digest)
    for finding in findings:
        if finding.level == "warning":
            get_watcher().note(f"warning: {finding.what}")
    _raise_errors(findings)


def refuse_full_disk(config: RefreshConfig) -> None:
    """Raise ValueError, one sentence, where a stage would begin with too little free disk."""
    _raise_errors(check_disk(config))


def _raise_errors(findings: list[Finding]) -> None:
    errors = [finding.what for finding in findings if finding.level == "error"]
    if errors:
        raise ValueError("\n".join(errors))
