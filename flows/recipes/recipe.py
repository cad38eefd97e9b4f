"""The method, in order. The only place that says which stage takes what.

`make` decides what following the recipe means: make the artifacts (flows/recipes/runner.py) or say
what would be made (flows/recipes/planning.py). It returns None for an artifact that is not there.
"""

from __future__ import annotations

from typing import Any, Protocol

from schemas.base import StageName
from schemas.config import RefreshConfig


class Make(Protocol):
    """Make, take or plan one stage from its parents' artifacts."""

    def __call__(self, stage: StageName, *parents: Any) -> Any: ...


def follow_recipe(make: Make, config: RefreshConfig) -> None:
    """One refresh, from samples to promotion; `config` says whether tokens are weighed."""
    samples = make("collect")
    candidates = make("generate", samples)
    scores = make("score", samples, candidates)
    preferences = make("materialize", samples, candidates, scores)
    lists = [samples, preferences]
    if config.train.weighs_tokens:
        lists.append(make("contrast", *lists))
    checkpoint = make("train", *lists)
    evaluation = make("evaluate", samples, checkpoint)
    make("promote", evaluation, checkpoint)
