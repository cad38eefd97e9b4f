"""Materialize: ranked lists from scored candidates, one row a list, ready to train on.

Scores meet candidates by (prompt_id, index) and must name the same candidate hash, so that a
reward can never meet another answer. The rows also carry TRL's chosen and rejected (best and worst
answer), so that the file loads there as it is. What does not enter is in dropped.parquet with its
reason: whole samples under their sample_id, single answers under sample_id/index.

Left out: writing in pieces. The kept lists with their images are held in memory once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from perpo_core.perception.tasks import TASKS
from perpo_core.policy.refusals import load_refusals
from perpo_core.stages.materialize import lists
from perpo_core.stages.materialize.lists import Answer, ListOutcome, RankedList
from perpo_core.stages.stage import StageContext
from perpo_core.store.keys import compute_digest
from perpo_core.store.keys import compute_key as compute_stage_key
from perpo_core.store.provenance import as_parents, describe_producer, utc_now
from perpo_core.store.store import Store
from schemas.arrow import DROPPED, PREFERENCES
from schemas.artifact import CandidateSet, Counts, PreferenceSet, SampleSet, ScoredSet
from schemas.base import TaskName
from schemas.config import RefreshConfig
from schemas.run import PolicyRef

KIND = "preferences"
VERSION = 1
CANDIDATE_COLUMNS = [
    "prompt_id", "index", "candidate_hash", "text", "token_ids", "logp", "finish_reason",
]  # fmt: skip
SCORE_COLUMNS = ["sample_id", "prompt_id", "index", "candidate_hash", "reward", "error"]
IMAGE_COLUMNS = ["sample_id", "prompt_id", "images", "prompt", "target"]


def compute_key(
    config: RefreshConfig,
    policy: PolicyRef,
    samples: SampleSet,
    candidates: CandidateSet,
    scores: ScoredSet,
) -> str:
    """Lists depend on all three parents and on the section `lists`."""
    del policy
    parents = as_parents(samples, candidates, scores)
    return compute_stage_key("materialize", VERSION, parents, config.lists.model_dump())


def run(
    context: StageContext,
    key: str,
    samples: SampleSet,
    candidates: CandidateSet,
    scores: ScoredSet,
) -> PreferenceSet:
    """preferences.parquet and dropped.parquet; counts are in lists, one a training sample.

    Raises ValueError if no list is left, saying the reasons and which setting to look at, and for
    a score and a candidate that do not belong together.
    """
    started = time.monotonic()
    task_of = load_train_tasks(context.store, samples)
    outcomes = build_outcomes(context, task_of, samples, candidates, scores)
    outcomes = apply_max_lists(outcomes, task_of, context.config.lists.max_lists)
    kept = {sample_id: o.ranked for sample_id, o in outcomes.items() if o.ranked is not None}
    dropped = lists.count_reasons(o.reason for o in outcomes.values() if o.reason is not None)
    if not kept:
        raise ValueError(lists.explain_no_lists(dropped))
    _log_drops(context, task_of, outcomes)
    workspace = context.open_workspace(KIND, key)
    files = [
        workspace.write_table(
            "preferences.parquet", build_preferences(context.store, samples, task_of, kept)
        ),
        workspace.write_table("dropped.parquet", build_dropped(outcomes)),
    ]
    num_lists: dict[TaskName, int] = {
        task: sum(task_of[sample_id] == task for sample_id in kept)
        for task in TASKS
        if task in task_of.values()
    }
    return PreferenceSet(
        stage="materialize",
        key=key,
        digest=compute_digest(files),
        files=files,
        counts=Counts(num_in=len(task_of), num_kept=len(kept), dropped=dropped),
        parents=as_parents(samples, candidates, scores),
        producer=describe_producer(seed=context.config.generate.seed, threads=1),
        created_at=utc_now(),
        seconds=time.monotonic() - started,
        attempt=workspace.attempt,
        num_lists=num_lists,
        mean_list_size=sum(len(ranked.answers) for ranked in kept.values()) / len(kept),
    )


def load_train_tasks(store: Store, samples: SampleSet) -> dict[str, TaskName]:
    """sample_id -> task of every training sample, in order of sample_id."""
    table = pq.read_table(
        store.path(samples, "samples.parquet"),
        columns=["sample_id", "task"],
        filters=[("split", "==", "train")],
    ).sort_by("sample_id")
    return dict(zip(table["sample_id"].to_pylist(), table["task"].to_pylist(), strict=True))


def build_outcomes(
    context: StageContext,
    task_of: dict[str, TaskName],
    samples: SampleSet,
    candidates: CandidateSet,
    scores: ScoredSet,
) -> dict[str, ListOutcome]:
    """sample_id -> its list or the reason why there is none, before max_lists; in that order."""
    outcomes = load_refused_outcomes(context.store, samples, candidates)
    outcomes |= {
        sample_id: lists.build_list(answers, task_of[sample_id], context.config.lists)
        for sample_id, answers in load_scored_answers(context.store, candidates, scores)
    }
    unscored = sorted(task_of.keys() - outcomes.keys())
    if unscored:
        raise ValueError(
            f"{len(unscored)} of {len(task_of)} train samples have no scores, the first is "
            f"{unscored[0]}; score the candidates again"
        )
    return {sample_id: outcomes[sample_id] for sample_id in task_of}


def load_refused_outcomes(
    store: Store, samples: SampleSet, candidates: CandidateSet
) -> dict[str, ListOutcome]:
    """The outcome of every training sample whose prompt the policy could not take."""
    refusals = load_refusals(store, candidates)
    if not refusals:
        return {}
    rows = pq.read_table(
        store.path(samples, "samples.parquet"),
        columns=["sample_id", "prompt_id"],
        filters=[("split", "==", "train"), ("prompt_id", "in", list(refusals))],
    ).to_pylist()
    return {
        row["sample_id"]: ListOutcome(None, refusal.reason, refusal.detail)
        for row in rows
        for refusal in [refusals[row["prompt_id"]]]
    }


def load_scored_answers(
    store: Store, candidates: CandidateSet, scores: ScoredSet
) -> Iterator[tuple[str, list[Answer]]]:
    """(sample_id, its scored answers), joined by (prompt_id, index) and checked by hash."""
    candidate_table = _read_parts(store, candidates, CANDIDATE_COLUMNS)
    score_table = _read_parts(store, scores, SCORE_COLUMNS)
    # Arrow joins no list columns, so only row numbers are joined and the rows taken afterwards.
    numbers = pa.array(range(candidate_table.num_rows), pa.int64())
    right = candidate_table.select(["prompt_id", "index"]).append_column("row", numbers)
    joined = score_table.join(right, ["prompt_id", "index"], join_type="left outer")
    joined = joined.sort_by([("sample_id", "ascending"), ("index", "ascending")])
    if joined["row"].null_count:
        orphan = joined.filter(pc.is_null(joined["row"])).slice(0, 1).to_pylist()[0]
        raise ValueError(
            f"sample {orphan['sample_id']} has a score for candidate {orphan['index']}, which the "
            "candidate shards lack; score the candidates again"
        )
    sizes = pc.value_counts(joined["sample_id"]).to_pylist()  # in order of first appearance
    start = 0
    for entry in sizes:
        block = joined.slice(start, entry["counts"])
        start += entry["counts"]
        rows = candidate_table.take(block["row"].combine_chunks()).to_pylist()
        pairs = zip(block.to_pylist(), rows, strict=True)
        yield entry["values"], [_build_answer(score, row) for score, row in pairs]


def _read_parts(store: Store, artifact: CandidateSet | ScoredSet, columns: list[str]) -> pa.Table:
    paths = [path for path in store.paths(artifact) if path.suffix == ".parquet"]
    table = pa.concat_tables(pq.read_table(path, columns=columns) for path in paths)
    return table.combine_chunks()  # rows are taken 10 times faster from one chunk than from 22


def _build_answer(score: dict[str, Any], candidate: dict[str, Any]) -> Answer:
    if score["candidate_hash"] != candidate["candidate_hash"]:
        raise ValueError(
            f"the score of sample {score['sample_id']}, candidate {score['index']}, is of another "
            "answer than the candidate shards hold; score the candidates again"
        )
    return Answer(
        index=candidate["index"],
        candidate_hash=candidate["candidate_hash"],
        text=candidate["text"],
        token_ids=candidate["token_ids"],
        reward=score["reward"],
        logp=candidate["logp"],
        finish_reason=candidate["finish_reason"],
        error=score["error"],
    )


def apply_max_lists(
    outcomes: dict[str, ListOutcome], task_of: dict[str, TaskName], max_lists: int | None
) -> dict[str, ListOutcome]:
    """The outcomes with every list beyond the widest max_lists of its task turned into a drop."""
    gaps: dict[TaskName, dict[str, float]] = {}
    for sample_id, outcome in outcomes.items():
        if outcome.ranked is not None:
            gaps.setdefault(task_of[sample_id], {})[sample_id] = outcome.ranked.gap
    chosen = {i for of_task in gaps.values() for i in lists.select_widest(of_task, max_lists)}
    return {
        sample_id: outcome
        if outcome.ranked is None or sample_id in chosen
        else ListOutcome(
            None, lists.OVER_MAX, f"gap {outcome.ranked.gap:.6g}", dropped=outcome.dropped
        )
        for sample_id, outcome in outcomes.items()
    }


def build_preferences(
    store: Store, samples: SampleSet, task_of: dict[str, TaskName], kept: dict[str, RankedList]
) -> pa.Table:
    """One row of PREFERENCES a kept list, in order of sample_id; images are copied as bytes."""
    sample_ids = sorted(kept)
    table = pq.read_table(
        store.path(samples, "samples.parquet"),
        columns=IMAGE_COLUMNS,
        filters=[("sample_id", "in", sample_ids)],
    ).sort_by("sample_id")
    assert table["sample_id"].to_pylist() == sample_ids
    rows = [_build_list_columns(task_of[sample_id], kept[sample_id]) for sample_id in sample_ids]
    made = [field for field in PREFERENCES if field.name not in IMAGE_COLUMNS]
    for name, column in zip(
        [field.name for field in made],
        pa.Table.from_pylist(rows, schema=pa.schema(made)).columns,
        strict=True,
    ):
        table = table.append_column(name, column)
    return table.select(PREFERENCES.names).cast(PREFERENCES)


def _build_list_columns(task: TaskName, ranked: RankedList) -> dict[str, Any]:
    return {
        "task": task,
        "chosen": _as_message(ranked.answers[0].text),
        "rejected": _as_message(ranked.answers[-1].text),
        "responses": [
            {
                "index": answer.index,
                "candidate_hash": answer.candidate_hash,
                "text": answer.text,
                "token_ids": answer.token_ids,
                "reward": answer.reward,
                "rank": rank,
                "logp": answer.logp,
            }
            for answer, rank in zip(ranked.answers, ranked.ranks, strict=True)
        ],
        "reward_gap": ranked.gap,
    }


def _as_message(text: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": [{"type": "text", "text": text}]}]


def build_dropped(outcomes: dict[str, ListOutcome]) -> pa.Table:
    """One row of DROPPED a sample without a list and an answer in no list, in order of id."""
    rows = []
    for sample_id, outcome in outcomes.items():
        if outcome.reason is not None:
            rows.append((sample_id, outcome.reason, outcome.detail))
        for answer in sorted(outcome.dropped, key=lambda answer: answer.index):
            rows.append((f"{sample_id}/{answer.index}", answer.reason, answer.detail))
    return pa.Table.from_pylist(
        [{"stage": "materialize", "id": i, "reason": r, "detail": d} for i, r, d in rows],
        schema=DROPPED,
    )


def _log_drops(
    context: StageContext, task_of: dict[str, TaskName], outcomes: dict[str, ListOutcome]
) -> None:
    """How many samples of each task gave a list, and why others gave none."""
    for task in (task for task in TASKS if task in task_of.values()):
        mine = [outcome for sample_id, outcome in outcomes.items() if task_of[sample_id] == task]
        reasons = lists.count_reasons(o.reason for o in mine if o.reason is not None)
        num_kept = sum(outcome.ranked is not None for outcome in mine)
        context.log(
            f"{'' if num_kept else 'warning: '}{num_kept} of {len(mine)} {task} samples gave a "
            f"list; without one: {_say(reasons)}"
        )
    answers = lists.count_reasons(a.reason for o in outcomes.values() for a in o.dropped)
    context.log(f"answers left out of lists: {_say(answers)}")


def _say(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in counts.items()) or "none"
