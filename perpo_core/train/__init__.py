"""Stage train: the listwise objective on ranked lists; the best checkpoint on validation stays.

The work happens in a child process (perpo_core.train.child) that gives its memory back by ending.
A killed run resumes from its last checkpoint, which lies in the workspace until the stage commits.
"""

from __future__ import annotations

import time
from typing import Any

from perpo_core.environment import CPU_TRAINING_ENV, build_child_env
from perpo_core.keys import compute_digest, hash_folder
from perpo_core.keys import compute_key as compute_stage_key
from perpo_core.policy.resolve import resolve_references
from perpo_core.process import run_child
from perpo_core.stage import StageContext, as_parents, describe_producer, utc_now
from schemas.artifact import Checkpoint, Counts, PreferenceSet, SampleSet
from schemas.config import RefreshConfig
from schemas.run import PolicyRef, TrainJob

KIND = "checkpoint"
VERSION = 2
CHILD = "perpo_core.train.child"
NOT_IN_KEY = {"threads", "progress_timeout_s", "extra_references", "displacement_nats"}


def compute_key(
    config: RefreshConfig, policy: PolicyRef, samples: SampleSet, preferences: PreferenceSet
) -> str:
    """Lists, validation samples, start policy, the train section, and how answers are judged.

    Further references count by their content, wherever they lie; raises ValueError where one is
    missing.
    """
    settings = {
        "train": config.train.model_dump(mode="json", exclude=NOT_IN_KEY),
        "score": config.score.model_dump(mode="json", exclude={"workers"}),
        "box_format": config.policy.box_format,
        "dtype": config.policy.dtype,
        "max_tokens": config.generate.max_tokens,
        "policy_digest": policy.digest,
        "extra_reference_digests": [ref.digest for ref in resolve_references(config.train)],
    }
    return compute_stage_key("train", VERSION, as_parents(samples, preferences), settings)


def run(
    context: StageContext, key: str, samples: SampleSet, preferences: PreferenceSet
) -> Checkpoint:
    """Train on every list; uncommitted."""
    started = time.monotonic()
    config = context.config.train
    workspace = context.open_workspace(KIND, key)
    job = TrainJob(
        config=context.config,
        policy=context.policy,
        extra_references=resolve_references(config),
        samples_file=context.store.path(samples, "samples.parquet"),
        preferences_file=context.store.path(preferences, "preferences.parquet"),
        folder=workspace.folder,
    )

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "progress":
            context.progress(event["done"], event["total"], event["unit"])

    result = run_child(
        CHILD,
        job,
        on_event=on_event,
        log=context.log,
        progress_timeout_s=config.progress_timeout_s,
        env={**build_child_env(config.threads), **CPU_TRAINING_ENV},
        log_path=workspace.folder / "train.log",
    )
    files = workspace.describe_tree("model")
    num_lists = sum(preferences.num_lists.values())
    return Checkpoint(
        stage="train",
        key=key,
        digest=compute_digest(files),
        files=files,
        counts=Counts(num_in=num_lists, num_kept=num_lists),
        parents=as_parents(samples, preferences),
        producer=describe_producer(config.seed, config.threads, result["device"]),
        created_at=utc_now(),
        seconds=time.monotonic() - started,
        attempt=workspace.attempt,
        policy_digest=hash_folder(workspace.folder / "model"),
        base_policy_digest=context.policy.digest,
        chosen_step=result["chosen_step"],
        history=result["history"],
        validation=result["validation"],
    )
