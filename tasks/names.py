"""What a stage is about to do, in words a person can read: task run names and `perpo plan`.

Counts come from the stage's parents; where a parent is not known yet, they are left out.
"""

from __future__ import annotations

from typing import Any

from schemas.artifact import CandidateSet, Checkpoint, PreferenceSet, SampleSet
from schemas.base import SPLITS, Split, StageName
from schemas.config import RefreshConfig
from schemas.sources import DigitsSource


def describe_work(stage: StageName, config: RefreshConfig, *parents: Any) -> str:
    """Such as "generate 1,280 prompts x 16"; a parent is None where it is not known yet."""
    by_kind = {parent.kind: parent for parent in parents if parent is not None}
    samples: SampleSet | None = by_kind.get("samples")
    if stage == "collect":
        return f"collect {_describe_source(config)}"
    if stage == "generate":
        prompts = _count(samples, "train", "prompts")
        return f"generate {prompts} x {config.generate.num_candidates}"
    if stage == "score":
        candidates: CandidateSet | None = by_kind.get("candidates")
        return f"score {f'{candidates.num_candidates:,} ' if candidates else ''}answers"
    if stage == "materialize":
        return f"materialize lists of {_count(samples, 'train', 'prompts')}"
    if stage in ("contrast", "train"):
        lists: PreferenceSet | None = by_kind.get("preferences")
        doing = "contrast the tokens of" if stage == "contrast" else "train on"
        return f"{doing} {f'{lists.counts.num_kept:,} ' if lists else ''}lists"
    if stage == "evaluate":
        prompts = _count(samples, "test", "test prompts")
        return f"evaluate {prompts} x {1 + config.evaluate.num_samples}"
    checkpoint: Checkpoint | None = by_kind.get("checkpoint")
    return f"promote {checkpoint.policy_digest[:12] if checkpoint else 'if the gates pass'}"


def _describe_source(config: RefreshConfig) -> str:
    source = config.source
    if not isinstance(source, DigitsSource):
        return f"samples from {', '.join(path.name for path in source.files)}"
    total = sum(sum(getattr(source, split).values()) for split in SPLITS)
    return f"{total:,} digit scenes"


def _count(samples: SampleSet | None, split: Split, unit: str) -> str:
    if samples is None:
        return unit
    rows = sum(n for name, n in samples.per_split.items() if name.endswith(f"/{split}"))
    return f"{rows:,} {unit}"
