"""Values that are allowed one by one and contradict each other, or ask for what cannot be."""

from __future__ import annotations

from collections.abc import Iterator

from perpo_core.findings import Finding
from schemas.base import TASKS
from schemas.config import DigitsSource, JsonlSource, RefreshConfig


def check_settings(config: RefreshConfig) -> list[Finding]:
    """Values that are allowed one by one and contradict each other."""
    findings = list(_find_contradictions(config))
    return findings or [Finding("ok", "configuration: settings agree")]


def check_gates(config: RefreshConfig, validated: set[str]) -> Iterator[Finding]:
    """A gate on a task without validation samples can measure nothing."""
    promote = config.promote
    for section, gates in (("min_gain", promote.min_gain), ("max_loss", promote.max_loss)):
        for task in sorted(set(gates) - validated):
            yield Finding(
                "warning",
                f"configuration: promote.{section} names {task}, which has no validation samples",
            )


def _find_contradictions(config: RefreshConfig) -> Iterator[Finding]:
    generate, policy, source = config.generate, config.policy, config.source
    if generate.max_tokens >= policy.max_model_len:
        yield Finding(
            "error",
            f"configuration: generate.max_tokens ({generate.max_tokens}) must be less than "
            f"policy.max_model_len ({policy.max_model_len}), which holds the prompt too",
        )
    if config.lists.list_size > generate.num_candidates:
        yield Finding(
            "warning",
            f"configuration: lists.list_size ({config.lists.list_size}) is more than "
            f"generate.num_candidates ({generate.num_candidates}); lists will be shorter",
        )
    if isinstance(source, JsonlSource) and source.validation_share + source.test_share >= 1:
        yield Finding(
            "error",
            f"configuration: source.validation_share ({source.validation_share}) and "
            f"source.test_share ({source.test_share}) leave nothing to train on; lower them",
        )
    if isinstance(source, DigitsSource):
        yield from _find_digits_contradictions(config, source)


def _find_digits_contradictions(config: RefreshConfig, source: DigitsSource) -> Iterator[Finding]:
    if not any(source.train.values()):
        yield Finding("error", "configuration: source.train has no samples; raise a task's number")
    num_validation = sum(source.validation.values())
    if num_validation < config.train.eval_prompts:
        yield Finding(
            "warning",
            f"configuration: train.eval_prompts ({config.train.eval_prompts}) is more than the "
            f"{num_validation} validation samples of the source; all of them will be used",
        )
    yield from check_gates(config, {task for task in TASKS if source.validation.get(task)})
