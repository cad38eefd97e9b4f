"""Score: a reward for every candidate, shard by shard.

Candidates belong to a prompt and meet its samples by prompt_id: samples that share a prompt and
differ in their truth each get their own score rows. One score part a candidate shard, under the
same name, so that workers can score shards side by side. Images
are read for a judge, and for a reward of one's own that asks for them; all others compare texts. A
score that an earlier set holds of the same sample and answer, judged the same way, is taken over.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa

from perpo_core.perception.frames import needs_policy
from perpo_core.perception.judging import describe_judging, is_order, list_outside
from perpo_core.policy.reading import find_reading
from perpo_core.policy.refusals import load_refusals
from perpo_core.stages.earlier import SharedParts, find_shared_parts
from perpo_core.stages.samples import ScorableSamples
from perpo_core.stages.score.check import check_prompts, list_shards, read_prompts
from perpo_core.stages.score.earlier import EarlierScores, find_earlier_scores
from perpo_core.stages.score.pairs import Pairs, build_table, pair_shard
from perpo_core.stages.score.shard_judge import ShardJudge, build_shard_judge
from perpo_core.stages.score.tally import UNREADABLE, Tally, count_scores
from perpo_core.stages.stage import StageContext
from perpo_core.store.keys import compute_digest, compute_hash
from perpo_core.store.keys import compute_key as compute_stage_key
from perpo_core.store.provenance import as_parents, describe_producer, utc_now
from perpo_core.store.row_reader import read_columns
from perpo_core.store.workspace import Workspace
from schemas.artifact import CandidateSet, Counts, FileRef, SampleSet, ScoredSet
from schemas.base import Split
from schemas.config import RefreshConfig
from schemas.run import PolicyRef

KIND = "scores"
VERSION = 1
SPLIT: Split = "train"  # of the candidates
GROUP_ROWS = 1 << 16  # who reads scores reads a shard of them, and one group is written sooner


def compute_key(
    config: RefreshConfig, policy: PolicyRef, samples: SampleSet, candidates: CandidateSet
) -> str:
    """Scores depend on samples, candidates, and how answers are judged.

    The candidates' digest covers the policy, whose processor tells the resized image size.
    """
    judging = describe_judging(config, find_reading(policy))
    return compute_stage_key("score", VERSION, as_parents(samples, candidates), judging)


def compute_scoring_digest(config: RefreshConfig, policy: PolicyRef) -> str:
    """All that the score of a given answer to a given sample depends on."""
    resizer = policy.digest if needs_policy(config.policy.box_format) else None
    judging = describe_judging(config, find_reading(policy))
    return compute_hash(["scoring", VERSION, judging, resizer])


@dataclass(frozen=True)
class Scorer:
    """What scoring a shard needs besides the shard."""

    context: StageContext
    key: str
    parents: tuple[SampleSet, CandidateSet]
    judge: ShardJudge
    is_outside: bool
    """Whether any reward can fail to judge an answer."""
    samples: ScorableSamples
    shared: SharedParts
    """Whole parts of earlier sets."""
    earlier: EarlierScores
    """Single scores of theirs."""
    scoring_digest: str
    started: float = field(default_factory=time.monotonic)
    """Seconds of a clock of its own."""

    @property
    def shards(self) -> list[FileRef]:
        """The candidates'."""
        return list_shards(self.parents[1])

    @cached_property
    def workspace(self) -> Workspace:
        return self.context.open_workspace(KIND, self.key)

    def identify_part(self, shard: FileRef, prompt_ids: Sequence[str]) -> list[object]:
        """What the scores of a candidate shard are made of, in whatever set."""
        known = [prompt_id for prompt_id in prompt_ids if prompt_id in self.samples]
        return [self.scoring_digest, shard.sha256, self.samples.list_ids(known)]


@dataclass(frozen=True)
class ScoredShard:
    """A finished part, and what the whole set must know of it."""

    file: FileRef
    prompt_ids: Sequence[str]
    tally: Tally


def build_scorer(
    context: StageContext, key: str, samples: SampleSet, candidates: CandidateSet
) -> Scorer:
    """The samples, and the scores that earlier sets hold; for all shares.

    Raises ValueError for candidates without a shard.
    """
    if not list_shards(candidates):
        raise ValueError("the candidate set has no shards; generate candidates first")
    scoring_digest = compute_scoring_digest(context.config, context.policy)
    outside = list_outside(context.config.score)
    if any(is_order(part.options) for _, part in outside):
        earlier = EarlierScores()  # each answer's reward rests on all the others
    else:
        earlier = find_earlier_scores(context, key, scoring_digest, list_policies(candidates))
    return Scorer(
        context,
        key,
        (samples, candidates),
        build_shard_judge(context, samples),
        bool(outside),
        ScorableSamples(context, samples, SPLIT),
        find_shared_parts(context, KIND, key),
        earlier,
        scoring_digest,
    )


