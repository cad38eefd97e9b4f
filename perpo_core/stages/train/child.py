"""The training child process: load, reference once, train, choose a checkpoint, save, exit.

With `train.processes` above 1 torchrun starts it several times; every process comes through here,
the first one reports and writes.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.distributed.elastic.multiprocessing.errors import record

from perpo_core.policy.refusals import describe_refusals
from perpo_core.policy.stamps import require_unchanged
from perpo_core.process.child import emit, load_job
from perpo_core.promotion.pointer import MODEL_FOLDER
from perpo_core.stages.train.answer_columns import build_columns
from perpo_core.stages.train.attention_ways import choose_way
from perpo_core.stages.train.build import build_trainer
from perpo_core.stages.train.checkpoints import find_checkpoint, load_trained
from perpo_core.stages.train.data import CroppedLists, RankedLists, TokenValues
from perpo_core.stages.train.degree_telling import attach_degrees
from perpo_core.stages.train.families import find_obstacle
from perpo_core.stages.train.finished import write_finished
from perpo_core.stages.train.history import choose_step, read_history
from perpo_core.stages.train.list_policy import ListPolicy
from perpo_core.stages.train.model import choose_trained, load_for_training
from perpo_core.stages.train.objectives.combine import find_needs
from perpo_core.stages.train.outcome import leaves_adapter
from perpo_core.stages.train.profile import Profiler
from perpo_core.stages.train.ranks import (
    choose_device,
    gather,
    get_rank,
    join_processes,
    run_as_one_of_many,
)
from perpo_core.stages.train.references import References
from perpo_core.stages.train.saving import save_on_base, save_policy
from perpo_core.stages.train.selection import SelectionReward
from perpo_core.stages.train.token_table import TokenTable
from perpo_core.stages.train.trainer import ListTrainer
from perpo_core.store.workspace import SCRATCH
from schemas.run import ADAPTER, PolicyRef, ReferenceJob, TrainJob


@record  # so that torchrun's last lines say why, and not only that, a process failed
def main() -> ListTrainer:
    """What holds on to the process group is returned: run_as_one_of_many keeps it."""
    job = load_job(TrainJob)
    join_processes()
    model, processor = load_model(job, job.policy)
    report_attention(model)
    config = job.config.train
    lists = RankedLists(job.lists, job.samples.packs, processor, config.image)
    references = References(processor.tokenizer.pad_token_id, job.config.policy.dtype, config)
    attach_references(model, lists, processor, references, job)
    lists.columns = build_columns(job, lists)
    telling = attach_degrees(lists, processor, job)
    trainer = train(job, model, processor, lists)
    reading = telling.measure(trainer) if telling else None
    result = save_result(job, trainer) | {"degree_reading": reading and reading.model_dump()}
    if get_rank() == 0:
        result |= {
            "device": str(model.device),
            "reference_difference_nats": references.largest_difference_nats,
        }
        write_finished(job.folder, result)
        emit("result", **result)
    return trainer


def load_model(job: TrainJob, policy: PolicyRef) -> tuple[ListPolicy, Any]:
    """A policy ready for training; the same seed gives the same adapters.

    Raises InputChanged if a file of it is not the one that was hashed.
    """
    config = job.config
    torch.manual_seed(config.train.seed)
    model, processor = load_for_training(
        policy, config.policy.dtype, config.train, choose_device(), config.policy.pixel_limits
    )
    require_unchanged(policy)  # what was loaded is what was hashed
    return choose_trained(model, config.train), processor


def report_attention(model: ListPolicy) -> None:
    """Say how packed answers attend, or why the model's answers cannot share their prompt: either
    costs time, nothing else.
    """
    if obstacle := find_obstacle(model.base):
        emit("log", message=f"answers cannot share their prompt, since {obstacle}; each is trained "
             "as a sequence of its own, image included")  # fmt: skip
    else:
        emit("log", message=choose_way(model.heads).describe())


def attach_references(
    model: ListPolicy, lists: RankedLists, processor: Any, references: References, job: TrainJob
) -> None:
    """Give the lists what the objective and its terms need of frozen models."""
    config = job.config.train
    needs = find_needs(config)
    jobs = {reference.name: reference for reference in job.references}

    def load(reference: ReferenceJob) -> ListPolicy:
        own = reference.policy.digest == job.policy.digest
        return model if own else load_model(job, reference.policy)[0]

    def attach(name: str, members: RankedLists | CroppedLists) -> list[Any]:
        return references.attach(members, jobs[name], partial(load, jobs[name]))

    if "tokens" in needs:
        reference = attach(f"{config.reference}-tokens", lists)
        lists.tokens = TokenValues(reference, TokenTable(job.contrasts))
    elif "reference" in needs and config.reference_logps == "sampled":
        lists.ref_logps_PG = references.take_sampled(lists, lambda: model)
    elif "reference" in needs:
        lists.ref_logps_PG = attach(config.reference, lists)
    if "sampler" in needs and not job.config.generate.max_policy_age:
        references.compare_sampled(lists, model)
    if "crop" in needs:
        crops = CroppedLists(lists, processor, config.seed)
        crops.ref_logps_PG = attach(f"{config.reference}-crops", crops)
        lists.crops = crops
    extra = [name for name in jobs if name.startswith("extra-")]
    lists.extra_ref_logps_KPG = [attach(name, lists) for name in extra]


def train(job: TrainJob, model: ListPolicy, processor: Any, lists: RankedLists) -> ListTrainer:
    """Train from the start or from where a killed process left; the best checkpoint is loaded."""
    selection = SelectionReward(
        job.samples, processor, job.config, job.policy.folder, job.store,
        lambda message: emit("log", message=message),
    )  # fmt: skip
    if selection.refusals:
        emit("log", message=f"warning: {len(selection.refusals)} selection samples choose nothing: "
             f"{describe_refusals(selection.refusals)}")  # fmt: skip
    if not len(selection):
        emit("log", message="no selection prompts, so nothing to choose by: the last step is kept")
    work = job.folder / SCRATCH
    resumed = gather(find_checkpoint(work) if get_rank() == 0 else None)[0]
    if resumed:
        emit("log", message=f"resuming from {Path(resumed).name}")
    trainer = build_trainer(
        model, lists, selection, processor, job.config.train, work, measure_start=not resumed
    )
    if job.profile:
        trainer.add_callback(Profiler(job.profile))
    trainer.train(resume_from_checkpoint=resumed)
    return trainer


def save_result(job: TrainJob, trainer: ListTrainer) -> dict[str, Any]:
    """The chosen model in job.folder/model, and the fields of the result."""
    history, points = read_history(trainer.state.log_history)
    chosen = choose_step(points) if points else trainer.state.global_step
    if get_rank() == 0:
        folder, adapter = job.folder / MODEL_FOLDER, job.folder / ADAPTER
        for path in (folder, adapter):
            shutil.rmtree(path, ignore_errors=True)
        if chosen == 0:
            emit("log", message="no checkpoint beat the start on selection; the start is kept")
            # The same digest: its answers are known already.
            shutil.copytree(job.policy.folder, folder)
        else:
            policy = trainer.list_policy
            if job.config.train.sharding != "none":
                policy = load_chosen(job, trainer)
            dtype = job.config.policy.dtype
            if leaves_adapter(job.config.train, job.policy):
                save_on_base(policy, job.policy, dtype, folder)
            else:
                save_policy(policy, job.policy, dtype, folder, adapter)
        require_unchanged(job.policy)  # some of its files were copied
    return {
        "chosen_step": chosen,
        "history": [point.model_dump() for point in history],
        "readings": [point.model_dump() for point in points],
    }


def load_chosen(job: TrainJob, trainer: ListTrainer) -> ListPolicy:
    """The chosen checkpoint's weights, whole, in a model of its own."""
    model, _ = load_model(job, job.policy)
    step = trainer.state.best_global_step or trainer.state.global_step
    load_trained(model, job.folder / SCRATCH / f"checkpoint-{step}")
    return model


if __name__ == "__main__":
    run_as_one_of_many(main)
