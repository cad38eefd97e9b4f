"""Score: a reward for every candidate, shard by shard.

Candidates belong to a prompt and meet its samples by prompt_id: samples that share a prompt and
differ in their truth each get their own score rows. One score part a candidate shard, under the
same name, so that workers can score shards side by side and `run` collects what they made. Images
are never read: rewards compare texts. A score that an earlier set holds of the same sample and
answer, judged the same way, is taken over.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from perpo_core.perception.frames import needs_policy
from perpo_core.perception.judging import Judge, Judgement, describe_judging
from perpo_core.policy.reading import find_reading
from perpo_core.stages.earlier import SharedParts, find_shared_parts
from perpo_core.stages.samples import ScorableSample, ScorableSamples, build_item
from perpo_core.stages.score.check import check_candidates, list_shards
from perpo_core.stages.score.earlier import EarlierScores, Pair
from perpo_core.stages.stage import StageContext
from perpo_core.store.keys import compute_digest, compute_hash
from perpo_core.store.keys import compute_key as compute_stage_key
from perpo_core.store.provenance import as_parents, describe_producer, utc_now
from perpo_core.store.row_reader import read_columns
from perpo_core.store.workspace import Workspace
from schemas.arrow import SCORES
from schemas.artifact import CandidateSet, Counts, FileRef, SampleSet, ScoredSet
from schemas.base import Split, TaskName
from schemas.config import RefreshConfig
from schemas.run import PolicyRef

KIND = "scores"
VERSION = 1
SPLIT: Split = "train"  # of the candidates
CANDIDATE_COLUMNS = ["prompt_id", "index", "candidate_hash", "text"]
UNREADABLE = "unreadable answer"


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


def score_share(
    context: StageContext,
    key: str,
    samples: SampleSet,
    candidates: CandidateSet,
    start: int = 0,
    step: int = 1,
) -> list[FileRef]:
    """Score candidate shards start, start + step, ...; finished parts are kept as they are.

    In steps, since neighbours are of one task and cost alike. Raises ValueError for a candidate
    whose prompt has no sample.
    """
    workspace = context.open_workspace(KIND, key)
    scorer = build_scorer(context, key, samples, candidates)
    shards = list_shards(candidates)[start::step]
    files: list[FileRef] = []
    for shard in shards:
        path = context.store.locate_file(candidates, shard)
        made_of = scorer.identify_part(shard, path)
        file = workspace.find_part(shard.path, made_of)
        file = file or scorer.shared.find(shard.path, made_of)
        files.append(file or _score_shard(scorer, path, workspace, shard.path, made_of))
        context.progress(len(files), len(shards), "shards")
    return files


@dataclass(frozen=True)
class Scorer:
    """What scoring a shard needs besides the shard."""

    judge: Judge
    is_zero: bool
    """Whether an answer that cannot be read counts, as 0 or less, or leaves the list."""
    samples: ScorableSamples
    shared: SharedParts
    """Whole parts of earlier sets."""
    earlier: EarlierScores
    """Single scores of theirs."""
    scoring_digest: str

    def identify_part(self, shard: FileRef, path: Path) -> list[object]:
        """What the scores of a candidate shard are made of, in whatever set."""
        prompt_ids = read_columns(path, ["prompt_id"])["prompt_id"].unique().to_pylist()
        known = [prompt_id for prompt_id in prompt_ids if prompt_id in self.samples]
        return [self.scoring_digest, shard.sha256, self.samples.list_ids(known)]


def build_scorer(
    context: StageContext, key: str, samples: SampleSet, candidates: CandidateSet
) -> Scorer:
    """The samples, and the scores that earlier sets hold."""
    scoring_digest = compute_scoring_digest(context.config, context.policy)
    earlier = EarlierScores(context, key, scoring_digest, list_policies(candidates))
    scorable = ScorableSamples(context, samples, SPLIT)
    shared = find_shared_parts(context, KIND, key)
    config = context.config
    judge = Judge(config.score, config.policy.box_format)
    is_zero = config.score.on_unparsed == "zero"
    return Scorer(judge, is_zero, scorable, shared, earlier, scoring_digest)


def list_policies(candidates: CandidateSet) -> list[str]:
    """Digests of the policies whose answers the set holds, ascending."""
    return sorted(candidates.prompts_per_policy) or [candidates.policy_digest]


def _score_shard(
    scorer: Scorer, path: Path, workspace: Workspace, name: str, made_of: object
) -> FileRef:
    """Write the scores of one candidate shard, in its order and of one prompt by sample_id."""
    pairs = list(_pair(scorer, path))
    known = scorer.earlier.find([_identify(sample, candidate) for sample, candidate in pairs])
    wanting = [pair for pair in pairs if _identify(*pair) not in known]
    made = iter(_score_pairs(scorer, wanting))
    rows = []
    for sample, candidate in pairs:
        earlier = known.get(_identify(sample, candidate))
        # Equal answers share their hash, and each has an index of its own.
        rows.append({**earlier, "index": candidate["index"]} if earlier else next(made))
    num_reused = len(pairs) - len(wanting)
    table = pa.Table.from_pylist(rows, schema=SCORES)
    return workspace.write_part(name, table, made_of, num_reused, scorer.scoring_digest)


def _pair(scorer: Scorer, path: Path) -> Iterator[tuple[ScorableSample, dict[str, Any]]]:
    """Every candidate of a shard with every sample of its prompt."""
    candidates = read_columns(path, CANDIDATE_COLUMNS).to_pylist()
    for row, candidate in enumerate(candidates):
        if candidate["prompt_id"] not in scorer.samples:
            raise ValueError(
                f"{path}, row {row}: no {SPLIT} sample has the prompt_id "
                f"{candidate['prompt_id']}, so samples and candidates do not belong together; "
                "generate the candidates again from these samples"
            )
    by_prompt = scorer.samples.build(dict.fromkeys(row["prompt_id"] for row in candidates))
    for candidate in candidates:
        for sample in by_prompt[candidate["prompt_id"]]:
            yield sample, candidate


def _identify(sample: ScorableSample, candidate: dict[str, Any]) -> Pair:
    return sample.sample_id, candidate["candidate_hash"]


def _score_pairs(
    scorer: Scorer, pairs: Sequence[tuple[ScorableSample, dict[str, Any]]]
) -> Iterator[dict[str, Any]]:
    """Rows of SCORES."""
    items = [build_item(sample, candidate["text"]) for sample, candidate in pairs]
    judgements = scorer.judge.judge_many(items)
    for (sample, candidate), judgement in zip(pairs, judgements, strict=True):
        yield _build_row(sample, candidate, judgement, scorer.is_zero)


def _build_row(
    sample: ScorableSample, candidate: dict[str, Any], judgement: Judgement, is_zero: bool
) -> dict[str, Any]:
    counts = is_zero or judgement.reward is not None
    parsed = judgement.parsed
    return {
        "sample_id": sample.sample_id,
        "prompt_id": candidate["prompt_id"],
        "index": candidate["index"],
        "candidate_hash": candidate["candidate_hash"],
        "task": sample.task,
        "reward": judgement.value if counts else None,
        "rewards": list(judgement.rewards.items()) if counts else [],
        "parsed": None if parsed is None else json.dumps(parsed, ensure_ascii=False),
        "error": judgement.error,
    }


def run(context: StageContext, key: str, samples: SampleSet, candidates: CandidateSet) -> ScoredSet:
    """Every part, those already made included, with counts of candidate-sample pairs.

    Raises ValueError for a candidate without a sample, a sample without candidates, and a
    candidate that is there twice.
    """
    started = time.monotonic()
    check_candidates(context.store, samples, candidates, SPLIT)
    files = score_share(context, key, samples, candidates)
    workspace = context.open_workspace(KIND, key)
    tally = Tally()
    for file in files:
        tally.add(read_columns(workspace.locate_file(file), ["task", "reward", "error"]))
    num_reused = sum(file.num_reused for file in files)
    context.log(
        f"scores of {tally.num_rows} answers, {tally.num_unreadable} of them {UNREADABLE}s: "
        f"{tally.num_rows - num_reused} made, {num_reused} taken over from earlier sets"
    )
    return ScoredSet(
        stage="score",
        key=key,
        digest=compute_digest(files),
        files=files,
        counts=Counts(
            num_in=tally.num_rows,
            num_kept=tally.num_rows - tally.num_without,
            dropped={UNREADABLE: tally.num_without} if tally.num_without else {},
            num_reused=num_reused,
        ),
        parents=as_parents(samples, candidates),
        producer=describe_producer(seed=context.config.generate.seed, threads=1),
        created_at=utc_now(),
        seconds=time.monotonic() - started,
        attempt=workspace.attempt,
        mean_reward=tally.compute_mean_reward(),
        scoring_digest=compute_scoring_digest(context.config, context.policy),
        policy_digests=list_policies(candidates),
    )


@dataclass
class Tally:
    """What is counted over all parts."""

    num_rows: int = 0
    num_without: int = 0
    """Rows without a reward."""
    num_unreadable: int = 0
    rewards: dict[TaskName, tuple[float, int]] = field(default_factory=dict)
    """Task -> sum and number of rewards."""

    def add(self, scores: pa.Table) -> None:
        self.num_rows += scores.num_rows
        self.num_without += scores["reward"].null_count
        self.num_unreadable += scores.num_rows - scores["error"].null_count
        sums = scores.group_by("task").aggregate([("reward", "sum"), ("reward", "count")])
        for row in sums.to_pylist():
            total, num = self.rewards.get(row["task"], (0.0, 0))
            added = row["reward_sum"] or 0.0
            self.rewards[row["task"]] = total + added, num + row["reward_count"]

    def compute_mean_reward(self) -> dict[TaskName, float]:
        """Task -> mean over the answers that have a reward; a task without any is left out."""
        return {task: total / num for task, (total, num) in sorted(self.rewards.items()) if num}
