"""The report shows what each token of some answers weighs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perpo_core.policy.builtin_folder import BUILTIN_FOLDER
from perpo_core.report import write_report
from perpo_core.report.token_weights import MAX_TOKENS, load_weighed_lists
from perpo_core.store.keys import compute_digest, compute_hash
from perpo_core.store.provenance import as_parents
from perpo_core.store.store import Store
from schemas.arrow import TOKEN_VALUES
from schemas.artifact import ContrastSet
from schemas.run import RunRecord, StageRecord
from schemas.train_config import TrainConfig
from tests.perpo_core.report.html_page import Page
from tests.perpo_core.report.report_fixture import POLICY, build_run
from tests.perpo_core.small_store import common_fields

TIS = {"objective": "tis_dpo", "tis_low": -0.5, "tis_high": 1.5, "tis_scale": 2.0}


@pytest.fixture(scope="module")
def weighed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, RunRecord]:
    """A run whose contrast says of token t of every answer (t - 3) / 2 nats."""
    store, run = build_run(tmp_path_factory.mktemp("run"), 6, 6, train=TrainConfig(**TIS))
    entry = run.stages["materialize"]
    preferences: Any = store.load(entry.kind, entry.key)
    workspace = store.open_workspace("contrast", compute_hash("contrast"))
    files = []
    for path in store.paths(preferences):
        rows = pq.read_table(path).to_pylist()
        values = [[say(len(each["token_ids"])) for each in row["responses"]] for row in rows]
        ids = [row["sample_id"] for row in rows]
        table = pa.table({"sample_id": ids, "values": values}, schema=TOKEN_VALUES)
        files.append(workspace.write_table(path.name, table))
    fields = common_fields("contrast", "contrast", 1, files) | {"key": workspace.key}
    fields |= {"digest": compute_digest(files), "parents": as_parents(preferences)}
    made = store.commit(ContrastSet(**fields, by="dpo", policy_digest=POLICY))
    record = StageRecord(kind="contrast", key=made.key, digest=made.digest, reused=False, seconds=1)
    return store, run.model_copy(update={"stages": {**run.stages, "contrast": record}})


def say(num_tokens: int) -> list[float]:
    return [(t - 3) / 2 for t in range(num_tokens)]


def test_weights_are_those_that_are_trained_on(weighed: Any) -> None:
    store, run = weighed
    lists, contrasts = (
        store.paths(store.load(run.stages[stage].kind, run.stages[stage].key))
        for stage in ("materialize", "contrast")
    )
    found = load_weighed_lists(lists, contrasts, BUILTIN_FOLDER, run.config.train)
    assert len({each.task for each in found}) > 1, "the tasks take turns"
    for each in found:
        best, worst = each.answers
        assert (best.role, worst.role) == ("best", "worst") and best.reward > worst.reward
        for answer, sign, most in ((best, 1, 1.5), (worst, -1, 0.5)):
            assert len(answer.tokens) <= MAX_TOKENS
            for t, token in enumerate(answer.tokens):
                exponent = sign * min(max((t - 3) / 2, -0.5), 1.5)
                assert token.weight == pytest.approx(2 * math.exp(exponent))
                assert token.heat == round(100 * max(exponent, 0.0) / most)
                assert token.is_light == (exponent < 0)


def test_without_a_tokenizer_tokens_are_numbers(weighed: Any, tmp_path: Path) -> None:
    store, run = weighed
    lists, contrasts = (
        store.paths(store.load(run.stages[stage].kind, run.stages[stage].key))
        for stage in ("materialize", "contrast")
    )
    [first, *_] = load_weighed_lists(lists, contrasts, tmp_path, run.config.train)
    assert all(token.text.startswith("#") for token in first.answers[0].tokens)


def test_the_page_shows_them_in_colour_and_number(weighed: Any) -> None:
    store, run = weighed
    page = Page(write_report(store, run).read_text())
    assert "Which tokens tell good from bad" in page.text
    assert f"{2 * math.exp(1.5):.1f}" in page.text


def test_a_page_of_another_objective_has_no_such_section(tmp_path: Path) -> None:
    page = write_report(*build_run(tmp_path, 4, 4)).read_text()
    assert 'id="tokens"' not in page
