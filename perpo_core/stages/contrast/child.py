"""The child process of one of the two policies: have it, and ask it about every token.

What it says of the tokens is written when it has been trained, so that a killed run goes on from a
checkpoint or from the parts that are there. Of several processes (torchrun) each comes through
here, as in training.
"""

from __future__ import annotations

import shutil
from typing import Any

from torch.distributed.elastic.multiprocessing.errors import record

from perpo_core.process.child import emit, load_job
from perpo_core.stages.contrast.lists import InstructedLists, NegatedLists
from perpo_core.stages.train.checkpoints import TRAINED_FILE
from perpo_core.stages.train.child import attach_references, load_chosen, load_model, train
from perpo_core.stages.train.data import RankedLists
from perpo_core.stages.train.list_policy import ListPolicy
from perpo_core.stages.train.ranks import get_rank, join_processes, run_as_one_of_many
from perpo_core.stages.train.references import References
from perpo_core.stages.train.trainer import ListTrainer
from perpo_core.store.workspace import SCRATCH
from schemas.run import ContrastJob


@record
def main() -> ListTrainer | None:
    """What holds on to the process group is returned: run_as_one_of_many keeps it."""
    job = load_job(ContrastJob)
    join_processes()
    training, trainer = job.training, None
    model, processor = load_model(training, training.policy)
    lists = open_lists(job, processor)
    references = References(
        processor.tokenizer.pad_token_id, training.config.policy.dtype, training.config.train
    )
    if job.instruction is None:
        attach_references(model, lists, processor, references, training)
        trainer = train(training, model, processor, lists)
        model = take_last(job, trainer)
    emit("log", message=f"the {job.side} policy is asked about every token of {len(lists)} lists")
    references.make(lists, job.table, model)
    if get_rank() == 0:
        emit("result", device=str(model.device))
    return trainer


def open_lists(job: ContrastJob, processor: Any) -> RankedLists:
    """As this policy is shown them."""
    files = job.training.lists, job.training.samples.packs, processor
    image = job.training.config.train.image
    if job.instruction is not None:
        return InstructedLists(*files, job.instruction, image)
    return NegatedLists(*files, image) if job.side == "worse" else RankedLists(*files, image)


def take_last(job: ContrastJob, trainer: ListTrainer) -> ListPolicy:
    """The policy after its last step, since nothing chooses; what was trained of it is kept."""
    training = job.training
    if get_rank() == 0:
        checkpoint = f"checkpoint-{trainer.state.global_step}"
        job.trained.mkdir(parents=True, exist_ok=True)
        last = training.folder / SCRATCH / checkpoint / TRAINED_FILE
        shutil.copyfile(last, job.trained / TRAINED_FILE)
    # Processes that share out weights answer together; asked about tokens, each has its own lists.
    is_shared_out = training.config.train.sharding != "none"
    return load_chosen(training, trainer) if is_shared_out else trainer.list_policy


if __name__ == "__main__":
    run_as_one_of_many(main)
