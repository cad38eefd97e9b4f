"""How many prompts a refresh would sample, and how many samples it would only score again.

Looks at ids alone, loads no engine and writes nothing. The samples are those of the store, or where
they must be collected first, of the source itself: naming them reads every image once more, which
is given up after LOOK_S. What a source holds that takes longer, or that composes its samples, is
not known before collect, and is said to be so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from perpo_core.stages.collect.sources import SOURCES
from perpo_core.stages.collect.sources.rows import SetAside
from perpo_core.stages.generate import build_own_request
from perpo_core.stages.generate.identity import list_policies
from perpo_core.stages.generate.reuse import find_reusable_files, index_candidates
from perpo_core.stages.samples import read_samples
from perpo_core.stages.score import SPLIT, compute_scoring_digest
from perpo_core.stages.score.earlier import find_earlier_scores
from perpo_core.stages.stage import StageContext
from schemas.artifact import SampleSet

LOOK_S = 10.0  # who asks for a plan does not want to wait
Ids = tuple[str, str, str]
"""prompt_id, sample_id and split of a sample."""


@dataclass(frozen=True)
class Forecast:
    """Of the training split."""

    num_prompts: int
    num_new: int
    """Prompts to sample: nobody answered them yet, or not this policy."""
    num_rescored: int
    """Samples of the other prompts without a score: their truth is new or was corrected."""

    @property
    def num_reused(self) -> int:
        """Prompts whose answers are taken over."""
        return self.num_prompts - self.num_new


def compute_forecast(context: StageContext, samples: SampleSet | None) -> Forecast | None:
    """What is new; `samples` where they are collected. None: not known before collect.

    Raises ValueError where a row of the source cannot be used, as collecting it would.
    """
    prompts = list_samples(context, samples)
    if prompts is None:
        return None
    answered = find_answered(context, set(prompts))
    open_ids = [i for prompt_id in answered for i in prompts[prompt_id]]
    policies = list_policies(build_own_request(context.config, context.policy), context.policy)
    digest = compute_scoring_digest(context.config, context.policy)
    scored = find_earlier_scores(context, "", digest, policies).find_samples(open_ids)
    return Forecast(len(prompts), len(prompts) - len(answered), len(open_ids) - len(scored))


def list_samples(context: StageContext, samples: SampleSet | None) -> dict[str, list[str]] | None:
    """prompt_id -> its sample_ids, of the training split; None where it would take too long."""
    rows = _read_ids(context, samples) if samples else _look_ahead(context)
    prompts: dict[str, list[str]] = {}
    deadline_s = time.monotonic() + LOOK_S
    if rows is None:
        return None
    for prompt_id, sample_id, split in rows:
        if split == SPLIT:
            prompts.setdefault(prompt_id, []).append(sample_id)
        if samples is None and time.monotonic() > deadline_s:
            return None
    return prompts


def _read_ids(context: StageContext, samples: SampleSet) -> Iterator[Ids]:
    columns = ["prompt_id", "sample_id", "split"]
    table = read_samples(context.store, samples, columns)
    return zip(*(table[name].to_pylist() for name in columns), strict=True)


def _look_ahead(context: StageContext) -> Iterator[Ids] | None:
    source = context.config.source
    module = SOURCES[source.kind]
    if module.IS_COMPOSED:
        return None
    rows = (row for row in module.iterate_samples(source) if not isinstance(row, SetAside))
    return ((row["prompt_id"], row["sample_id"], row["split"]) for row in rows)


def find_answered(context: StageContext, prompt_ids: set[str]) -> set[str]:
    """Prompts whose answers earlier sets have, or a sampling that was interrupted."""
    request = build_own_request(context.config, context.policy)
    files = find_reusable_files(context, "", request, context.policy, prompt_ids)
    policies = list_policies(request, context.policy)
    return set(index_candidates(files, policies, prompt_ids, context.log).file_of)
