"""Stage evaluate: base against trained on the same held-out prompts, greedy and sampled.

Both policies answer every validation and test prompt through the same engine, and no selection
prompt: those chose the checkpoint. A prompt that one of them cannot take is left out for both. The
base's answers are a candidate set of their own in the store, so that training with other settings
does not sample them again. The report reads the test split; gates read the validation split.
Harnesses of somebody else are asked last (perpo_core/stages/evaluate/benchmarks).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq

from perpo_core.perception.frames import build_framer
from perpo_core.perception.judging import Item, Judge, Judgement, describe_judging
from perpo_core.policy.reading import find_reading
from perpo_core.policy.refusals import Refusals, count_reasons, load_refusals, write_dropped
from perpo_core.policy.resolve import locate_policy
from perpo_core.promotion.pointer import MODEL_FOLDER
from perpo_core.stages.evaluate import benchmarks
from perpo_core.stages.evaluate.metrics import (
    ID_COLUMNS,
    Answers,
    compute_metrics,
    list_metrics,
    load_answers,
)
from perpo_core.stages.generate import (
    build_sampling_request,
    compute_candidates_key,
    make_candidates,
)
from perpo_core.stages.outside import build_judge_of_one, require_judged
from perpo_core.stages.samples import (
    SAMPLE_COLUMNS,
    SampleRows,
    list_sample_files,
    read_samples,
)
from perpo_core.stages.stage import StageContext
from perpo_core.store.keys import compute_digest
from perpo_core.store.keys import compute_key as compute_stage_key
from perpo_core.store.provenance import as_parents, describe_producer, utc_now
from perpo_core.store.row_reader import read_columns
from perpo_core.store.store import Store
from schemas.arrow import PREDICTIONS
from schemas.artifact import CandidateSet, Checkpoint, Counts, EvalReport, SampleSet
from schemas.base import JUDGING_SPLIT, SPLITS, Split, TaskName
from schemas.config import RefreshConfig
from schemas.run import PolicyRef, SamplingRequest

__all__ = [
    "KIND", "VERSION", "Answers", "compute_key", "list_metrics", "load_answers", "read_answers",
    "run",
]  # fmt: skip

KIND = "evaluation"
VERSION = 3
PREDICTIONS_FILE = "predictions.parquet"
NOT_MEASURED = ("text", "rewards", "error")
MEASURED_COLUMNS = [name for name in PREDICTIONS.names if name not in NOT_MEASURED]


def build_request(config: RefreshConfig) -> SamplingRequest:
    """What both policies are asked: the greedy answer and `num_samples` sampled ones."""
    evaluate = config.evaluate
    splits: list[Split] = [split for split in SPLITS if split in evaluate.splits]
    return build_sampling_request(config, splits, evaluate.num_samples, evaluate.seed)


def compute_key(
    config: RefreshConfig, policy: PolicyRef, samples: SampleSet, checkpoint: Checkpoint
) -> str:
    """Samples, both policies, how they are asked and how answers are judged."""
    settings = {
        "request": build_request(config).model_dump(mode="json"),
        "judging": describe_judging(config, find_reading(policy)),
        "bootstrap_resamples": config.evaluate.bootstrap_resamples,
        "seed": config.evaluate.seed,
        "policy_digest": policy.digest,
    }
    if config.evaluate.benchmarks:
        settings["benchmarks"] = benchmarks.describe(config.evaluate.benchmarks)
    return compute_stage_key("evaluate", VERSION, as_parents(samples, checkpoint), settings)


def run(context: StageContext, key: str, samples: SampleSet, checkpoint: Checkpoint) -> EvalReport:
    """Answers, rewards and intervals of both policies; uncommitted."""
    started = time.monotonic()
    workspace = context.open_workspace(KIND, key)
    trained_policy = _locate_trained(context, checkpoint)
    base = _answer(context, samples, context.policy, "base")
    trained = _answer(context, samples, trained_policy, "trained")
    # What one policy cannot take is left out for both: they are compared on the same samples.
    refusals = {**load_refusals(context.store, base), **load_refusals(context.store, trained)}
    by_prompt = _load_samples(context, samples)
    answered = {prompt: rows for prompt, rows in by_prompt.items() if prompt not in refusals}
    judge = build_judge_of_one(context.config, context.store.place, context.log)
    whole = SampleRows(list_sample_files(context.store, samples))
    groups = (
        rows
        for name, candidates in (("base", base), ("trained", trained))
        for rows in _score_answers(context, judge, whole, answered, candidates, name)
    )
    files = [workspace.write_groups(PREDICTIONS_FILE, PREDICTIONS, groups)]
    predictions = pq.read_table(
        workspace.folder / PREDICTIONS_FILE, columns=MEASURED_COLUMNS, read_dictionary=ID_COLUMNS
    )
    left_out = {
        sample["sample_id"]: refusal
        for prompt, refusal in refusals.items()
        for sample in by_prompt[prompt]
    }
    files += write_dropped(workspace, left_out, "evaluate")
    resamples, seed = context.config.evaluate.bootstrap_resamples, context.config.evaluate.seed
    outside = [
        benchmarks.run_all(context, context.policy, "base"),
        benchmarks.run_all(context, trained_policy, "trained"),
    ]
    said = [scores for of_policy in outside for scores in of_policy.values()]
    metrics, headroom = compute_metrics(predictions, "test", resamples, seed)
    validation, _ = compute_metrics(predictions, JUDGING_SPLIT, resamples, seed)
    return EvalReport(
        stage="evaluate",
        key=key,
        digest=compute_digest(files),
        files=files,
        counts=_count(predictions.num_rows, left_out, context.config),
        parents=as_parents(samples, checkpoint, base, trained, *said),
        producer=describe_producer(seed, context.config.generate.threads, base.producer.device,
                                   base.producer.engine),
        created_at=utc_now(),
        seconds=time.monotonic() - started,
        attempt=workspace.attempt,
        metrics=metrics,
        validation=validation,
        headroom_closed=headroom,
        benchmarks=benchmarks.compare(context.config.evaluate.benchmarks, *outside),
    )  # fmt: skip


def read_answers(
    store: Store, evaluation: EvalReport, split: Split, policy: str
) -> dict[TaskName, Answers]:
    """What the base or the trained policy answered, by task (metrics.py, load_answers)."""
    [path] = store.paths(evaluation, PREDICTIONS_FILE)
    predictions = pq.read_table(path, columns=MEASURED_COLUMNS, read_dictionary=ID_COLUMNS)
    return load_answers(predictions, split, policy)


def _locate_trained(context: StageContext, checkpoint: Checkpoint) -> PolicyRef:
    """What the start policy became; whatever an adapter goes onto was hashed with that."""
    start = context.policy
    known = [start, *([start.base] if start.base else [])]
    folder = context.store.path(checkpoint, MODEL_FOLDER)
    digest = checkpoint.policy_digest
    return locate_policy(folder, context.config.policy, context.store, digest, known)


def _answer(
    context: StageContext, samples: SampleSet, policy: PolicyRef, name: str
) -> CandidateSet:
    """A policy's held-out answers, from the store where it has them."""
    request = build_request(context.config)
    key = compute_candidates_key(request, policy, samples)
    found = context.find("candidates", key, context.log)
    if found is not None:
        context.log(f"{name}: held-out answers are in the store already")
        return found
    context.log(f"{name}: answering the held-out prompts")
    made, _ = context.make_alone(
        "candidates", key, lambda: make_candidates(context, key, request, policy, samples)
    )
    return made


