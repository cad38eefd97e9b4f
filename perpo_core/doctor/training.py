"""What `perpo doctor` finds out about the train section: its references and its packages."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from perpo_core.doctor.findings import Finding
from perpo_core.doctor.policy import check_policy_folder, load_tokenizer
from perpo_core.policy.resolve import resolve_base, resolve_references
from perpo_core.process.troubles import explain
from perpo_core.store.open import open_store
from schemas.config import RefreshConfig


def check_training(config: RefreshConfig, policy_folder: Path) -> list[Finding]:
    """Further references and packages; nothing where all is well."""
    return [*check_references(config, policy_folder), *check_packages(config)]


def check_references(config: RefreshConfig, policy_folder: Path) -> Iterator[Finding]:
    """References other than the start: there, complete, and with the policy's tokens."""
    try:
        store = open_store(config.store)
        references = resolve_references(config, store)
        if config.train.reference == "base":
            references.append(resolve_base(config.policy, store))
    except (OSError, ValueError) as error:
        yield Finding("error", f"reference: {explain(error)}")
        return
    for folder in (reference.folder for reference in references):
        of_reference = check_policy_folder(folder)
        yield from of_reference
        broken = any(finding.level == "error" for finding in of_reference)
        if not broken and not _share_tokens(folder, policy_folder):
            yield Finding(
                "error",
                f"reference {folder}: its tokens are not those of the policy (tokenizer.json "
                "differs or is missing); name a model with the same tokenizer",
            )


def check_packages(config: RefreshConfig) -> Iterator[Finding]:
    """Packages that settings ask for and that are the user's to install."""
    train = config.train
    wanted: dict[str, str] = {f"train.trackers: {name}": name for name in train.trackers}
    if train.quantize != "none":
        wanted[f"train.quantize: {train.quantize}"] = "bitsandbytes"
    for setting, package in wanted.items():
        if find_spec(package) is None:
            yield Finding(
                "error", f"{setting} needs the package {package}; pip install it, or change this"
            )


def _share_tokens(folder: Path, other_folder: Path) -> bool:
    tokenizer, other = load_tokenizer(folder), load_tokenizer(other_folder)
    if tokenizer is None or other is None:
        return False
    return tokenizer.get_vocab() == other.get_vocab()
