"""Stage train: the listwise objective on ranked lists; the best checkpoint on selection stays.

The work happens in a child process (perpo_core.stages.train.child) that gives its memory back by
ending. A killed run resumes from its last checkpoint, or takes the finished model where only the
commit was missing: both lie in the workspace until the stage has committed.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from perpo_core.perception.judging import describe_judging
from perpo_core.policy.reading import find_reading
from perpo_core.policy.resolve import name_place
from perpo_core.policy.stamps import unchanged
from perpo_core.process.environment import CPU_TRAINING_ENV, build_child_env
from perpo_core.process.gpus import get_share
from perpo_core.process.parent import run_child
from perpo_core.promotion.pointer import MODEL_FOLDER
from perpo_core.stages.samples import list_sample_files
from perpo_core.stages.stage import Asked, StageContext
from perpo_core.stages.train import sidecars, version_sidecar
from perpo_core.stages.train.finished import load_finished
from perpo_core.stages.train.outcome import leaves_adapter
from perpo_core.stages.train.sampled_by import check_sampled_by
from perpo_core.stages.train.settings import list_unread
from perpo_core.stages.train.smoothing import describe_scores, settle_smoothing
from perpo_core.store.base import PLACE_FILE, load_base_digest, write_place
from perpo_core.store.keys import compute_digest, hash_folder
from perpo_core.store.keys import compute_key as compute_stage_key
from perpo_core.store.provenance import as_parents, describe_producer, utc_now
from perpo_core.store.workspace import describe_file
from schemas.artifact import Checkpoint, ContrastSet, Counts, FileRef, PreferenceSet, SampleSet
from schemas.base import CHOOSING_SPLIT
from schemas.config import RefreshConfig
from schemas.run import ADAPTER, PolicyRef, TrainJob

KIND = "checkpoint"
VERSION = 3
CHILD = "perpo_core.stages.train.child"
MEMORY_ADVICE = (
    "lower train.micro_batch_lists or train.micro_batch_tokens, or set train.gradient_checkpointing"
)
LOG_FILE = "train.log"
# How the same sums are computed: in what portions, by how many processes, with what kept in memory.
# They move a trained weight by rounding alone, as another machine would, and make no other policy.
COMPUTED_ALIKE = {
    "threads", "processes", "sharding", "gradient_checkpointing", "micro_batch_lists",
    "micro_batch_tokens", "loader_workers",
}  # fmt: skip
# References count by their content, what is left by its kind; the others are for who looks on.
NOT_IN_KEY = COMPUTED_ALIKE | {
    "progress_timeout_s", "trackers", "displacement_nats", "extra_references",
    "save", "max_chain_rank",
}  # fmt: skip


def compute_key(
    config: RefreshConfig,
    policy: PolicyRef,
    samples: SampleSet,
    preferences: PreferenceSet,
    *contrasts: ContrastSet,
) -> str:
    """Lists, selection samples, start policy, the train section, and how answers are judged.

    `contrasts`: one where the objective weighs tokens, else none.

    References count by their content, wherever they lie; raises ValueError where one is missing.
    """
    train = config.train
    references = sidecars.resolve(config)
    settings = {
        "train": train.model_dump(mode="json", exclude=NOT_IN_KEY | list_unread(train)),
        "judging": describe_judging(config, find_reading(policy)),
        "dtype": config.policy.dtype,
        "max_tokens": config.generate.max_tokens,
        "policy_digest": policy.digest,
        "base_digest": references.base.digest if references.base else None,
        "extra_reference_digests": [ref.digest for ref in references.extra],
        **config.policy.pixel_limits.describe(),
        **describe_scores(train, preferences),
    }
    if leaves_adapter(train, policy):
        settings["leaves"] = "adapter"
    if train.degree_weight:
        settings["degraded"] = version_sidecar.VERSION
    parents = as_parents(samples, preferences, *contrasts)
    key = compute_stage_key("train", VERSION, parents, settings)
    return Asked(key, references)


def find_curves(context: StageContext, key: str) -> Path:
    """Where TensorBoard's files of a training go: `tensorboard --logdir STORE/tensorboard`."""
    return context.store.root / "tensorboard" / f"{context.config.name}-{key[:12]}"


