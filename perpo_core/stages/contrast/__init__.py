"""Stage contrast: which tokens of the answers tell good from bad, by two policies that disagree.

Only where the objective weighs tokens (tis_dpo). Of every token of every list's answers the
artifact has log pi_plus - log pi_minus, nats; weights are made of it where it is trained on, so
that their form and bounds may change without this stage. Three ways to have the two policies
(arXiv 2410.04350, abstract): trained with and against the lists' order, trained on the best and on
the worst answers, or the same model under a good and a bad instruction. What was trained of them
lies beside, in better/ and worse/.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from perpo_core.process.environment import CPU_TRAINING_ENV, build_child_env
from perpo_core.process.gpus import get_share
from perpo_core.process.parent import run_child
from perpo_core.stages.contrast.settings import derive_training, list_instructions
from perpo_core.stages.contrast.table import write_difference
from perpo_core.stages.samples import list_sample_files
from perpo_core.stages.stage import StageContext
from perpo_core.stages.train import MEMORY_ADVICE, NOT_IN_KEY, sidecars
from perpo_core.stages.train.settings import list_unread
from perpo_core.store.keys import compute_digest
from perpo_core.store.keys import compute_key as compute_stage_key
from perpo_core.store.provenance import as_parents, describe_producer, utc_now
from perpo_core.store.workspace import Workspace
from schemas.artifact import ContrastSet, Counts, PreferenceSet, SampleSet
from schemas.config import RefreshConfig
from schemas.run import (
    CONTRAST_SIDES,
    ContrastJob,
    ContrastSide,
    PolicyRef,
    ReferenceJob,
    TrainJob,
)

KIND = "contrast"
VERSION = 1
CHILD = "perpo_core.stages.contrast.child"


def compute_key(
    config: RefreshConfig, policy: PolicyRef, samples: SampleSet, preferences: PreferenceSet
) -> str:
    """Lists, start policy, and how the two are had; nothing of the training that reads them."""
    settings: dict[str, Any] = {
        "policy_digest": policy.digest,
        "dtype": config.policy.dtype,
        **config.policy.pixel_limits.describe(),
    }
    if instructions := list_instructions(config):
        settings["instructions"] = instructions
        settings |= {"image": config.train.image} if config.train.image != "kept" else {}
    else:
        train = derive_training(config).train
        settings["train"] = train.model_dump(mode="json", exclude=NOT_IN_KEY | list_unread(train))
    return compute_stage_key("contrast", VERSION, as_parents(samples, preferences), settings)


def run(
    context: StageContext, key: str, samples: SampleSet, preferences: PreferenceSet
) -> ContrastSet:
    """Ask both policies about every token; uncommitted."""
    started = time.monotonic()
    workspace = context.open_workspace(KIND, key)
    jobs = [_build_job(context, workspace, side, samples, preferences) for side in CONTRAST_SIDES]
    devices = [_make(context, workspace, preferences, job) for job in jobs]
    better, worse = (job.table.list_paths() for job in jobs)
    for parts in zip(better, worse, strict=True):
        write_difference(*parts, workspace.folder / parts[0].name)
    trained = [job.side for job in jobs if job.instruction is None]
    files = [workspace.describe_table(path.name) for path in better]
    files += [file for side in trained for file in workspace.describe_tree(side)]
    num_lists, train = sum(preferences.num_lists.values()), jobs[0].training.config.train
    return ContrastSet(
        stage="contrast",
        key=key,
        digest=compute_digest(files),
        files=files,
        counts=Counts(num_in=num_lists, num_kept=num_lists),
        parents=as_parents(samples, preferences),
        producer=describe_producer(train.seed, train.threads, devices[0]),
        created_at=utc_now(),
        seconds=time.monotonic() - started,
        attempt=workspace.attempt,
        by=context.config.contrast.by,
        policy_digest=context.policy.digest,
    )


def _build_job(
    context: StageContext,
    workspace: Workspace,
    side: ContrastSide,
    samples: SampleSet,
    preferences: PreferenceSet,
) -> ContrastJob:
    instructions = list_instructions(context.config)
    lists, folder = context.store.paths(preferences), workspace.scratch / side
    files = list_sample_files(context.store, samples)
    training = TrainJob(
        config=context.config if instructions else derive_training(context.config),
        policy=context.policy,
        references=_list_references(context, preferences, workspace.scratch / "references"),
        samples=files.model_copy(update={"parts": []}),  # nothing chooses among its checkpoints
        lists=lists,
        folder=folder,
        store=context.store.place,
    )
    table = ReferenceJob(
        name=side, policy=context.policy, of="tokens", key=workspace.key,
        parts=[None] * len(lists), folder=folder / "tokens",
    )  # fmt: skip
    return ContrastJob(
        side=side,
        training=training,
        table=table,
        trained=workspace.folder / side,
        instruction=instructions.get(side),
    )


def _list_references(
    context: StageContext, preferences: PreferenceSet, folder: Path
) -> list[ReferenceJob]:
    """The start policy's log-probabilities, the same table as every other training's."""
    jobs = sidecars.list_jobs(context, preferences, folder, sidecars.Resolved(None, []))
    return [job for job in jobs if job.of == "lists"]


def _make(
    context: StageContext, workspace: Workspace, preferences: PreferenceSet, job: ContrastJob
) -> str:
    """Have one of the two asked, in a child process; the device it was asked on."""
    train, log_file = job.training.config.train, f"{job.side}.log"

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "progress":
            context.progress(event["done"], event["total"], event["unit"])
        if event["event"] == "reference":
            [made] = job.training.references
            sidecars.commit(context, preferences, made, event["device"])

    with workspace.publishing(log_file):
        result = run_child(
            CHILD,
            job,
            on_event=on_event,
            log=context.log,
            progress_timeout_s=train.progress_timeout_s,
            env={
                **build_child_env(max(1, train.threads // train.processes), get_share()),
                **CPU_TRAINING_ENV,
            },
            log_path=workspace.folder / log_file,
            processes=train.processes,
            memory_advice=MEMORY_ADVICE,
        )
    device: str = result["device"]
    return device
