"""Held-out lists: the base's own sampled answers to test samples, ranked by their rewards.

As materialize makes them, but every list of two different rewards stays, and all its answers. They
are made twice: with the right images, and with those of other samples, which the probed samples
(perpo_core/stages/probing) name.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from perpo_core.perception.judging import describe_judging
from perpo_core.policy.reading import find_reading
from perpo_core.stages.evaluate.scoring import score_answers
from perpo_core.stages.materialize.lists import Answer, ListOutcome, build_list, count_reasons
from perpo_core.stages.materialize.rows import build_dropped, build_preferences
from perpo_core.stages.outside import build_judge_of_one
from perpo_core.stages.probing import SPLIT, choose_rows, make_probed_samples, read_probed
from perpo_core.stages.samples import SampleRows, list_sample_files, read_samples
from perpo_core.stages.stage import StageContext
from perpo_core.store.keys import compute_digest, compute_key
from perpo_core.store.provenance import as_parents, describe_producer, utc_now
from perpo_core.store.row_reader import read_columns
from schemas.arrow import CANDIDATES
from schemas.artifact import AnyArtifact, CandidateSet, Counts, PreferenceSet, SampleSet
from schemas.config import ListsConfig

KIND = "preferences"
VERSION = 1
PART, DROPPED = "part-00000.parquet", "dropped-00000.parquet"
EVERY_LIST = ListsConfig(min_gap={}, list_size=256)
NOT_SAMPLED = "no sampled answers"
Image = Literal["right", "shuffled"]
Row = dict[str, Any]


@dataclass(frozen=True)
class HeldOutLists:
    """The same lists under one image or the other, and what they are made of."""

    lists: dict[Image, PreferenceSet]
    """shuffled is not there where no list has another image."""
    packs: dict[Image, list[Path]]
    """Where their images lie."""
    counts: Counts
    """Of the samples that were chosen."""


def make_lists(
    context: StageContext, samples: SampleSet, candidates: CandidateSet, num_of_task: int
) -> HeldOutLists:
    """Of at most `num_of_task` test samples of a task, from the store where it has them.

    Raises ValueError where no chosen sample has answers of two different rewards.
    """
    columns = ["sample_id", "task"]
    named = read_samples(context.store, samples, columns, [SPLIT]).to_pylist()
    whole = SampleRows(list_sample_files(context.store, samples))
    rows = [whole.read(row["sample_id"]) for row in choose_rows(named, num_of_task)]
    outcomes = _rank(context, whole, rows, candidates)
    refusals = [outcome.reason for outcome in outcomes.values() if outcome.reason is not None]
    counts = Counts(
        num_in=len(rows), num_kept=len(rows) - len(refusals), dropped=count_reasons(refusals)
    )
    if not counts.num_kept:
        raise ValueError(
            f"none of {len(rows)} test samples has answers of two different rewards to rank "
            f"({counts.dropped}); raise evaluate.num_samples or generate.temperature"
        )
    shown: dict[Image, tuple[AnyArtifact, dict[str, Row]]] = {
        "right": (samples, {row["sample_id"]: row for row in rows})
    }
    probed = make_probed_samples(context, samples, num_of_task)
    assert probed is not None, "there are test samples"
    shown["shuffled"] = probed, _show_others(context, probed, shown["right"][1])
    judging = describe_judging(context.config, find_reading(context.policy))
    lists, packs = {}, {}
    for image, (parent, rows_of) in shown.items():
        ranked = {i: each for i, each in outcomes.items() if i in rows_of}
        if not any(each.ranked for each in ranked.values()):
            continue
        settings = [judging, EVERY_LIST.model_dump(), num_of_task, image]
        parents = as_parents(parent, candidates)
        key = compute_key("held-out-lists", VERSION, parents, settings)
        lists[image] = _find_or_make(context, key, (parent, candidates), ranked, rows_of)
        assert isinstance(parent, SampleSet)
        packs[image] = list_sample_files(context.store, parent).packs
    return HeldOutLists(lists, packs, counts)


def _rank(
    context: StageContext, whole: SampleRows, rows: Sequence[Row], candidates: CandidateSet
) -> dict[str, ListOutcome]:
    """sample_id -> its list or why there is none, ascending."""
    by_prompt: dict[str, list[Row]] = {}
    for row in rows:
        by_prompt.setdefault(row["prompt_id"], []).append(row)
    judge = build_judge_of_one(context.config, context.store.place, context.log)
    answers: dict[str, list[Answer]] = {row["sample_id"]: [] for row in rows}
    sampled = _read_sampled(context, candidates, by_prompt)
    for scored in score_answers(context, judge, whole, by_prompt, candidates):
        for said, sample, judged in scored:
            found = sampled.get((said["prompt_id"], said["index"]))
            if found is not None:
                answer = Answer(**found, reward=judged.value, error=judged.error)
                answers[sample["sample_id"]].append(answer)
    task_of = {row["sample_id"]: row["task"] for row in rows}
    return {
        i: build_list(found, task_of[i], EVERY_LIST) if found else ListOutcome(None, NOT_SAMPLED)
        for i, found in sorted(answers.items())
    }


def _read_sampled(
    context: StageContext, candidates: CandidateSet, wanted: Mapping[str, Any]
) -> dict[tuple[str, int], Row]:
    """(prompt_id, index) -> fields of an Answer; the greedy ones are no draws of the policy."""
    names = ["index", "candidate_hash", "text", "token_ids", "logp", "finish_reason"]
    assert set(names) < set(CANDIDATES.names)
    return {
        (row.pop("prompt_id"), row["index"]): row
        for path in context.store.paths(candidates)
        for row in read_columns(path, ["prompt_id", *names]).to_pylist()
        if row["prompt_id"] in wanted and row["index"] >= 0
    }


def _show_others(
    context: StageContext, probed: SampleSet, rows_of: Mapping[str, Row]
) -> dict[str, Row]:
    """sample_id -> its row with another sample's images, under its own sample_id."""
    return {
        each.sample_id: rows_of[each.sample_id]
        | {"prompt_id": each.prompt_id, "images": each.images}
        for each in read_probed(context.store, probed)
        if each.way == "shuffled"
    }


