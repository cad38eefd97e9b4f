"""How far a trained policy went from its start, on held-out prompts: KL, likelihood of truths.

    measure_drift(context, samples, checkpoint) -> DriftReport     an artifact of its own

The trained policy answers the prompts at temperature 1 from its whole distribution, whatever
[generate] says, since the mean log-ratio of other samples estimates no KL; such answers of an
evaluation are taken as they are. A child process asks start and trained about all of them, and
about the truths as the policy would write them, with training's own forward pass.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from perpo_core.evidence.drift.numbers import Logps, compute_task
from perpo_core.evidence.drift.rows import (
    Row,
    build_answers,
    build_truths,
    find_end,
    list_parts,
    load_answers,
    load_samples,
)
from perpo_core.process.environment import CPU_TRAINING_ENV, build_child_env
from perpo_core.process.gpus import get_share
from perpo_core.process.parent import run_child
from perpo_core.stages.evaluate import build_request, locate_trained
from perpo_core.stages.evaluate.answering import answer
from perpo_core.stages.samples import list_sample_files
from perpo_core.stages.stage import StageContext
from perpo_core.store.atomic import temporary_beside
from perpo_core.store.keys import compute_digest
from perpo_core.store.keys import compute_key as compute_stage_key
from perpo_core.store.provenance import as_parents, describe_producer, utc_now
from perpo_core.store.workspace import Workspace
from schemas.arrow import REFERENCES
from schemas.artifact import CandidateSet, Checkpoint, Counts, DriftReport, SampleSet
from schemas.base import Split
from schemas.config import RefreshConfig
from schemas.run import PolicyRef, ReferenceJob, SamplingRequest, TrainJob

KIND = "drift"
VERSION = 1
CHILD = "perpo_core.evidence.drift.child"
LOG_FILE = "drift.log"
MAX_PROMPTS = 512
START, TRAINED = "start", "trained"


def measure_drift(
    context: StageContext,
    samples: SampleSet,
    checkpoint: Checkpoint,
    split: Split = "test",
    max_prompts: int = MAX_PROMPTS,
) -> DriftReport:
    """From the store where it has that; of at most `max_prompts` prompts of each task.

    Raises ValueError where the split has no prompts, ChildFailed where a process broke.
    """
    trained = locate_trained(context, checkpoint)
    request = build_own_request(context.config, split)
    candidates = answer(context, samples, trained, request, TRAINED, f"{split} (temperature 1)")
    key = compute_key(context, candidates, trained, split, max_prompts)
    found: DriftReport | None = context.find(KIND, key, context.log)
    if found is not None:
        return found
    made: DriftReport = context.make_alone(
        KIND, key, lambda: _make(context, key, samples, candidates, trained, split, max_prompts)
    )[0]
    return made


def compute_key(
    context: StageContext,
    candidates: CandidateSet,
    trained: PolicyRef,
    split: Split,
    max_prompts: int,
) -> str:
    """Both policies, the answers, and how they are asked about."""
    config = context.config
    settings = {
        "policies": [context.policy.digest, trained.digest],
        "dtype": config.policy.dtype,
        "quantize": config.train.quantize,
        "box_format": config.policy.box_format,
        "split": split,
        "max_prompts": max_prompts,
        "resamples": config.evaluate.bootstrap_resamples,
        "seed": config.evaluate.seed,
        **config.policy.pixel_limits.describe(),
    }
    return compute_stage_key(KIND, VERSION, as_parents(candidates), settings)


def build_own_request(config: RefreshConfig, split: Split) -> SamplingRequest:
    """The evaluation's where that samples as a KL wants it, else the same at temperature 1."""
    usual = build_request(config)
    if (usual.temperature, usual.top_p) == (1, 1) and split in usual.splits:
        return usual
    return usual.model_copy(
        update={"splits": [split], "greedy": False, "temperature": 1.0, "top_p": 1.0}
    )