def list_policies(candidates: CandidateSet) -> list[str]:
    """Digests of the policies whose answers the set holds, ascending."""
    return sorted(candidates.prompts_per_policy) or [candidates.policy_digest]


def score_share(scorer: Scorer, start: int = 0, step: int = 1) -> list[ScoredShard]:
    """Score candidate shards start, start + step, ...; finished parts are kept as they are.

    In steps, since neighbours are of one task and cost alike. Raises ValueError for a candidate
    whose prompt has no sample and one that is there twice.
    """
    shards = scorer.shards[start::step]
    scored = []
    for number, shard in enumerate(shards, 1):
        scored.append(_score_shard(scorer, shard))
        scorer.context.progress(number, len(shards), "shards")
    return scored


def _score_shard(scorer: Scorer, shard: FileRef) -> ScoredShard:
    path = scorer.context.store.locate_file(scorer.parents[1], shard)
    prompts = read_prompts(path)
    prompt_ids = prompts.dictionary.to_pylist()
    made_of = scorer.identify_part(shard, prompt_ids)
    file = scorer.workspace.find_part(shard.path, made_of)
    if not scorer.is_outside:  # a shared part could hold answers that were not judged
        file = file or scorer.shared.find(shard.path, made_of)
    if file:
        scores = read_columns(scorer.workspace.locate_file(file), ["task", "reward", "error"])
    else:
        pairs = pair_shard(scorer.samples, path, prompts)
        file, scores = _write_part(scorer, pairs, shard.path, made_of)
    return ScoredShard(file, prompt_ids, count_scores(scores))


def _write_part(
    scorer: Scorer, pairs: Pairs, name: str, made_of: object
) -> tuple[FileRef, pa.Table]:
    """Write the scores of one candidate shard, in its order and of one prompt by sample_id."""
    ids = pairs.sample_ids, pairs.candidates["candidate_hash"].combine_chunks()
    known, place_N = scorer.earlier.find(*ids)
    wanting = np.flatnonzero(place_N < 0)
    made = scorer.judge(pairs, wanting)
    if num_reused := len(place_N) - len(wanting):
        place_N[wanting] = known.num_rows + np.arange(len(wanting))
        made = pa.concat_tables([known.select(made.column_names), made]).combine_chunks()
        made = made.take(pa.array(place_N))
    table, digest = build_table(pairs, made), scorer.scoring_digest
    file = scorer.workspace.write_part(name, table, made_of, num_reused, digest, GROUP_ROWS)
    return file, table


def run(context: StageContext, key: str, samples: SampleSet, candidates: CandidateSet) -> ScoredSet:
    """Every part, those already made included; raises as score_share and collect_shards do."""
    scorer = build_scorer(context, key, samples, candidates)
    return collect_shards(scorer, score_share(scorer))


def collect_shards(scorer: Scorer, scored: Iterable[ScoredShard]) -> ScoredSet:
    """The artifact of all shards, in any order, with counts of candidate-sample pairs.

    Raises ValueError for a sample without candidates and a prompt that two shards answer.
    """
    context, (samples, candidates) = scorer.context, scorer.parents
    by_path = {each.file.path: each for each in scored}
    shards = [by_path[shard.path] for shard in scorer.shards]
    refused = load_refusals(context.store, candidates)
    check_prompts(scorer.samples, [each.prompt_ids for each in shards], refused)
    files, tally = [each.file for each in shards], sum((each.tally for each in shards), Tally())
    num_reused = sum(file.num_reused for file in files)
    context.log(
        f"scores of {tally.num_rows} answers, {tally.num_unreadable} of them {UNREADABLE}s"
        f"{tally.describe_not_judged()}: "
        f"{tally.num_rows - num_reused} made, {num_reused} taken over from earlier sets"
    )
    return ScoredSet(
        stage="score",
        key=scorer.key,
        digest=compute_digest(files),
        files=files,
        counts=Counts(
            num_in=tally.num_rows,
            num_kept=tally.num_rows - tally.num_without,
            dropped=tally.dropped,
            num_reused=num_reused,
        ),
        parents=as_parents(samples, candidates),
        producer=describe_producer(seed=context.config.generate.seed, threads=1),
        created_at=utc_now(),
        seconds=time.monotonic() - scorer.started,
        attempt=scorer.workspace.attempt,
        mean_reward=tally.compute_mean_reward(),
        scoring_digest=scorer.scoring_digest,
        policy_digests=list_policies(candidates),
    )
