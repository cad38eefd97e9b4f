"""The child process of a policy: load it once, ask it about every list with every image, exit."""

from __future__ import annotations

from perpo_core.process.child import emit, load_job
from perpo_core.stages.train.child import load_model
from perpo_core.stages.train.data import RankedLists
from perpo_core.stages.train.references import References
from schemas.run import RankingJob


def main() -> None:
    job = load_job(RankingJob)
    training = job.training
    model, processor = load_model(training, training.policy)
    references = References(
        processor.tokenizer.pad_token_id, training.config.policy.dtype, training.config.train
    )
    for each in job.tables:
        lists = RankedLists(each.lists, each.packs, processor)
        emit("log", message=f"log-probabilities of {len(lists)} held-out lists under "
             f"{training.policy.folder}")  # fmt: skip
        each.table.folder.mkdir(parents=True, exist_ok=True)
        references.make(lists, each.table, model)
    emit("result", device=str(model.device))


if __name__ == "__main__":
    main()
