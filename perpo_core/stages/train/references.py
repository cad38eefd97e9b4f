"""Log-probabilities of every answer under the frozen references: computed once, kept, verified.

A table has a part for each part of the lists, one row a list in their order. The parent keeps it in
the store under what it depends on (perpo_core.stages.train.sidecars), so that another beta,
objective or learning rate trains on the same numbers without a reference forward, and a restart or
a few new lists cost what is not there. Kept parts are compared with a live forward on a few lists
before anything trains on them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from perpo_core.process.child import emit
from perpo_core.stages.train.budget import choose_count, split_by_tokens
from perpo_core.stages.train.data import CroppedLists, RankedLists, collate_lists
from perpo_core.stages.train.list_policy import ListPolicy, compute_list_batch
from perpo_core.stages.train.loader import load_ahead
from perpo_core.stages.train.ranks import gather, get_rank, take_turns
from perpo_core.store.atomic import temporary_beside
from schemas.arrow import REFERENCES
from schemas.run import ReferenceJob
from schemas.train_config import TrainConfig

Lists = RankedLists | CroppedLists
VERIFIED_LISTS = 4
# Of a token's log-probability, nats: what batches of another shape may change.
TOLERANCE_NATS = {"float32": 1e-3, "bfloat16": 0.1}


class References:
    """Makes or reads the tables of one training."""

    def __init__(self, pad_id: int, dtype: str, config: TrainConfig) -> None:
        self._pad_id, self._config = pad_id, config
        self._tolerance = TOLERANCE_NATS["float32" if dtype == "float32" else "bfloat16"]
        self.largest_difference_nats = 0.0
        """Between a table and a live forward, of an answer's log-probability, over all tables."""

    def attach(self, lists: Lists, job: ReferenceJob, load: Callable[[], ListPolicy]) -> list[Any]:
        """The table of a reference: rows of log-probabilities, nats; `load` gives its model."""
        paths = job.list_paths()
        # Some may be there of a training that was killed before its commit. The first process
        # looks: between the looks of two one may come to be.
        there = gather([path.is_file() for path in paths] if get_rank() == 0 else [])[0]
        missing = [number for number, found in enumerate(there) if not found]
        model = load()
        self._make(lists, job, missing, model)
        rows = read_table(paths, lists)
        if any(there):
            self._verify(lists, rows, model, str(paths[there.index(True)].parent))
        self._tell(job, model)
        return rows

    def _make(
        self, lists: Lists, job: ReferenceJob, missing: Sequence[int], model: ListPolicy
    ) -> None:
        """Compute and write parts, each process its share of them."""
        spans, paths = lists.spans, job.list_paths()
        num_lists = sum(len(spans[number]) for number in missing)
        if num_lists:
            emit("log", message=f"reference log-probabilities of {num_lists} {job.content} under "
                 f"{job.policy.folder}")  # fmt: skip
        mine = take_turns(missing)
        for done, number in enumerate(mine):
            write_part(
                paths[number], lists, spans[number], self.compute(lists, spans[number], model)
            )
            emit(
                "progress", done=num_lists * (done + 1) // len(mine), total=num_lists, unit="lists"
            )
        gather(None)  # all are there before any is read

    def _tell(self, job: ReferenceJob, model: ListPolicy) -> None:
        """Have the parent commit a table that the store does not know."""
        if get_rank() == 0 and None in job.parts:
            emit("reference", name=job.name, device=str(model.device))

    def compute(self, lists: Lists, numbers: Sequence[int], model: ListPolicy) -> list[list[float]]:
        """The rows of some lists, in batches as training's."""
        size, count = self._config.micro_batch_lists, choose_count(model.base)
        rows: list[list[float]] = []
        ahead = load_ahead(lists, numbers, self._config.loader_workers)
        while members := list(islice(ahead, size)):
            for part in split_by_tokens(members, self._config.micro_batch_tokens, count):
                rows += compute_rows(model, part, self._pad_id)
        return rows

    def take_sampled(self, lists: RankedLists, load: Callable[[], ListPolicy]) -> list[list[float]]:
        """What the sampler said of its own answers, and how far that is from training's forward."""
        rows = lists.read_sampled_logps()
        largest = self._measure(lists, rows, load())
        self._note(largest)
        emit("log", message=f"the sampler's log-probabilities are the reference; they differ from "
             f"a live forward by at most {largest:.2g} nats an answer")  # fmt: skip
        return rows

    def compare_sampled(self, lists: RankedLists, model: ListPolicy) -> None:
        """Say how far from 1 the first ratios of policy and sampler are, where both are one."""
        largest = self._measure(lists, lists.read_sampled_logps(), model)
        said = (
            f"the sampler's log-probabilities differ from a live forward by at most {largest:.2g}"
        )
        allowed = self._config.clip_range
        if largest > allowed:
            emit("log", message=f"warning: {said} nats an answer, more than train.clip_range "
                 f"({allowed:g}): such answers begin clipped; raise it, or sample in the precision "
                 "that is trained in")  # fmt: skip
        else:
            emit("log", message=f"{said} nats an answer")

    def _verify(
        self, lists: Lists, rows: Sequence[Sequence[float]], model: ListPolicy, where: str
    ) -> None:
        largest = self._measure(lists, rows, model)
        self._note(largest)
        longest = max(len(b.ids) for i in _pick(lists) for b in lists[i].packable.branches)
        if not largest <= self._tolerance * longest:
            raise ValueError(
                f"{where} differs from a live forward by {largest:.3g} nats an answer, where "
                f"{self._tolerance * longest:.3g} is expected at most; remove it to compute it anew"
            )
        emit("log", message=f"reference log-probabilities are in the store already; {where} "
             f"differs from a live forward by at most {largest:.2g} nats an answer")  # fmt: skip

    def _measure(self, lists: Lists, rows: Sequence[Sequence[float]], model: ListPolicy) -> float:
        """Largest difference on a few lists, spread over the table; NaN counts as infinite."""
        gaps = []
        for i in _pick(lists):
            [live] = compute_rows(model, [lists[i]], self._pad_id)
            gaps += [abs(a - b) for a, b in zip(live, rows[i], strict=True)]
        return max(gap if gap == gap else float("inf") for gap in gaps)

    def _note(self, difference_nats: float) -> None:
        self.largest_difference_nats = max(self.largest_difference_nats, difference_nats)