def _count(num_kept: int, left_out: Refusals, config: RefreshConfig) -> Counts:
    """In answers of both policies to samples."""
    per_sample = 2 * (1 + config.evaluate.num_samples)
    dropped = {reason: n * per_sample for reason, n in count_reasons(left_out).items()}
    return Counts(num_in=num_kept + sum(dropped.values()), num_kept=num_kept, dropped=dropped)


def _load_samples(context: StageContext, samples: SampleSet) -> dict[str, list[dict[str, Any]]]:
    """prompt_id -> its held-out samples, without their images."""
    splits = build_request(context.config).splits
    table = read_samples(context.store, samples, [*SAMPLE_COLUMNS, "image_id"], splits)
    by_prompt: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        by_prompt.setdefault(row["prompt_id"], []).append(row)
    return by_prompt


def _score_answers(
    context: StageContext,
    judge: Judge,
    whole: SampleRows,
    by_prompt: dict[str, list[dict[str, Any]]],
    candidates: CandidateSet,
    policy_name: str,
) -> Iterator[list[dict[str, Any]]]:
    """Rows of PREDICTIONS by the shard: every answer to these prompts with every sample of its."""
    policy = context.config.policy
    build_frame = build_framer(policy.box_format, context.policy.folder, policy.pixel_limits)
    for path in context.store.paths(candidates):
        answers = read_columns(path, ["prompt_id", "index", "text"]).to_pylist()
        pairs = [(a, sample) for a in answers for sample in by_prompt.get(a["prompt_id"], [])]
        items = [
            Item(
                a["text"], s["task"], s["target"], build_frame(s["width"], s["height"]),
                whole.find(s["sample_id"]),
            )
            for a, s in pairs
        ]  # fmt: skip
        judgements = judge.judge_many(items, with_measure=True)
        require_judged(judgements)
        yield [
            build_prediction(sample, policy_name, answer, judgement)
            for (answer, sample), judgement in zip(pairs, judgements, strict=True)
        ]


def build_prediction(
    sample: dict[str, Any], policy_name: str, answer: dict[str, Any], judgement: Judgement
) -> dict[str, Any]:
    """One row of PREDICTIONS."""
    return {
        **{name: sample[name] for name in ("sample_id", "image_id", "task", "split")},
        "policy": policy_name,
        "index": answer["index"],
        "text": answer["text"],
        "reward": judgement.value,
        "measure": judgement.measure,
        "rewards": list(judgement.rewards.items()),
        "error": judgement.error,
    }
