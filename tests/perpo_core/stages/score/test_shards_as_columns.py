"""A shard scored as columns is, byte for byte, the file that its rows one by one would be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perpo_core.perception.boxes import Frame
from perpo_core.perception.judging import Judge
from perpo_core.perception.rewards import Item
from perpo_core.stages import score
from perpo_core.stages.stage import StageContext, find_or_make
from schemas.arrow import SCORES
from schemas.artifact import CandidateSet, SampleSet
from tests.perpo_core.small_store import (
    BOX,
    build_candidate_rows,
    build_context,
    build_sample_row,
    commit_candidates,
    commit_samples,
)

BOXES = ["[0.20, 0.20, 0.60, 0.60]", "nowhere", "[0.6, 0.2, 0.1, 0.3]", "[0, 0, 1, 9]", "x 0,0,1,1"]
PAGES = ["12\n34", " 12  34", '"12"', "\u00e9 12", "12\n34", ""]
SCORINGS = [{}, {"on_unparsed": "drop"}, {"grounding": {"reward": {"iou": 0.5, "format": -1.0}}}]


def build_samples() -> list[dict[str, Any]]:
    """Two truths of one count prompt and of one grounding prompt, and a text."""
    others = [BOX, [0.0, 0.0, 1.0, 0.5]]
    return [
        *(build_sample_row(1, "grounding", box) for box in others),
        build_sample_row(2, "ocr", "12 34"),
        *(build_sample_row(3, "counting", count) for count in (3, 4)),
    ]


def build_parents(
    context: StageContext, num_answers: int, name: str
) -> tuple[SampleSet, CandidateSet]:
    """Both shards hold several tasks; of each prompt the first `num_answers` answers."""
    rows = build_samples()
    samples = commit_samples(context.store, rows)
    boxes, pages, counts = (rows[number]["prompt_id"] for number in (0, 2, 3))
    shards = [
        build_candidate_rows(boxes, BOXES[:num_answers])
        + build_candidate_rows(pages, PAGES[:num_answers]),
        build_candidate_rows(counts, ["3", "4", "three", "3"][:num_answers]),
    ]
    return samples, commit_candidates(context.store, samples, shards, name)


def score_row_by_row(context: StageContext, path: Path) -> pa.Table:
    """The slow reference."""
    samples = sorted(build_samples(), key=lambda row: row["sample_id"])
    config = context.config
    judge = Judge(config.score, config.policy.box_format)
    rows = []
    for candidate in pq.read_table(path).to_pylist():
        for sample in samples:
            if sample["prompt_id"] != candidate["prompt_id"]:
                continue
            target = {"boxes": None, "others": None, "image": None, **sample["target"]}
            item = Item(candidate["text"], sample["task"], target, Frame(20, 10))  # type: ignore[arg-type]
            judgement = judge.judge(item)
            counts = config.score.on_unparsed == "zero" or judgement.reward is not None
            parsed = judgement.parsed
            rows.append({
                "sample_id": sample["sample_id"],
                **{name: candidate[name] for name in ("prompt_id", "index", "candidate_hash")},
                "task": sample["task"],
                "reward": judgement.value if counts else None,
                "rewards": list(judgement.rewards.items()) if counts else [],
                "parsed": None if parsed is None else json.dumps(parsed, ensure_ascii=False),
                "error": judgement.error,
            })  # fmt: skip
    return pa.Table.from_pylist(rows, schema=SCORES)


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("num_earlier", [0, 1, 3, 5])
def test_files_are_those_of_rows_one_by_one(
    tmp_path: Path, scoring: dict[str, Any], num_earlier: int
) -> None:
    """Whether all are judged, or some or all are taken over from an earlier set."""
    context = build_context(tmp_path, score=scoring)
    if num_earlier:
        find_or_make(context, score, *build_parents(context, num_earlier, "earlier"))
    samples, candidates = build_parents(context, 6, "key")
    scores = find_or_make(context, score, samples, candidates).artifact
    made, given = context.store.paths(scores), context.store.paths(candidates)
    for path, shard in zip(made, given, strict=True):
        expected = tmp_path / "expected.parquet"
        pq.write_table(score_row_by_row(context, shard), expected, compression="zstd")
        assert pq.read_table(path).to_pylist() == pq.read_table(expected).to_pylist()
        assert path.read_bytes() == expected.read_bytes()
    assert scores.counts.num_reused == {0: 0, 1: 8, 3: 18, 5: 23}[num_earlier]  # equal ones too