def _find_or_make(
    context: StageContext,
    key: str,
    parents: tuple[AnyArtifact, CandidateSet],
    outcomes: Mapping[str, ListOutcome],
    rows_of: Mapping[str, Row],
) -> PreferenceSet:
    found = context.find(KIND, key, context.log)
    if found is None:
        found, _ = context.make_alone(
            KIND, key, lambda: _make(context, key, parents, outcomes, rows_of)
        )
    lists: PreferenceSet = found
    return lists


def _make(
    context: StageContext,
    key: str,
    parents: tuple[AnyArtifact, CandidateSet],
    outcomes: Mapping[str, ListOutcome],
    rows_of: Mapping[str, Row],
) -> PreferenceSet:
    started = time.monotonic()
    workspace = context.open_workspace(KIND, key)
    table: pa.Table = build_preferences(outcomes, rows_of)
    files = [
        workspace.write_table(PART, table),
        workspace.write_table(DROPPED, build_dropped(outcomes)),
    ]
    tasks = table["task"].to_pylist()
    sizes = [len(each.ranked.answers) for each in outcomes.values() if each.ranked]
    reasons = [each.reason for each in outcomes.values() if each.reason is not None]
    return PreferenceSet(
        stage="evaluate",
        key=key,
        digest=compute_digest(files),
        files=files,
        counts=Counts(num_in=len(outcomes), num_kept=len(sizes), dropped=count_reasons(reasons)),
        parents=as_parents(*parents),
        producer=describe_producer(seed=0, threads=1),
        created_at=utc_now(),
        seconds=time.monotonic() - started,
        attempt=workspace.attempt,
        num_lists={task: tasks.count(task) for task in sorted(set(tasks))},
        mean_list_size=sum(sizes) / len(sizes),
    )
