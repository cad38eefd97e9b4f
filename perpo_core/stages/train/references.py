"""Log-probabilities of every answer under the frozen references: computed once, kept, verified.

A table has a part for each part of the lists, one row a list in their order: of its answers, or of
their tokens where an objective looks at those. The parent keeps it in
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
from perpo_core.stages.train.token_table import TokenTable, write_token_part
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

    def attach(self, lists: Lists, job: ReferenceJob, load: Callable[[], ListPolicy]) -> Any:
        """The table of a reference: rows of log-probabilities, nats; `load` gives its model.

        A list, or of tokens a TokenTable.
        """
        paths = job.list_paths()
        there = look_at(paths)
        if not all(there):
            emit("log", message=f"reference {describe_table(lists, job, there)}")
        model = load()
        self._compute_missing(lists, job, there, model)
        rows = open_table(job, lists)
        if any(there):
            self._verify(lists, rows, model, str(paths[there.index(True)].parent))
        self._tell(job, model)
        return rows

    def make(self, lists: Lists, job: ReferenceJob, model: ListPolicy) -> None:
        """Compute and write those parts that are not there, each process its share of them."""
        self._compute_missing(lists, job, look_at(job.list_paths()), model)

    def _compute_missing(
        self, lists: Lists, job: ReferenceJob, there: Sequence[bool], model: ListPolicy
    ) -> None:
        spans, paths = lists.spans, job.list_paths()
        missing = [number for number, found in enumerate(there) if not found]
        total, mine = sum(len(spans[number]) for number in missing), take_turns(missing)
        for done, number in enumerate(mine, 1):
            rows = self.compute(lists, spans[number], model, job.of == "tokens")
            write_part(paths[number], lists, spans[number], rows, job.of == "tokens")
            emit("progress", done=total * done // len(mine), total=total, unit="lists")
        gather(None)  # all are there before any is read

    def _tell(self, job: ReferenceJob, model: ListPolicy) -> None:
        """Have the parent commit a table that the store does not know."""
        if get_rank() == 0 and None in job.parts:
            emit("reference", name=job.name, device=str(model.device))

    def compute(
        self, lists: Lists, numbers: Sequence[int], model: ListPolicy, tokens: bool = False
    ) -> list[Any]:
        """The rows of some lists, in batches as training's."""
        size, count = self._config.micro_batch_lists, choose_count(model.base)
        rows: list[Any] = []
        compute = compute_token_rows if tokens else compute_rows
        ahead = load_ahead(lists, numbers, self._config.loader_workers)
        while members := list(islice(ahead, size)):
            for part in split_by_tokens(members, self._config.micro_batch_tokens, count):
                rows += compute(model, part, self._pad_id)
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

    def _verify(self, lists: Lists, rows: Any, model: ListPolicy, where: str) -> None:
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

    def _measure(self, lists: Lists, rows: Any, model: ListPolicy) -> float:
        """Largest difference of an answer on a few lists, spread over the table; NaN counts as
        infinite."""
        gaps = []
        for i in _pick(lists):
            [live] = compute_rows(model, [lists[i]], self._pad_id)
            kept = map(sum, rows[i]) if isinstance(rows, TokenTable) else rows[i]
            gaps += [abs(a - b) for a, b in zip(live, kept, strict=True)]
        return max(gap if gap == gap else float("inf") for gap in gaps)

    def _note(self, difference_nats: float) -> None:
        self.largest_difference_nats = max(self.largest_difference_nats, difference_nats)


def describe_table(lists: Lists, job: ReferenceJob, there: Sequence[bool]) -> str:
    """Such as "log-probabilities of 7 lists under FOLDER", of the parts that are not there."""
    num = sum(len(span) for span, found in zip(lists.spans, there, strict=True) if not found)
    content = f"the tokens of {num} lists" if job.of == "tokens" else f"{num} {job.of}"
    return f"log-probabilities of {content} under {job.policy.folder}"


def look_at(paths: Sequence[Path]) -> list[bool]:
    """Which parts are there: some may be of a training that was killed before its commit.

    The first process looks: between the looks of two one may come to be.
    """
    there: list[bool] = gather([path.is_file() for path in paths] if get_rank() == 0 else [])[0]
    return there


@torch.no_grad()
def compute_rows(model: ListPolicy, members: Sequence[Any], pad_id: int) -> list[list[float]]:
    """Log-probabilities of the answers of a few lists, nats, in one forward pass."""
    model.eval()
    lists = compute_list_batch(model, collate_lists(members, pad_id).to(model.device))
    pairs = zip(lists.logps_PG, lists.mask_PG, strict=True)
    return [logps_G[mask_G].tolist() for logps_G, mask_G in pairs]


@torch.no_grad()
def compute_token_rows(
    model: ListPolicy, members: Sequence[Any], pad_id: int
) -> list[list[list[float]]]:
    """The same of their tokens."""
    model.eval()
    token_logps_M = model(collate_lists(members, pad_id).to(model.device))[0]
    each = iter(token_logps_M.tolist())
    return [
        [list(islice(each, len(branch.ids) - branch.num_unscored)) for branch in list_.branches]
        for list_ in (ranked.packable for ranked in members)
    ]


def write_part(
    path: Path, lists: Lists, numbers: Sequence[int], rows: Sequence[Any], tokens: bool = False
) -> None:
    """One row a list: its sample_id, and log-probabilities of its answers or of their tokens."""
    ids = [lists.read_id(i) for i in numbers]
    if tokens:
        return write_token_part(path, ids, rows)
    with temporary_beside(path) as temporary:
        pq.write_table(pa.table({"sample_id": ids, "logps": rows}, schema=REFERENCES), temporary)


def open_table(job: ReferenceJob, lists: Lists) -> Any:
    """Its rows, or of tokens a TokenTable; raises ValueError if a part is of other lists."""
    paths = job.list_paths()
    check_lists(paths, lists)
    return TokenTable(paths) if job.of == "tokens" else read_rows(paths)


def check_lists(paths: Sequence[Path], lists: Lists) -> None:
    """Raise ValueError unless the parts are of these lists."""
    for path, numbers in zip(paths, lists.spans, strict=True):
        ids = pq.read_table(path, columns=["sample_id"])["sample_id"].to_pylist()
        if ids != [lists.read_id(i) for i in numbers]:
            raise ValueError(f"{path} holds other lists than are trained on; remove it")


def read_rows(paths: Sequence[Path]) -> list[list[float]]:
    """The rows of parts of schemas.arrow.REFERENCES, one part after another."""
    parts = (pq.read_table(path, schema=REFERENCES)["logps"] for path in paths)
    return [row for part in parts for row in part.to_pylist()]


def _pick(lists: Lists) -> list[int]:
    """Evenly spread over the lists, first and last included."""
    last = len(lists) - 1
    return sorted({round(last * k / (VERIFIED_LISTS - 1)) for k in range(VERIFIED_LISTS)})
