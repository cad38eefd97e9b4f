"""Which questions and pairs are drawn: by seed and content, whatever lies where in the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perpo_core.judge_tuning.documents import Document, load_documents
from perpo_core.stages.outside.order import choose_pairs
from perpo_core.stages.stage import StageContext
from perpo_core.store.keys import compute_sample_id
from schemas.judge_tuning import JudgeTuning
from tests.perpo_core.small_store import (
    build_candidate_rows,
    build_context,
    build_sample_row,
    commit_candidates,
    commit_samples,
)

ANSWERS = [str(number) for number in range(12)]
SETTINGS = JudgeTuning(documents=3, check_documents=4, pairs=5)


def commit(context: StageContext, rows: list[dict[str, Any]], name: str = "key") -> str:
    """Two shards of answers; the key of the candidates."""
    samples = commit_samples(context.store, rows, name)
    prompt_ids = list(dict.fromkeys(row["prompt_id"] for row in rows))
    shards = [
        [line for each in part for line in build_candidate_rows(each, ANSWERS)]
        for part in (prompt_ids[::2], prompt_ids[1::2])
    ]
    return commit_candidates(context.store, samples, shards, name).key


def draw(context: StageContext, seed: int = 0, comparisons: int = 4) -> list[Document]:
    settings = SETTINGS.model_copy(update={"seed": seed})
    found = load_documents(context, "counting", settings, comparisons)
    return [*found.tuning, *found.check]


def describe(documents: list[Document]) -> list[Any]:
    return [(each.sample_id, list(each.pairs)) for each in documents]


def build_rows(num: int = 20) -> list[dict[str, Any]]:
    return [build_sample_row(number, "counting", 4) for number in range(num)]


def test_rows_in_another_order_give_the_same_documents(tmp_path: Path) -> None:
    one, other = build_context(tmp_path / "one"), build_context(tmp_path / "other")
    commit(one, build_rows())
    commit(other, build_rows()[::-1])
    assert describe(draw(one)) == describe(draw(other)) != describe(draw(one, seed=1))
    assert len(draw(one)) == 7


def test_pairs_are_of_those_that_scoring_compares(tmp_path: Path) -> None:
    context = build_context(tmp_path)
    commit(context, build_rows())
    for document in draw(context):
        assert len(document.pairs) == 5 and set(document.pairs) <= set(choose_pairs(ANSWERS, 4))
        assert document.items.keys() == {text for pair in document.pairs for text in pair}
        assert all(item.text == text for text, item in document.items.items())
    kinds = {tuple(document.pairs) for document in draw(context)}
    assert len(kinds) > 1, "not the same pairs everywhere"


def test_a_prompt_counts_once_and_equal_answers_are_no_pair(tmp_path: Path) -> None:
    """Two truths of each prompt; and one prompt that is always answered alike."""
    rows = build_rows(3)
    for row in build_rows(3):
        target = row["target"] | {"count": 5}
        rows.append(row | {"target": target,
                           "sample_id": compute_sample_id(row["prompt_id"], target)})  # fmt: skip
    alike = build_sample_row(50, "counting", 4)
    context = build_context(tmp_path)
    samples = commit_samples(context.store, [*rows, alike])
    shards = [build_candidate_rows(row["prompt_id"], ANSWERS) for row in rows[:3]]
    shards.append(build_candidate_rows(alike["prompt_id"], ["4", "4"]))
    commit_candidates(context.store, samples, shards)
    found = draw(context)
    assert len(found) == 3 and len({each.image_id for each in found}) == 3
    assert alike["sample_id"] not in {each.sample_id for each in found}


def test_other_tasks_are_no_documents_of_this_one(tmp_path: Path) -> None:
    context = build_context(tmp_path)
    commit(context, [build_sample_row(n, "ocr", "4") for n in range(5)])
    with pytest.raises(ValueError, match="no question of counting"):
        draw(context)


def test_damaged_answers_are_said_and_older_ones_taken(tmp_path: Path) -> None:
    logged: list[str] = []
    context = build_context(tmp_path)
    context = StageContext(context.store, context.config, context.policy, log=logged.append)
    older = commit(context, build_rows(), "older")
    newer = commit(context, build_rows(), "newer")
    assert load_documents(context, "counting", SETTINGS, 4).candidates_key == newer
    (context.store.root / "candidates" / newer / "part-00000.parquet").write_bytes(b"no")
    assert load_documents(context, "counting", SETTINGS, 4).candidates_key == older
    assert "is damaged" in logged[0]