@torch.no_grad()
def compute_rows(model: ListPolicy, members: Sequence[Any], pad_id: int) -> list[list[float]]:
    """Log-probabilities of the answers of a few lists, nats, in one forward pass."""
    model.eval()
    lists = compute_list_batch(model, collate_lists(members, pad_id).to(model.device))
    pairs = zip(lists.logps_PG, lists.mask_PG, strict=True)
    return [logps_G[mask_G].tolist() for logps_G, mask_G in pairs]


def write_part(
    path: Path, lists: Lists, numbers: Sequence[int], rows: Sequence[Sequence[float]]
) -> None:
    """One row a list: its sample_id and the log-probabilities of its answers."""
    ids = [lists.read_id(i) for i in numbers]
    with temporary_beside(path) as temporary:
        pq.write_table(pa.table({"sample_id": ids, "logps": rows}, schema=REFERENCES), temporary)


def read_table(paths: Sequence[Path], lists: Lists) -> list[list[float]]:
    """The rows of a table; raises ValueError if a part is of other lists."""
    rows: list[list[float]] = []
    for path, numbers in zip(paths, lists.spans, strict=True):
        table = pq.read_table(path, schema=REFERENCES)
        if table["sample_id"].to_pylist() != [lists.read_id(i) for i in numbers]:
            raise ValueError(f"{path} holds other lists than are trained on; remove it")
        rows += table["logps"].to_pylist()
    return rows


def _pick(lists: Lists) -> list[int]:
    """Evenly spread over the lists, first and last included."""
    last = len(lists) - 1
    return sorted({round(last * k / (VERIFIED_LISTS - 1)) for k in range(VERIFIED_LISTS)})
