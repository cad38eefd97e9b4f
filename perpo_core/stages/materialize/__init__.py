"""Materialize: ranked lists from scored candidates, one row a list, ready to train on.

    part-00000.parquet       the lists of one candidate shard (schemas.arrow.PREFERENCES)
    dropped-00000.parquet    what of it is in no list, with reasons
    dropped-refused.parquet  samples whose prompt the policy could not take, where there are any

Scores meet candidates by (prompt_id, index) and must name the same candidate hash, so that a
reward can never meet another answer. Shard by shard, so that memory holds one; a shard of which an
earlier set made lists in the same way is shared. What does not enter is named: whole samples under
their sample_id, single answers under sample_id/index.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from perpo_core.policy.refusals import load_refusals
from perpo_core.stages.materialize import lists
from perpo_core.stages.materialize.join import Shard, pair_shards
from perpo_core.stages.materialize.outcomes import check_complete, choose_widest
from perpo_core.stages.materialize.parts import KIND, VERSION, PartMaker
from perpo_core.stages.materialize.tally import Tally, read_tallies
from perpo_core.stages.stage import StageContext
from perpo_core.store.keys import compute_digest
from perpo_core.store.keys import compute_key as compute_stage_key
from perpo_core.store.provenance import as_parents, describe_producer, utc_now
from schemas.artifact import CandidateSet, Counts, PreferenceSet, SampleSet, ScoredSet
from schemas.config import RefreshConfig
from schemas.run import PolicyRef

__all__ = ["KIND", "VERSION", "compute_key", "run"]


def compute_key(
    config: RefreshConfig,
    policy: PolicyRef,
    samples: SampleSet,
    candidates: CandidateSet,
    scores: ScoredSet,
) -> str:
    """Lists depend on all three parents and on the section `lists`."""
    del policy
    parents = as_parents(samples, candidates, scores)
    return compute_stage_key("materialize", VERSION, parents, config.lists.model_dump())


def run(
    context: StageContext,
    key: str,
    samples: SampleSet,
    candidates: CandidateSet,
    scores: ScoredSet,
) -> PreferenceSet:
    """Every part; counts are in lists, one a training sample.

    Raises ValueError if no list is left, saying the reasons and which setting to look at, and for
    a score and a candidate that do not belong together.
    """
    started = time.monotonic()
    shards = pair_shards(context.store, candidates, scores)
    maker = PartMaker(context, key, samples, choose_widest(shards, context.config.lists))
    files = [file for shard in _show_progress(context, shards) for file in maker.make(shard)]
    tally = read_tallies(
        maker.workspace.locate_file(file) for file in files if file.path.startswith("part-")
    )
    files += maker.write_refused(load_refusals(context.store, candidates), tally)
    check_complete(maker.samples, shards, tally)
    if not tally.num_kept:
        raise ValueError(lists.explain_no_lists(tally.dropped))
    _log_drops(context, tally)
    return PreferenceSet(
        stage="materialize",
        key=key,
        digest=compute_digest(files),
        files=files,
        counts=Counts(
            num_in=len(maker.samples.list_ids()),
            num_kept=tally.num_kept,
            dropped=tally.dropped,
            num_reused=sum(file.num_reused for file in files if file.path.startswith("part-")),
        ),
        parents=as_parents(samples, candidates, scores),
        producer=describe_producer(seed=context.config.generate.seed, threads=1),
        created_at=utc_now(),
        seconds=time.monotonic() - started,
        attempt=maker.workspace.attempt,
        num_lists={task: tally.num_lists[task] for task in tally.tasks},
        mean_list_size=tally.num_answers / tally.num_kept,
    )


def _show_progress(context: StageContext, shards: list[Shard]) -> Iterator[Shard]:
    for done, shard in enumerate(shards):
        context.progress(done, len(shards), "shards")
        yield shard
    context.progress(len(shards), len(shards), "shards")


def _log_drops(context: StageContext, tally: Tally) -> None:
    """How many samples of each task gave a list, and why others gave none."""
    for task in tally.tasks:
        num_kept, without = tally.num_lists[task], tally.without[task]
        context.log(
            f"{'' if num_kept else 'warning: '}{num_kept} of {num_kept + sum(without.values())} "
            f"{task} samples gave a list; without one: {_say(without)}"
        )
    context.log(f"answers left out of lists: {_say(tally.left_out)}")


def _say(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in counts.items()) or "none"
