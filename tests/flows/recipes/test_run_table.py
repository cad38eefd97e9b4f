"""The table on a run's page: what it used, what it made, and what was forced."""

from __future__ import annotations

from typing import Any

import pytest

from perpo_core.store.store import Store
from schemas.base import STAGES
from schemas.config import RefreshConfig
from tasks.run_table import describe_run
from tests.perpo_core.stores import run_toy


def read_rows(table: str) -> dict[str, list[str]]:
    rows = [line.strip("| ").split("|") for line in table.splitlines() if line.startswith("| ")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in rows}


def test_every_stage_says_whether_it_was_made_or_reused(toy_config: RefreshConfig) -> None:
    run_toy(toy_config, 1)
    again = toy_config.model_copy(
        update={"train": toy_config.train.model_copy(update={"beta": 0.2})}
    )
    record = run_toy(again, 2)
    table = describe_run(Store(toy_config.store), record, "http://127.0.0.1:1/page")
    rows = read_rows(table)
    assert [rows[stage][0] for stage in STAGES] == ["reused"] * 4 + ["**made**"] * 3
    entry = record.stages["train"]
    assert rows["train"][1:4] == ["checkpoint", f"`{entry.digest[:12]}`", f"`{entry.key[:12]}`"]
    assert rows["train"][4] == "11 of 12"
    assert table.startswith("[Report of toy-002](http://127.0.0.1:1/page)")
    view = describe_run(Store(toy_config.store), record, None, "http://127.0.0.1:1/rows")
    assert view.startswith("[Its lists, samples and answers](http://127.0.0.1:1/rows)")


def test_a_run_that_stopped_says_why_and_what_did_not_run(toy_config: RefreshConfig) -> None:
    record = run_toy(toy_config, 1, stop_before="train")
    table = describe_run(Store(toy_config.store), record, None)
    assert table.startswith("stopped") and "Report" not in table
    assert read_rows(table)["train"][0] == "not run"


def test_a_stage_that_only_some_runs_have_has_its_row_in_those(toy_config: RefreshConfig) -> None:
    train = toy_config.train.model_copy(update={"objective": "tis_dpo"})
    weighs = toy_config.model_copy(update={"train": train})
    store = Store(toy_config.store)
    for config, has_contrast in ((toy_config, False), (weighs, True)):
        record = run_toy(toy_config, 1, stop_before="train").model_copy(update={"config": config})
        assert ("contrast" in read_rows(describe_run(store, record, None))) == has_contrast


def test_what_a_model_or_a_file_said_is_text_and_no_markup(toy_config: RefreshConfig) -> None:
    record = run_toy(toy_config, 1, stop_before="train")
    said = record.model_copy(update={"error": "row 3: answer <img src=x onerror=alert(1)> [a](b)"})
    table = describe_run(Store(toy_config.store), said, None)
    assert table.startswith("row 3\\: answer \\<img src=x onerror=alert(1)\\> \\[a\\](b)")


@pytest.mark.usefixtures("prefect_server")
def test_forced_stages_are_called_so_in_the_ui(toy_config: RefreshConfig) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        ArtifactFilter,
        ArtifactFilterFlowRunId,
        FlowRunFilter,
        FlowRunFilterId,
    )

    from flows.recipes.refresh import refresh

    refresh(toy_config)
    record = refresh(toy_config, force_from="evaluate")
    assert [s for s, entry in record.stages.items() if entry.forced] == ["evaluate", "promote"]
    run: Any = record.flow_run_id
    with get_client(sync_client=True) as client:
        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])))
        artifacts = client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
        )
    forced = sorted(task.name.split()[0] for task in tasks if task.name.endswith(" (forced)"))
    assert forced == ["evaluate", "promote"]
    (table,) = [artifact.data for artifact in artifacts if artifact.key == "perpo-run"]
    rows = read_rows(str(table))
    assert [rows[stage][0] for stage in ("train", "evaluate", "promote")] == [
        "reused", "**forced**", "**forced**",
    ]  # fmt: skip
