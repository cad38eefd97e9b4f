"""Judging many answers at once: what Judge says of each, as columns of SCORES.

The same to the last bit, several times as fast: rewards that can look at all answers of a task
together do so (Reward.compute_columns), and mixtures are weighed a column at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from perpo_core.perception.judging import Judge
from perpo_core.perception.mixtures import Mixture
from perpo_core.perception.rewards import Answers, Question, Results
from perpo_core.perception.rewards.columns import compute_column, take_answers
from schemas.arrow import SCORES
from schemas.config import ScoreConfig

JUDGED = pa.schema([SCORES.field(name) for name in ("reward", "rewards", "parsed", "error")])


class ColumnJudge:
    """Rewards answers as a configuration says, a shard at a time."""

    def __init__(self, config: ScoreConfig, box_format: str) -> None:
        self._judge = Judge(config, box_format)
        self._is_zero = config.on_unparsed == "zero"

    def judge(
        self,
        texts_N: pa.StringArray,
        questions_M: Sequence[Question],
        numbers_N: NDArray[np.int64],
    ) -> pa.Table:
        """What each answer is worth, a row of JUDGED each; `numbers_N` says to which question.

        An answer that cannot be read counts as 0 or less, or has no reward and no parts, as
        score.on_unparsed says.
        """
        readings = [self._judge.build_reading(question.frame) for question in questions_M]
        answers = Answers(texts_N, numbers_N, questions_M, readings)
        tasks, of_task_M = np.unique([q.task for q in questions_M], return_inverse=True)
        of_task_N = of_task_M[numbers_N]
        rows_of = {
            tasks[number]: np.flatnonzero(of_task_N == number) for number in np.unique(of_task_N)
        }
        tables = [self._judge_task(task, answers, rows) for task, rows in rows_of.items()]
        if len(tables) < 2:
            return tables[0] if tables else JUDGED.empty_table()
        order = np.argsort(np.concatenate(list(rows_of.values())))
        return pa.concat_tables(tables).combine_chunks().take(pa.array(order))

    def _judge_task(self, task: str, answers: Answers, rows: NDArray[np.int64]) -> pa.Table:
        mixture = self._judge.get_mixture(task)
        of_task = _take_task(answers, task, rows)
        parts = [compute_column(p.reward, of_task, p.options) for p in mixture.parts]
        error = _explain(mixture, parts)
        values = [
            pc.fill_null(found.rewards_K, part.unread).to_numpy()
            for part, found in zip(mixture.parts, parts, strict=True)
        ]
        is_read = error.is_null().to_numpy(zero_copy_only=False)
        total = np.where(is_read, _combine(mixture, values), mixture.unread)
        counts = is_read | self._is_zero
        parsed = pc.coalesce(*(found.parsed_K for found in parts))
        columns = {
            "reward": pa.array(total, pa.float64(), mask=~counts),
            "rewards": _build_maps([p.reward.name for p in mixture.parts], values, counts),
            "parsed": pc.if_else(pa.array(is_read), parsed, pa.scalar(None, pa.string())),
            "error": error,
        }
        return pa.table(columns, schema=JUDGED)


def _take_task(answers: Answers, task: str, rows: NDArray[np.int64]) -> Answers:
    """The answers in these rows, whose questions are those of the task alone."""
    of_task = [n for n, question in enumerate(answers.questions_M) if question.task == task]
    place_of = np.zeros(len(answers.questions_M), np.int64)
    place_of[of_task] = np.arange(len(of_task))
    taken = take_answers(answers, rows)
    return Answers(
        taken.texts_N,
        place_of[taken.numbers_N],
        [answers.questions_M[number] for number in of_task],
        [answers.readings_M[number] for number in of_task],
    )


def _explain(mixture: Mixture, parts: Sequence[Results]) -> pa.StringArray:
    """Mixture.explain of every row."""
    if len(parts) == 1:
        return parts[0].errors_K
    named = [
        pc.binary_join_element_wise(part.reward.name, found.errors_K, ": ")
        for part, found in zip(mixture.parts, parts, strict=True)
    ]
    return pc.coalesce(*named)


def _combine(mixture: Mixture, values: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """Mixture.combine of every row, in the same order of sums."""
    total = np.zeros(len(values[0]))
    for part, column in zip(mixture.parts, values, strict=True):
        total = total + part.weight * column
    low, high = mixture.settings.bounds
    total = np.where(total < low, low, total)
    total = np.where(total > high, high, total)
    threshold = mixture.settings.threshold
    return total if threshold is None else np.where(total < threshold, mixture.range[0], total)


def _build_maps(
    names: Sequence[str], values: Sequence[NDArray[Any]], counts_N: NDArray[np.bool_]
) -> pa.MapArray:
    """Part -> value, a map a row; an empty one where nothing counts."""
    offsets = np.concatenate([[0], np.cumsum(counts_N * len(names))]).astype(np.int32)
    items = np.stack(values, axis=1)[counts_N].ravel()
    keys = pa.array(names, pa.string()).take(
        pa.array(np.tile(np.arange(len(names)), counts_N.sum()))
    )
    return pa.MapArray.from_arrays(offsets, keys, pa.array(items, pa.float64()))