def _make(
    context: StageContext,
    key: str,
    samples: SampleSet,
    candidates: CandidateSet,
    trained: PolicyRef,
    split: Split,
    max_prompts: int,
) -> DriftReport:
    started = time.monotonic()
    workspace = context.open_workspace(KIND, key)
    answers = load_answers(context, candidates)
    rows = load_samples(context, samples, split, set(answers), max_prompts)
    end_id = find_end(answer for of_prompt in answers.values() for answer in of_prompt)
    tables = [build_answers(rows, answers), build_truths(context, rows, end_id)]
    job = _build_job(context, workspace, samples, trained)
    for path, table in zip(job.lists, tables, strict=True):
        _write(path, table)
    device = _run(context, workspace, job)
    both = [_read_logps(reference.list_paths()) for reference in job.references]
    tasks = _summarise(context, rows, answers, both)
    names = [path.relative_to(workspace.folder).as_posix() for path in job.lists]
    files = [workspace.describe_table(name) for name in names]
    files += [file for name in (START, TRAINED) for file in workspace.describe_tree(name)]
    num_asked = tables[0].num_rows + tables[1].num_rows
    num_kept = sum(file.num_rows or 0 for file in files if file.path in names)
    dropped = {"its words spell a special token": num_asked - num_kept}
    return DriftReport(
        stage="evaluate",
        key=key,
        digest=compute_digest(files),
        files=files,
        counts=Counts(num_in=num_asked, num_kept=num_kept,
                      dropped={reason: n for reason, n in dropped.items() if n}),
        parents=as_parents(samples, candidates),
        producer=describe_producer(context.config.evaluate.seed, context.config.train.threads,
                                   device),
        created_at=utc_now(),
        seconds=time.monotonic() - started,
        attempt=workspace.attempt,
        policy_digest=trained.digest,
        start_digest=context.policy.digest,
        tasks=tasks,
    )  # fmt: skip


def _build_job(
    context: StageContext, workspace: Workspace, samples: SampleSet, trained: PolicyRef
) -> TrainJob:
    """Training's own job, with two tables and no step."""
    lists = list_parts(workspace.folder)
    references = [
        ReferenceJob(
            name=name, policy=policy, key=workspace.key, parts=[None] * len(lists),
            folder=workspace.folder / name,
        )
        for name, policy in ((START, context.policy), (TRAINED, trained))
    ]  # fmt: skip
    for reference in references:
        reference.folder.mkdir(exist_ok=True)
    return TrainJob(
        config=context.config,
        policy=context.policy,
        references=references,
        samples=list_sample_files(context.store, samples),
        lists=lists,
        folder=workspace.folder,
        store=context.store.place,
    )


def _run(context: StageContext, workspace: Workspace, job: TrainJob) -> str:
    """The device that both were asked on."""

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "progress":
            context.progress(event["done"], event["total"], event["unit"])

    train = context.config.train
    with workspace.publishing(LOG_FILE):
        result = run_child(
            CHILD,
            job,
            on_event=on_event,
            log=context.log,
            progress_timeout_s=train.progress_timeout_s,
            env={**build_child_env(train.threads, get_share()), **CPU_TRAINING_ENV},
            log_path=workspace.folder / LOG_FILE,
        )
    device: str = result["device"]
    return device


def _summarise(
    context: StageContext,
    rows: list[Row],
    answers: dict[str, list[Row]],
    both: list[tuple[Logps, Logps]],
) -> dict[str, Any]:
    """Task -> its drift; `both` are start and trained, each of answers and of truths."""
    of_answers, of_truths = zip(*both, strict=True)
    evaluate = context.config.evaluate
    tasks = {}
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task]
        answered = [(r, answers[r["prompt_id"]]) for r in own if r["sample_id"] in of_answers[0]]
        written = [row for row in own if row["sample_id"] in of_truths[0]]
        if answered:
            tasks[task] = compute_task(
                answered,
                of_answers,
                written,
                of_truths,
                evaluate.bootstrap_resamples,
                evaluate.seed,
            )
    return tasks


def _read_logps(paths: list[Path]) -> tuple[Logps, Logps]:
    """Of answers, and of truths."""
    answers, truths = (pq.read_table(path, schema=REFERENCES).to_pylist() for path in paths)
    return (
        {row["sample_id"]: row["logps"] for row in answers},
        {row["sample_id"]: row["logps"] for row in truths},
    )


def _write(path: Path, table: pa.Table) -> None:
    with temporary_beside(path) as temporary:
        pq.write_table(table, temporary)
