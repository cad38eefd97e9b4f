"""What both policies are asked about: the trained one's answers, and the truths.

Rows of schemas.arrow.PREFERENCES, as training reads them, of prompts that nobody trained on. Every
sampled answer counts, as often as it was sampled and whatever it is worth: a mean over what a
policy samples wants its samples as they are, so that nothing is ranked, dropped or deduplicated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from perpo_core.perception.frames import build_framer
from perpo_core.perception.tasks import TASKS
from perpo_core.stages.generate.engine import GREEDY_INDEX
from perpo_core.stages.samples import read_samples
from perpo_core.stages.stage import StageContext
from perpo_core.store.row_reader import read_columns
from schemas.arrow import PREFERENCES
from schemas.artifact import CandidateSet, SampleSet
from schemas.base import Split

NUM_PARTS = 2
COLUMNS = ["sample_id", "prompt_id", "task", "images", "prompt", "target"]
FURTHER = ["image_id", "width", "height"]
ANSWER = ["index", "candidate_hash", "text", "token_ids", "logp"]
STOPPED, CUT_OFF = "stop", "length"
Row = dict[str, Any]


def load_samples(
    context: StageContext, samples: SampleSet, split: Split, answered: set[str], most: int
) -> list[Row]:
    """The samples of at most so many prompts a task; prompt ids are hashes, so that the first ones
    are a random draw that stays as it is."""
    table = read_samples(context.store, samples, [*COLUMNS, *FURTHER], [split])
    rows = [row for row in table.to_pylist() if row["prompt_id"] in answered]
    chosen: dict[str, set[str]] = {}
    for row in sorted(rows, key=lambda row: str(row["prompt_id"])):
        prompts = chosen.setdefault(row["task"], set())
        if len(prompts) < most:
            prompts.add(row["prompt_id"])
    kept = [row for row in rows if row["prompt_id"] in chosen[row["task"]]]
    return sorted(kept, key=lambda row: (row["prompt_id"], row["sample_id"]))


def load_answers(context: StageContext, candidates: CandidateSet) -> dict[str, list[Row]]:
    """prompt_id -> its sampled answers."""
    found: dict[str, list[Row]] = {}
    for path in context.store.paths(candidates):
        names = ["prompt_id", *ANSWER, "finish_reason"]
        for row in read_columns(path, names).to_pylist():
            if row["index"] != GREEDY_INDEX:
                found.setdefault(row["prompt_id"], []).append(row)
    return found


def build_answers(samples: Sequence[Row], answers: dict[str, list[Row]]) -> pa.Table:
    """A row a prompt, by its first sample: all that was sampled, in the order of sampling."""
    first = {sample["prompt_id"]: sample for sample in reversed(samples)}
    rows = [
        _build_row(sample, [{name: a[name] for name in ANSWER} for a in answers[prompt_id]])
        for prompt_id, sample in sorted(first.items())
    ]
    return pa.Table.from_pylist(rows, schema=PREFERENCES)


def build_truths(context: StageContext, samples: Sequence[Row], end_id: int | None) -> pa.Table:
    """A row a sample: its truth as the policy would write it, of whose tokens only the one that
    ends it is known here; none where nothing is known to end an answer."""
    rows = [] if end_id is None else list(_write_truths(context, samples, end_id))
    return pa.Table.from_pylist(rows, schema=PREFERENCES)


def find_end(answers: Iterable[Row]) -> int | None:
    """The token that most answers end with which ended by themselves."""
    ended = (a["token_ids"][-1] for a in answers if a["finish_reason"] == STOPPED)
    return next((token for token, _ in Counter(ended).most_common(1)), None)


def _write_truths(context: StageContext, samples: Sequence[Row], end_id: int) -> Iterator[Row]:
    policy = context.config.policy
    build_frame = build_framer(policy.box_format, context.policy.folder, policy.pixel_limits)
    for sample in samples:
        frame = build_frame(sample["width"], sample["height"])
        text = TASKS[sample["task"]].write_truth(sample["target"], policy.box_format, frame).text
        yield _build_row(sample, [{"index": 0, "text": text, "token_ids": [end_id]}])


def _build_row(sample: Row, responses: list[Row]) -> Row:
    ranked = [{"reward": 0.0, "rank": 0} | response for response in responses]
    return {name: sample[name] for name in COLUMNS} | {"responses": ranked, "reward_gap": 0.0}


def list_parts(folder: Path) -> list[Path]:
    """Of the answers, and of the truths."""
    return [folder / f"part-{number:05d}.parquet" for number in range(NUM_PARTS)]
