"""`perpo doctor`: everything that can be found wrong before any work, without loading a model.

Runs at the start of every refresh: settings that contradict each other, every row and image of the
source, what truths are worth as answers, free disk, the policy's folder, and whether prompts with
their images and answers fit the model. No torch and no vLLM in this process: the policy's processor
is asked in a child; only the box format pixels_resized needs transformers' own rule of sizes here.
Left out: whether the model can do the task (`perpo doctor --probe` samples it).
"""

from __future__ import annotations

from pathlib import Path

from perpo_core.doctor.findings import Finding
from perpo_core.doctor.place import check_bucket, check_disk
from perpo_core.doctor.policy import check_policy_folder
from perpo_core.doctor.settings import check_settings
from perpo_core.doctor.source import check_source
from perpo_core.doctor.training import check_training
from perpo_core.process.troubles import explain
from perpo_core.store.open import open_store
from schemas.config import RefreshConfig
from schemas.run import PolicyRef


def check_run(
    config: RefreshConfig, policy_folder: Path | None = None, policy_digest: str | None = None
) -> list[Finding]:
    """Every finding, errors included; folder and digest save resolving `policy.model` again."""
    findings = [*check_settings(config), *check_disk(config)]
    in_bucket = check_bucket(config)
    if has_errors(in_bucket):  # policy and samples cannot be looked up there
        return findings + in_bucket
    findings += in_bucket
    folder = policy_folder
    if folder is None:
        policy, problems = _find_policy(config)
        findings += problems
        folder, policy_digest = (policy.folder, policy.digest) if policy else (None, None)
    if folder is not None:
        of_policy = check_policy_folder(folder, config.policy.box_format)
        findings += of_policy
        folder = None if has_errors(of_policy) else folder
    if folder is not None:
        findings += check_training(config, folder)
    return findings + list(check_source(config, folder, policy_digest))


def has_errors(findings: list[Finding]) -> bool:
    """Whether a refresh must not start."""
    return any(finding.level == "error" for finding in findings)


def _find_policy(config: RefreshConfig) -> tuple[PolicyRef | None, list[Finding]]:
    from perpo_core.policy.resolve import resolve_policy  # reads the store: only where needed

    try:
        return resolve_policy(config.policy, open_store(config.store)), []
    except (OSError, ValueError) as error:
        return None, [Finding("error", f"policy: {explain(error)}")]
