"""Score: a reward for every candidate, shard by shard.

Candidates belong to a prompt and meet its samples by prompt_id: samples that share a prompt and
differ in their truth each get their own score rows. One score part a candidate shard, under the
same name, so that workers can score ranges of shards side by side and `run` collects what they
made. Images are never read: rewards compare texts.

Left out: several rewards mixed into one. `rewards` keeps rewards by name, so a mixture has a place.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from perpo_core.boxes import Frame
from perpo_core.frames import build_framer
from perpo_core.keys import compute_digest
from perpo_core.keys import compute_key as compute_stage_key
from perpo_core.rewards import REWARDS, Reading, RewardResult, Target
from perpo_core.stage import StageContext, as_parents, describe_producer, utc_now
from perpo_core.store import Store
from schemas.arrow import SCORES
from schemas.artifact import CandidateSet, Counts, FileRef, SampleSet, ScoredSet
from schemas.base import Split, Task
from schemas.config import RefreshConfig, ScoreConfig
from schemas.run import PolicyRef

KIND = "scores"
VERSION = 1
RANGES_PER_WORKER = 4  # enough to even out ranges of unequal cost, few enough to keep a UI readable
SPLIT: Split = "train"  # of the candidates
SAMPLE_COLUMNS = ["sample_id", "prompt_id", "task", "split", "width", "height", "target"]
CANDIDATE_COLUMNS = ["prompt_id", "index", "candidate_hash", "text"]
UNREADABLE = "unreadable answer"


@dataclass(frozen=True)
class ScorableSample:
    """What scoring needs of a sample."""

    sample_id: str
    task: Task
    target: Target
    frame: Frame


def compute_key(
    config: RefreshConfig, policy: PolicyRef, samples: SampleSet, candidates: CandidateSet
) -> str:
    """Scores depend on samples, candidates, the rewards' settings and the box format.

    The candidates' digest covers the policy, whose processor tells the resized image size.
    """
    del policy
    settings = config.score.model_dump(exclude={"workers"})
    settings["box_format"] = config.policy.box_format
    return compute_stage_key("score", VERSION, as_parents(samples, candidates), settings)


def score_text(
    text: str, task: Task, target: Target, frame: Frame, box_format: str, config: ScoreConfig
) -> RewardResult:
    """The reward of one answer under the task's configured reward; reward None if unreadable."""
    reading = Reading(frame, box_format, config.collapse_whitespace)
    return REWARDS[getattr(config, task)](text, target, reading)


