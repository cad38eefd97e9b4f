"""Stage evaluate: base against trained on the same held-out prompts, greedy and sampled.

Both policies answer every validation and test prompt through the same engine, and no selection
prompt: those chose the checkpoint. A prompt that one of them cannot take is left out for both. The
base's answers are a candidate set of their own in the store, so that training with other settings
does not sample them again. The report reads the test split; gates read the validation split. Some
test prompts are asked once more with other images (probe.py), which no gate looks at. Harnesses of
somebody else are asked last (perpo_core/stages/evaluate/benchmarks).
"""

from __future__ import annotations

import time
from typing import Any

import pyarrow.parquet as pq

from perpo_core.perception.judging import describe_judging
from perpo_core.policy.reading import find_reading
from perpo_core.policy.refusals import Refusals, count_reasons, load_refusals, write_dropped
from perpo_core.policy.resolve import locate_policy
from perpo_core.promotion.pointer import MODEL_FOLDER
from perpo_core.stages.evaluate import benchmarks
from perpo_core.stages.evaluate.answering import answer
from perpo_core.stages.evaluate.metrics import (
    ID_COLUMNS,
    REWARD_METRICS,
    Answers,
    compute_metrics,
    list_metrics,
    load_answers,
)
from perpo_core.stages.evaluate.probe import describe_probe, probe_images
from perpo_core.stages.evaluate.scoring import build_prediction, score_answers
from perpo_core.stages.generate import build_sampling_request
from perpo_core.stages.outside import build_judge_of_one
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
from perpo_core.store.store import Store
from schemas.arrow import PREDICTIONS
from schemas.artifact import Checkpoint, Counts, EvalReport, SampleSet
from schemas.base import JUDGING_SPLIT, SPLITS, Split, TaskName
from schemas.config import RefreshConfig
from schemas.run import PolicyRef, SamplingRequest

__all__ = [
    "KIND", "REWARD_METRICS", "VERSION", "Answers", "build_prediction", "build_request",
    "compute_key", "list_metrics", "load_answers", "locate_trained", "read_answers", "run",
]  # fmt: skip

KIND = "evaluation"
VERSION = 4
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
        **describe_probe(config),
    }
    if config.evaluate.benchmarks:
        settings["benchmarks"] = benchmarks.describe(config.evaluate.benchmarks)
    return compute_stage_key("evaluate", VERSION, as_parents(samples, checkpoint), settings)


def run(context: StageContext, key: str, samples: SampleSet, checkpoint: Checkpoint) -> EvalReport:
    """Answers, rewards and intervals of both policies; uncommitted."""
    started = time.monotonic()
    workspace = context.open_workspace(KIND, key)
    trained_policy = locate_trained(context, checkpoint)
    policies = context.policy, trained_policy
    base, trained = (
        answer(context, samples, policy, build_request(context.config), name, "held-out")
        for name, policy in zip(("base", "trained"), policies, strict=True)
    )
    # What one policy cannot take is left out for both: they are compared on the same samples.
    refusals = {**load_refusals(context.store, base), **load_refusals(context.store, trained)}
    by_prompt = _load_samples(context, samples)
    answered = {prompt: rows for prompt, rows in by_prompt.items() if prompt not in refusals}
    judge = build_judge_of_one(context.config, context.store.place, context.log)
    whole = SampleRows(list_sample_files(context.store, samples))
    groups = (
        [build_prediction(sample, name, said, judged) for said, sample, judged in scored]
        for name, candidates in (("base", base), ("trained", trained))
        for scored in score_answers(context, judge, whole, answered, candidates)
    )
    files = [workspace.write_groups(PREDICTIONS_FILE, PREDICTIONS, groups)]
    predictions = pq.read_table(
        workspace.folder / PREDICTIONS_FILE, columns=MEASURED_COLUMNS, read_dictionary=ID_COLUMNS
    )
    probe = probe_images(context, workspace, samples, policies, judge, whole, predictions)
    files += probe.files
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
        parents=as_parents(samples, checkpoint, base, trained, *probe.candidates, *said),
        producer=describe_producer(seed, context.config.generate.threads, base.producer.device,
                                   base.producer.engine),
        created_at=utc_now(),
        seconds=time.monotonic() - started,
        attempt=workspace.attempt,
        metrics=metrics,
        validation=validation,
        headroom_closed=headroom,
        benchmarks=benchmarks.compare(context.config.evaluate.benchmarks, *outside),
        image_probe=probe.by_task,
    )  # fmt: skip


def read_answers(
    store: Store, evaluation: EvalReport, split: Split, policy: str
) -> dict[TaskName, Answers]:
    """What the base or the trained policy answered, by task (metrics.py, load_answers)."""
    [path] = store.paths(evaluation, PREDICTIONS_FILE)
    predictions = pq.read_table(path, columns=MEASURED_COLUMNS, read_dictionary=ID_COLUMNS)
    return load_answers(predictions, split, policy)


def locate_trained(context: StageContext, checkpoint: Checkpoint) -> PolicyRef:
    """What the start policy became; whatever an adapter goes onto was hashed with that."""
    start = context.policy
    known = [start, *([start.base] if start.base else [])]
    folder = context.store.path(checkpoint, MODEL_FOLDER)
    digest = checkpoint.policy_digest
    return locate_policy(folder, context.config.policy, context.store, digest, known)


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
