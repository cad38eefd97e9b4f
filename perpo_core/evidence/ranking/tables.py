"""Log-probabilities of held-out lists under frozen policies, as the tables that training keeps.

    <store>/references/<key>/part-00000.parquet     one row a list (schemas.arrow.REFERENCES)

One child process a policy computes what the store has not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from perpo_core.evidence.ranking.lists import HeldOutLists, Image
from perpo_core.process.environment import CPU_TRAINING_ENV, build_child_env
from perpo_core.process.gpus import get_share
from perpo_core.process.parent import run_child
from perpo_core.stages.stage import StageContext
from perpo_core.stages.train import MEMORY_ADVICE, sidecars
from perpo_core.store.provenance import as_parents
from perpo_core.store.row_reader import read_columns
from schemas.artifact import Parent, ReferenceSet
from schemas.run import PolicyRef, RankedTable, RankingJob, ReferenceJob, SampleFiles, TrainJob

CHILD = "perpo_core.evidence.ranking.child"
# One process, images as they are, whatever a training would do: these settings are in no key.
ALONE: dict[str, Any] = {"processes": 1, "sharding": "none", "image": "kept", "trackers": []}


def make_tables(
    context: StageContext, held_out: HeldOutLists, policy: PolicyRef
) -> dict[Image, ReferenceSet]:
    """Of a policy, from the store where it has them; raises ChildFailed where a model broke."""
    own = _make_context(context, policy)
    tables: dict[Image, ReferenceSet] = {}
    with TemporaryDirectory(prefix="perpo-ranking-") as folder:
        jobs = {image: _build_job(own, held_out, image, Path(folder)) for image in held_out.lists}
        for image, job in jobs.items():
            if (found := own.find(sidecars.KIND, job.key, own.log)) is not None:
                tables[image] = found
        missing = {image: job for image, job in jobs.items() if image not in tables}
        if missing:
            device = _run(own, held_out, missing, Path(folder))
        for image, job in missing.items():
            tables[image] = sidecars.commit(own, held_out.lists[image], job, device)
    return {image: tables[image] for image in held_out.lists}


def read_table(context: StageContext, table: ReferenceSet) -> list[list[float]]:
    """Log-probabilities of each list's answers, nats, in the lists' order."""
    paths = context.store.paths(table)
    return [row for path in paths for row in read_columns(path, ["logps"])["logps"].to_pylist()]


def list_parents(*tables: Mapping[Image, ReferenceSet]) -> list[Parent]:
    return [parent for each in tables for parent in as_parents(*each.values())]


def _make_context(context: StageContext, policy: PolicyRef) -> StageContext:
    train = context.config.train.model_copy(update=ALONE)
    config = context.config.model_copy(update={"train": train})
    return replace(context, config=config, policy=policy)


def _build_job(
    context: StageContext, held_out: HeldOutLists, image: Image, folder: Path
) -> ReferenceJob:
    lists, resolved = held_out.lists[image], sidecars.Resolved(None, [])
    jobs = sidecars.list_jobs(context, lists, folder, resolved)
    [job] = [each for each in jobs if each.of == "lists"]
    return job


def _run(
    context: StageContext,
    held_out: HeldOutLists,
    missing: Mapping[Image, ReferenceJob],
    folder: Path,
) -> str:
    """The device that it was computed on."""
    train = context.config.train
    tables = [
        RankedTable(
            lists=context.store.paths(held_out.lists[image]),
            packs=held_out.packs[image],
            table=job,
        )
        for image, job in missing.items()
    ]
    training = TrainJob(
        config=context.config,
        policy=context.policy,
        references=[],
        samples=SampleFiles(parts=[], packs=[]),
        lists=[],
        folder=folder,
        store=context.store.place,
    )

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "progress":
            context.progress(event["done"], event["total"], event["unit"])

    result = run_child(
        CHILD,
        RankingJob(training=training, tables=tables),
        on_event=on_event,
        log=context.log,
        progress_timeout_s=train.progress_timeout_s,
        env={**build_child_env(train.threads, get_share()), **CPU_TRAINING_ENV},
        memory_advice=MEMORY_ADVICE,
    )
    device: str = result["device"]
    return device
