"""Values that are allowed one by one and contradict each other, or ask for what cannot be."""

from __future__ import annotations

from collections.abc import Iterator

from perpo_core.doctor.findings import Finding
from perpo_core.doctor.gates import check_metrics
from perpo_core.doctor.objectives import check_objective
from perpo_core.stages.evaluate.benchmarks import find_command
from schemas.config import RefreshConfig
from schemas.sources import DigitsSource, RowsSource


def check_settings(config: RefreshConfig) -> list[Finding]:
    """Values that are allowed one by one and contradict each other."""
    findings = list(_find_contradictions(config))
    return findings or [Finding("ok", "configuration: settings agree")]


def _find_missing_programs(config: RefreshConfig) -> Iterator[Finding]:
    """Of benchmarks that run when everything else has."""
    for name, benchmark in config.evaluate.benchmarks.items():
        try:
            find_command(name, benchmark)
        except ValueError as error:
            yield Finding("error", f"configuration: {error}")


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
    if isinstance(source, RowsSource) and source.validation_share + source.test_share >= 1:
        yield Finding(
            "error",
            f"configuration: source.validation_share ({source.validation_share}) and "
            f"source.test_share ({source.test_share}) leave nothing to train on; lower them",
        )
    if isinstance(source, DigitsSource):
        num_prompts = sum(source.selection.values())
        if 0 < num_prompts < config.train.eval_prompts:
            yield Finding(
                "warning",
                f"configuration: train.eval_prompts ({config.train.eval_prompts}) is more than the "
                f"{num_prompts} selection samples of the source; all of them will be used",
            )
    yield from check_metrics(config)
    yield from _find_missing_programs(config)
    yield from check_objective(config)