def run(
    context: StageContext,
    key: str,
    samples: SampleSet,
    preferences: PreferenceSet,
    *contrasts: ContrastSet,
) -> Checkpoint:
    """Train on every list; uncommitted.

    Raises ValueError if the sampler's log-probabilities shall be the reference and are of another
    policy, and as settle_smoothing does.
    """
    started = time.monotonic()
    config = context.config.train
    lists = context.store.paths(preferences)
    if config.reference_logps == "sampled":
        check_sampled_by(context.policy, lists)
    workspace = context.open_workspace(KIND, key)
    resolved = key.inputs if isinstance(key, Asked) else sidecars.resolve(context.config)
    references = sidecars.list_jobs(
        context, preferences, workspace.scratch / "references", resolved
    )
    whole, inputs = settle_smoothing(context, preferences)
    job = TrainJob(
        config=whole,
        policy=context.policy,
        references=references,
        samples=list_sample_files(context.store, samples),
        lists=lists,
        contrasts=[path for contrast in contrasts for path in context.store.paths(contrast)],
        folder=workspace.folder,
        store=context.store.place,
        profile=context.profile,
        degraded=version_sidecar.build_job(context, preferences, workspace.scratch / "degraded"),
        **inputs,
    )

    policies = [reference.policy for reference in references]
    with unchanged(*policies), workspace.publishing(LOG_FILE):
        result = load_finished(workspace.folder) or _train(context, key, preferences, job)
    context.store.publish(find_curves(context, key))
    files = workspace.describe_tree(MODEL_FOLDER) + workspace.describe_tree(ADAPTER)
    place = _note_place(context, workspace.folder)
    num_lists = sum(preferences.num_lists.values())
    return Checkpoint(
        stage="train",
        key=key,
        digest=compute_digest(files),  # where a base lies is not what came out
        files=files + place,
        counts=Counts(num_in=num_lists, num_kept=num_lists),
        parents=as_parents(samples, preferences, *contrasts),
        producer=describe_producer(config.seed, config.threads, result["device"]),
        created_at=utc_now(),
        seconds=time.monotonic() - started,
        attempt=workspace.attempt,
        policy_digest=hash_folder(workspace.folder / MODEL_FOLDER),
        base_policy_digest=context.policy.digest,
        chosen_step=result["chosen_step"],
        reference_difference_nats=result["reference_difference_nats"],
        history=result["history"],
        chosen_on=CHOOSING_SPLIT,
        readings=result["readings"],
        degree_reading=result.get("degree_reading"),
    )


def _note_place(context: StageContext, folder: Path) -> list[FileRef]:
    """base.json beside a model that is an adapter; [] beside another."""
    if load_base_digest(folder / MODEL_FOLDER) is None:
        return []
    base = context.policy.base or context.policy
    write_place(folder / MODEL_FOLDER, name_place(base.folder, context.store))
    return [describe_file(folder / PLACE_FILE, PLACE_FILE)]


def _train(
    context: StageContext, key: str, preferences: PreferenceSet, job: TrainJob
) -> dict[str, Any]:
    """Train in a child process; the fields of its result."""
    config = context.config.train

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "progress":
            context.progress(event["done"], event["total"], event["unit"])
        if event["event"] == "reference":
            [made] = [each for each in job.references if each.name == event["name"]]
            sidecars.commit(context, preferences, made, event["device"])
        if event["event"] == "degraded" and job.degraded:
            version_sidecar.commit(context, preferences, job.degraded)

    return run_child(
        CHILD,
        job,
        on_event=on_event,
        log=context.log,
        progress_timeout_s=config.progress_timeout_s,
        env={
            **build_child_env(max(1, config.threads // config.processes), get_share()),
            **CPU_TRAINING_ENV,
            "TENSORBOARD_LOGGING_DIR": str(find_curves(context, key)),
        },
        log_path=job.folder / LOG_FILE,
        processes=config.processes,
        memory_advice=MEMORY_ADVICE,
    )
