"""`perpo doctor CONFIG --probe`: under which box format do the policy's own answers score?

Samples a few answers of training prompts that ask for coordinates with the configured engine and
scores them under every format. A convention guessed wrongly is the commonest reason for a reward
that stays at zero, and numbers alone cannot tell 0-1000 from the pixels of a large image.

The samples are those of the collect stage and stay in the store for the refresh; the answers lie
in a temporary store, since a refresh asks for others.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from perpo_core.perception.boxes import BOX_FORMATS
from perpo_core.perception.frames import build_framer
from perpo_core.perception.judging import Item, Judge, without_outside
from perpo_core.perception.tasks import TASKS
from perpo_core.stages import collect
from perpo_core.stages.generate import (
    build_sampling_request,
    compute_candidates_key,
    make_candidates,
)
from perpo_core.stages.samples import list_sample_files, read_samples
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.store.keys import compute_digest
from perpo_core.store.open import open_store
from perpo_core.store.packs import PREFIX, Images
from perpo_core.store.store import Store
from schemas.arrow import PACKS, SAMPLES
from schemas.artifact import SampleSet
from schemas.config import RefreshConfig
from schemas.run import PolicyRef

NUM_SAMPLES = 4  # sampled answers a prompt, beside the greedy one
CLEARLY = 0.1  # mean reward by which another format must beat the configured one to be named
HARDLY = 0.05  # mean reward below which no format reads the answers
COLUMNS = ["prompt_id", "task", "split", "width", "height", "target"]


@dataclass(frozen=True)
class ProbeResult:
    """How the answers score when read as one box format."""

    box_format: str
    mean_reward: float
    """Over all answers; those that cannot be read in this format count 0, or less."""
    share_parsed: float
    """Share of the answers that can be read in this format."""
    num_answers: int
    configured: bool

    def __str__(self) -> str:
        mark = "  <- policy.box_format" if self.configured else ""
        return (
            f"{self.box_format:15} mean reward {self.mean_reward:.3f}, "
            f"{self.share_parsed:4.0%} of {self.num_answers} answers can be read{mark}"
        )


def probe_policy(
    config: RefreshConfig,
    policy: PolicyRef,
    store: Store | None = None,
    log: Callable[[str], None] = lambda message: None,
    num_prompts: int = 16,
) -> list[ProbeResult]:
    """Every box format this policy can be read in, the best first.

    Raises ValueError where no prompt to train on asks for coordinates, ChildFailed where the engine
    breaks.
    """
    context = StageContext(store or open_store(config.store), config, policy, log=log)
    samples: SampleSet = find_or_make(context, collect).artifact
    table = _pick_rows(context, samples, num_prompts)
    with tempfile.TemporaryDirectory(prefix="perpo-probe-") as folder:
        texts = _sample_texts(context, Store(folder), samples, table)
    rows = table.select(COLUMNS).to_pylist()
    results = [
        result
        for box_format in BOX_FORMATS
        if (result := _read_as(box_format, context, rows, texts)) is not None
    ]
    return sorted(results, key=lambda result: (-result.mean_reward, not result.configured))


def describe_probe(results: Sequence[ProbeResult]) -> list[str]:
    """One line a format, and what to do about it."""
    return [*map(str, results), _advise(results)]


def _advise(results: Sequence[ProbeResult]) -> str:
    best = results[0]
    configured = [result for result in results if result.configured]
    if best.mean_reward < HARDLY:
        return (
            "no box format reads these answers: the policy does not locate things yet, or the "
            "prompts do not ask for coordinates the way it learned to give them"
        )
    if configured and best.mean_reward < configured[0].mean_reward + CLEARLY:
        return f"policy.box_format = {configured[0].box_format} fits"
    return f"the answers score clearly better as {best.box_format}; set policy.box_format to it"


def _pick_rows(context: StageContext, samples: SampleSet, num_prompts: int) -> pa.Table:
    """The samples of the first training prompts that ask for coordinates."""
    located = [name for name, task in TASKS.items() if task.read_shapes]
    table = read_samples(context.store, samples, SAMPLES.names, ["train"])
    table = table.filter(pc.is_in(table["task"], pa.array(located)))
    if table.num_rows == 0:
        raise ValueError(
            "no prompt to train on is of a task with coordinates "
            f"({', '.join(located)}), so there is nothing to probe"
        )
    prompt_ids = list(dict.fromkeys(table["prompt_id"].to_pylist()))[:num_prompts]
    return table.filter(pc.is_in(table["prompt_id"], value_set=pa.array(prompt_ids)))


def _sample_texts(
    context: StageContext, scratch: Store, samples: SampleSet, table: pa.Table
) -> dict[str, list[str]]:
    """prompt_id -> the greedy answer and NUM_SAMPLES sampled ones."""
    workspace = scratch.open_workspace(samples.kind, samples.key)
    images = Images(list_sample_files(context.store, samples).packs)
    names = dict.fromkeys(name for names in table["images"].to_pylist() for name in names)
    packed = [{"image_hash": name, "bytes": images.read(name)} for name in names]
    files = [
        workspace.write_table("part-00000.parquet", table),
        workspace.write_table(f"{PREFIX}few.parquet", pa.Table.from_pylist(packed, PACKS)),
    ]
    few = samples.model_copy(update={"files": files, "digest": compute_digest(files), "attempt": 0})
    config = context.config
    single = config.model_copy(
        update={"generate": config.generate.model_copy(update={"processes": 1})}
    )
    request = build_sampling_request(config, ["train"], NUM_SAMPLES, config.generate.seed)
    key = compute_candidates_key(request, context.policy, few)
    inner = StageContext(scratch, single, context.policy, log=context.log)
    candidates = make_candidates(inner, key, request, context.policy, few)
    texts: dict[str, list[str]] = {}
    for path in scratch.paths(candidates):
        for row in pq.read_table(path, columns=["prompt_id", "text"]).to_pylist():
            texts.setdefault(row["prompt_id"], []).append(row["text"])
    return texts


def _read_as(
    box_format: str,
    context: StageContext,
    rows: Sequence[dict[str, Any]],
    texts: dict[str, list[str]],
) -> ProbeResult | None:
    """None where the policy's image processor does not tell what the format needs."""
    try:
        build_frame = build_framer(
            box_format, Path(context.policy.folder), context.config.policy.pixel_limits
        )
    except ValueError as reason:
        context.log(f"{box_format} is left out: {reason}")
        return None
    items = [
        Item(text, row["task"], row["target"], build_frame(row["width"], row["height"]))
        for row in rows
        for text in texts.get(row["prompt_id"], [])  # none: it could not take it, and was heard of
    ]
    # Outside rewards read no boxes: they would say the same of every format.
    judgements = Judge(without_outside(context.config.score), box_format).judge_many(items)
    return ProbeResult(
        box_format,
        sum(judgement.value for judgement in judgements) / len(items),
        sum(judgement.error is None for judgement in judgements) / len(items),
        len(items),
        configured=box_format == context.config.policy.box_format,
    )
