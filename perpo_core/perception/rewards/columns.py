"""A reward of many answers: all at once where it can, the others one by one, equal ones once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from perpo_core.perception.rewards.base import Answers, Item, Results, Reward
from schemas.base import Section

Rows = NDArray[np.int64]


def compute_column(reward: Reward, answers: Answers, options: Section | None = None) -> Results:
    """What compute_many says of all N answers."""
    at_once = _compute_at_once(reward, answers, options)
    is_left_N = np.ones(len(answers.numbers_N), bool)
    is_left_N[at_once.rows_K] = False
    if not is_left_N.any():
        return at_once
    return merge([at_once, _compute_others(reward, answers, np.flatnonzero(is_left_N), options)])


def merge(parts: Sequence[Results]) -> Results:
    """Results of different answers in the answers' order."""
    rows = np.concatenate([part.rows_K for part in parts])
    order = pa.array(np.argsort(rows, kind="stable"))
    columns = zip(*((part.rewards_K, part.parsed_K, part.errors_K) for part in parts), strict=True)
    return Results(np.sort(rows), *(pa.concat_arrays(column).take(order) for column in columns))


def _compute_at_once(reward: Reward, answers: Answers, options: Section | None) -> Results:
    if reward.compute_columns is None:
        return _build(np.empty(0, np.int64), [], [], [])
    given = () if options is None else (options,)
    is_fit_M = [reward.takes_all_truths or not q.target.get("others") for q in answers.questions_M]
    if all(is_fit_M):
        return reward.compute_columns(answers, *given)
    rows = np.flatnonzero(np.array(is_fit_M)[answers.numbers_N])
    found = reward.compute_columns(take_answers(answers, rows), *given)
    return replace(found, rows_K=rows[found.rows_K])


def _compute_others(
    reward: Reward, answers: Answers, rows_K: Rows, options: Section | None
) -> Results:
    numbers = answers.numbers_N[rows_K].tolist()
    asked = list(zip(answers.texts_N.take(pa.array(rows_K)).to_pylist(), numbers, strict=True))
    place_of = {pair: place for place, pair in enumerate(dict.fromkeys(asked))}
    items = []
    for text, number in place_of:
        question = answers.questions_M[number]
        items.append(Item(text, question.task, question.target, question.frame))
    readings = [answers.readings_M[number] for _, number in place_of]
    results = reward.compute_many(items, readings, options)
    found = _build(
        np.arange(len(results)),
        [result.reward for result in results],
        [_write(result.parsed) for result in results],
        [result.error for result in results],
    )
    places = pa.array([place_of[pair] for pair in asked], pa.int64())
    columns = (found.rewards_K, found.parsed_K, found.errors_K)
    return Results(rows_K, *(column.take(places) for column in columns))


def take_answers(answers: Answers, rows: Rows) -> Answers:
    """Some of the answers."""
    if len(rows) == len(answers.numbers_N):
        return answers
    texts = answers.texts_N.take(pa.array(rows))
    return replace(answers, texts_N=texts, numbers_N=answers.numbers_N[rows])


def _write(parsed: object) -> str | None:
    return None if parsed is None else json.dumps(parsed, ensure_ascii=False)


def _build(
    rows: Rows,
    rewards: list[float | None],
    parsed: list[str | None],
    errors: list[str | None],
) -> Results:
    return Results(
        rows,
        pa.array(rewards, pa.float64()),
        pa.array(parsed, pa.string()),
        pa.array(errors, pa.string()),
    )
