"""`perpo doctor`: everything that can be found wrong before any work, without loading a model.

Runs at the start of every refresh: settings that contradict each other, every row and image of the
source, free disk, the policy's folder, and whether prompts and answers fit the model. No torch, no
vLLM. Left out: whether the model can do the task (`perpo doctor --probe` samples it).
"""

from __future__ import annotations

from pathlib import Path

from perpo_core.doctor.place import check_bucket, check_disk
from perpo_core.doctor.settings import check_settings
from perpo_core.doctor.source import check_source
from perpo_core.doctor.training import check_training
from perpo_core.findings import Finding
from perpo_core.policy.check import check_policy_folder
from perpo_core.store import open_store
from perpo_core.troubles import explain
from schemas.config import RefreshConfig


def check_run(config: RefreshConfig, policy_folder: Path | None = None) -> list[Finding]:
    """Every finding, errors included; `policy_folder` saves resolving `policy.model` again."""
    findings = [*check_settings(config), *check_disk(config)]
    in_bucket = check_bucket(config)
    if has_errors(in_bucket):  # policy and samples cannot be looked up there
        return findings + in_bucket
    findings += in_bucket
    folder = policy_folder
    if folder is None:
        folder, problems = _find_policy(config)
        findings += problems
    if folder is not None:
        of_policy = check_policy_folder(folder, config.policy.box_format)
        findings += of_policy
        folder = None if has_errors(of_policy) else folder
    if folder is not None:
        findings += check_training(config, folder)
    return findings + list(check_source(config, folder))


def has_errors(findings: list[Finding]) -> bool:
    """Whether a refresh must not start."""
    return any(finding.level == "error" for finding in findings)


def _find_policy(config: RefreshConfig) -> tuple[Path | None, list[Finding]]:
    from perpo_core.policy.resolve import resolve_policy  # reads the store: only where needed

    try:
        return resolve_policy(config.policy, open_store(config.store)).folder, []
    except (OSError, ValueError) as error:
        return None, [Finding("error", f"policy: {explain(error)}")]
