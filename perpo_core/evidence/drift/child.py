"""The child process of a drift: start and trained say how likely answers and truths are.

The same forward pass asks both, so that what batches and kernels round is in neither's favour.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from perpo_core.policy.banned import find_banned_ids
from perpo_core.process.child import emit, load_job
from perpo_core.stages.train.child import load_model
from perpo_core.stages.train.data import RankedLists
from perpo_core.stages.train.ranks import run_as_one_of_many
from perpo_core.stages.train.references import References
from perpo_core.store.atomic import temporary_beside
from schemas.arrow import PREFERENCES
from schemas.run import TrainJob


def main() -> None:
    job = load_job(TrainJob)
    _, processor = load_model(job, job.policy)
    write_tokens(job, processor.tokenizer)
    lists = RankedLists(job.lists, job.samples.packs, processor)
    train = job.config.train
    references = References(processor.tokenizer.pad_token_id, job.config.policy.dtype, train)
    device = ""
    for table in job.references:
        model, _ = load_model(job, table.policy)
        device = str(model.device)
        emit(
            "log", message=f"the {table.name} policy is asked about {len(lists)} prompts and truths"
        )
        references.make(lists, table, model)
    emit("result", device=device)


def write_tokens(job: TrainJob, tokenizer: Any) -> None:
    """Give the truths, the second part, their tokens; one that spells a special token is left out.

    The token that ends them is there already.
    """
    truths = pq.read_table(job.lists[1], schema=PREFERENCES).to_pylist()
    special = {*find_banned_ids(tokenizer), *tokenizer.all_special_ids}
    rows = []
    for row in truths:
        [response] = row["responses"]
        ids = tokenizer(response["text"], add_special_tokens=False)["input_ids"]
        if ids and not special & set(ids):
            whole = [*ids, response["token_ids"][-1]]
            rows.append(row | {"responses": [response | {"token_ids": whole}]})
    with temporary_beside(job.lists[1]) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=PREFERENCES), temporary)


if __name__ == "__main__":
    run_as_one_of_many(main)
