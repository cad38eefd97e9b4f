"""What answers of a shard are worth, in one of two ways that say the same.

As columns, which is many times as fast; and an answer at a time, with its whole row, where one's
own reward or a judge is asked. Those may fail: such an answer is not judged, and has no reward.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray

from perpo_core.perception.column_judging import JUDGED, ColumnJudge
from perpo_core.perception.judging import Judge, Judgement, list_outside
from perpo_core.perception.rewards import Question
from perpo_core.stages.outside import build_judge
from perpo_core.stages.samples import SampleRows, build_item, list_sample_files
from perpo_core.stages.score.pairs import Pairs
from perpo_core.stages.stage import StageContext
from schemas.artifact import SampleSet

ShardJudge = Callable[[Pairs, NDArray[Any]], pa.Table]
"""Of pairs, and which of them to judge: a row of JUDGED each."""


def build_shard_judge(context: StageContext, samples: SampleSet) -> ShardJudge:
    """The faster way that the configured rewards allow."""
    config = context.config
    if not list_outside(config.score):
        return partial(_judge_columns, ColumnJudge(config.score, config.policy.box_format))
    judge = build_judge(config, context.store.place, context.log)
    rows = SampleRows(list_sample_files(context.store, samples))
    return partial(_judge_rows, judge, rows, config.score.on_unparsed == "zero")


def _judge_columns(judge: ColumnJudge, pairs: Pairs, wanted: NDArray[Any]) -> pa.Table:
    texts, numbers = pairs.candidates["text"].combine_chunks(), pairs.numbers_N
    if len(wanted) < len(numbers):
        texts, numbers = texts.take(pa.array(wanted)), numbers[wanted]
    questions = [Question(s.task, s.target, s.frame) for s in pairs.samples_M]
    return judge.judge(texts, questions, numbers)


def _judge_rows(
    judge: Judge, rows: SampleRows, is_zero: bool, pairs: Pairs, wanted: NDArray[Any]
) -> pa.Table:
    texts = pairs.candidates["text"].take(pa.array(wanted)).to_pylist()
    samples = [pairs.samples_M[number] for number in pairs.numbers_N[wanted]]
    items = [build_item(*pair, rows) for pair in zip(samples, texts, strict=True)]
    found = [_describe(judgement, is_zero) for judgement in judge.judge_many(items)]
    return pa.Table.from_pylist(found, schema=JUDGED)


def _describe(judgement: Judgement, is_zero: bool) -> dict[str, Any]:
    """A row of JUDGED; `is_zero`: an answer that cannot be read counts, as 0 or less."""
    counts = judgement.reward is not None or (is_zero and judgement.fault == "answer")
    parsed = judgement.parsed
    return {
        "reward": judgement.value if counts else None,
        "rewards": list(judgement.rewards.items()) if counts else [],
        "parsed": None if parsed is None else json.dumps(parsed, ensure_ascii=False),
        "error": judgement.error,
    }