def split_ranges(num_shards: int, workers: int) -> list[tuple[int, int]]:
    """Shards 0..num_shards as at most 4 x workers half-open ranges, sizes differing by at most 1.

    >>> split_ranges(10, 1)
    [(0, 2), (2, 5), (5, 7), (7, 10)]
    """
    num_ranges = min(num_shards, RANGES_PER_WORKER * workers)
    edges = [i * num_shards // num_ranges for i in range(num_ranges + 1)] if num_ranges else [0]
    return list(pairwise(edges))


def list_shards(candidates: CandidateSet) -> list[FileRef]:
    """The candidate shards in order; `start` and `stop` of a range count in this list."""
    return [file for file in candidates.files if file.path.endswith(".parquet")]


def score_range(
    context: StageContext,
    key: str,
    samples: SampleSet,
    candidates: CandidateSet,
    start: int,
    stop: int,
) -> list[FileRef]:
    """Score candidate shards [start, stop), one part each; finished parts are kept as they are.

    Raises ValueError for a candidate whose prompt has no sample.
    """
    workspace = context.open_workspace(KIND, key)
    by_prompt: dict[str, list[ScorableSample]] | None = None
    files = []
    for shard in list_shards(candidates)[start:stop]:
        made_of = [key, samples.digest, shard.sha256]
        file = workspace.find_part(shard.path, made_of)
        if file is None:
            if by_prompt is None:
                by_prompt = load_scorable_samples(context, samples)
            path = context.store.path(candidates, shard.path)
            table = pq.read_table(path, columns=CANDIDATE_COLUMNS)
            rows = list(_score_candidates(context.config, by_prompt, table, str(path)))
            scores = pa.Table.from_pylist(rows, schema=SCORES)
            file = workspace.write_part(shard.path, scores, made_of)
        files.append(file)
    return files


def load_scorable_samples(
    context: StageContext, samples: SampleSet
) -> dict[str, list[ScorableSample]]:
    """prompt_id -> its training samples, in order of sample_id; image bytes stay on disk."""
    table = pq.read_table(
        context.store.path(samples, "samples.parquet"),
        columns=SAMPLE_COLUMNS,
        filters=[("split", "==", SPLIT)],
    )
    build_frame = build_framer(context.config.policy.box_format, context.policy.folder)
    by_prompt: dict[str, list[ScorableSample]] = defaultdict(list)
    for row in sorted(table.to_pylist(), key=lambda row: row["sample_id"]):
        frame = build_frame(row["width"], row["height"])
        by_prompt[row["prompt_id"]].append(
            ScorableSample(row["sample_id"], row["task"], row["target"], frame)
        )
    return dict(by_prompt)


def _score_candidates(
    config: RefreshConfig, by_prompt: dict[str, list[ScorableSample]], table: pa.Table, where: str
) -> Iterator[dict[str, Any]]:
    for row, candidate in enumerate(table.to_pylist()):
        if candidate["prompt_id"] not in by_prompt:
            raise ValueError(
                f"{where}, row {row}: no {SPLIT} sample has the prompt_id "
                f"{candidate['prompt_id']}, so samples and candidates do not belong together; "
                "generate the candidates again from these samples"
            )
        for sample in by_prompt[candidate["prompt_id"]]:
            yield _score_candidate(config, sample, candidate)


def _score_candidate(
    config: RefreshConfig, sample: ScorableSample, candidate: dict[str, Any]
) -> dict[str, Any]:
    """One row of SCORES."""
    result = score_text(
        candidate["text"], sample.task, sample.target, sample.frame,
        config.policy.box_format, config.score,
    )  # fmt: skip
    reward = result.reward
    if reward is None and config.score.on_unparsed == "zero":
        reward = 0.0
    return {
        "sample_id": sample.sample_id,
        "prompt_id": candidate["prompt_id"],
        "index": candidate["index"],
        "candidate_hash": candidate["candidate_hash"],
        "task": sample.task,
        "reward": reward,
        "rewards": [] if reward is None else [(getattr(config.score, sample.task), reward)],
        "parsed": None if result.error else json.dumps(result.parsed, ensure_ascii=False),
        "error": result.error,
    }


def run(context: StageContext, key: str, samples: SampleSet, candidates: CandidateSet) -> ScoredSet:
    """Every part, those already made included, with counts of candidate-sample pairs.

    Raises ValueError for a candidate without a sample, a sample without candidates, and a
    candidate that is there twice.
    """
    started = time.monotonic()
    check_candidates(context, samples, candidates)
    shards = list_shards(candidates)
    files = []
    for number in range(len(shards)):
        files += score_range(context, key, samples, candidates, number, number + 1)
        context.progress(number + 1, len(shards), "shards")
    workspace = context.open_workspace(KIND, key)
    paths = [workspace.folder / file.path for file in files]
    scores = pa.concat_tables(pq.read_table(p, columns=["task", "reward", "error"]) for p in paths)
    num_without = scores["reward"].null_count
    num_unreadable = scores.num_rows - scores["error"].null_count
    context.log(f"scored {scores.num_rows} answers, {num_unreadable} of them {UNREADABLE}s")
    return ScoredSet(
        stage="score",
        key=key,
        digest=compute_digest(files),
        files=files,
        counts=Counts(
            num_in=scores.num_rows,
            num_kept=scores.num_rows - num_without,
            dropped={UNREADABLE: num_without} if num_without else {},
        ),
        parents=as_parents(samples, candidates),
        producer=describe_producer(seed=context.config.generate.seed, threads=1),
        created_at=utc_now(),
        seconds=time.monotonic() - started,
        attempt=workspace.attempt,
        mean_reward=_compute_mean_reward(scores),
    )


def _compute_mean_reward(scores: pa.Table) -> dict[Task, float]:
    """Task -> mean over the answers that have a reward; a task without any is left out."""
    means = scores.group_by("task").aggregate([("reward", "mean")]).sort_by("task")
    return {
        row["task"]: row["reward_mean"]
        for row in means.to_pylist()
        if row["reward_mean"] is not None
    }


def check_candidates(context: StageContext, samples: SampleSet, candidates: CandidateSet) -> None:
    """Every training sample has candidates and no candidate is there twice, or ValueError."""
    store: Store = context.store
    if not list_shards(candidates):
        raise ValueError("the candidate set has no shards; generate candidates first")
    table = pq.read_table(
        store.path(samples, "samples.parquet"),
        columns=["sample_id", "prompt_id"],
        filters=[("split", "==", SPLIT)],
    )
    twice = [i for i, n in Counter(table["sample_id"].to_pylist()).items() if n > 1]
    if twice:
        raise ValueError(f"samples.parquet has sample {min(twice)} twice; collect it once")
    keys = pa.concat_tables(
        pq.read_table(store.path(candidates, shard.path), columns=["prompt_id", "index"])
        for shard in list_shards(candidates)
    )
    counted = keys.group_by(["prompt_id", "index"]).aggregate([([], "count_all")])
    twice_table = counted.filter(pc.greater(counted["count_all"], 1))
    if twice_table.num_rows:
        first = twice_table.sort_by("prompt_id").to_pylist()[0]
        raise ValueError(
            f"candidate {first['index']} of prompt {first['prompt_id']} is in the candidate shards "
            f"{first['count_all']} times; remove the folder of {candidates.key} and generate again"
        )
    lacking = pc.invert(pc.is_in(table["prompt_id"], value_set=keys["prompt_id"].combine_chunks()))
    without = table.filter(lacking)
    if without.num_rows:
        raise ValueError(
            f"{without.num_rows} of {table.num_rows} {SPLIT} samples have no candidates, the first "
            f"is {min(without['sample_id'].to_pylist())}; generate the candidates again"
        )
