"""The flows on toy stages: reuse, resumption, forced remakes, the record, the lock."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from flows.runs.records import load_record, load_records
from perpo_core.process.parent import ChildFailed
from perpo_core.store.locks import is_locked, lock_name
from perpo_core.store.store import Store
from schemas.base import ALL_STAGES, STAGES, StageName
from schemas.config import RefreshConfig
from schemas.run import RunRecord
from tasks.watch import Watcher, watched_by
from tests.flows.toy import write_policy
from tests.perpo_core.store.disks import small_disk

pytestmark = pytest.mark.usefixtures("prefect_server")


def refresh(config: RefreshConfig, **options: Any) -> RunRecord:
    from flows.recipes.refresh import refresh as flow

    return flow(config, **options)


def rerun(config: RefreshConfig, run: str, from_stage: StageName, **options: Any) -> RunRecord:
    from flows.recipes.refresh import rerun as flow

    record: RunRecord = flow(run, from_stage, store=str(config.store), **options)
    return record


def made(record: RunRecord) -> list[str]:
    """The stages that ran, in order."""
    return [stage for stage, entry in record.stages.items() if not entry.reused]


def wish(config: RefreshConfig, stage: StageName, how: str) -> Path:
    path = Path(config.store).parent / f"break-{stage}"
    path.write_text(how)
    return path


def change(config: RefreshConfig, section: str, **values: Any) -> RefreshConfig:
    part = getattr(config, section).model_copy(update=values)
    return config.model_copy(update={section: part})


def test_the_same_again_reuses_everything_and_another_beta_only_trains(
    toy_config: RefreshConfig,
) -> None:
    first, again = refresh(toy_config), refresh(toy_config)
    assert made(first) == list(STAGES)
    assert made(again) == []
    assert {s: e.digest for s, e in first.stages.items()} == {
        s: e.digest for s, e in again.stages.items()
    }
    other = refresh(change(toy_config, "train", beta=0.2))
    assert made(other) == ["train", "evaluate", "promote"]
    assert first.report is not None and (toy_config.store / first.report).is_file()
    assert (toy_config.store / first.report).with_name("report.json").is_file()


def test_tokens_are_contrasted_where_the_objective_weighs_them(toy_config: RefreshConfig) -> None:
    """And not again where only the training changes."""
    weighing = change(toy_config, "train", objective="tis_dpo")
    assert made(refresh(weighing)) == list(ALL_STAGES)
    assert made(refresh(weighing)) == []
    assert made(refresh(change(weighing, "train", beta=0.2))) == ["train", "evaluate", "promote"]
    other = refresh(change(weighing, "contrast", beta=0.2))
    assert made(other) == ["contrast", "train", "evaluate", "promote"]
    again = rerun(weighing, "latest", "contrast", only=True, force=True)
    assert made(again) == ["contrast"]


def test_a_run_without_a_stage_says_so(toy_config: RefreshConfig) -> None:
    refresh(toy_config)
    with pytest.raises(ValueError, match=r"has no contrast, since train\.objective = perpo"):
        rerun(toy_config, "latest", "contrast")


def test_profiles_lie_beside_the_run_and_change_nothing_of_it(toy_config: RefreshConfig) -> None:
    first = refresh(toy_config)
    elsewhere = toy_config.model_copy(update={"store": Path(toy_config.store).parent / "other"})
    profiled = refresh(elsewhere, profile=True)
    folder = Path(elsewhere.store) / "profiles" / profiled.run_id
    made_stages = {path.parent.name for path in folder.glob("*/toy.pt.trace.json")}
    assert made_stages >= {"collect", "generate", "train", "evaluate"}
    assert profiled.config == elsewhere
    assert {s: (e.key, e.digest) for s, e in first.stages.items()} == {
        s: (e.key, e.digest) for s, e in profiled.stages.items()
    }
    again = refresh(elsewhere, profile=True)
    assert made(again) == [] and not folder.with_name(again.run_id).exists()
    only = rerun(elsewhere, again.run_id, "train", only=True, force=True, profile=True)
    assert [path.name for path in folder.with_name(only.run_id).iterdir()] == ["train"]


def test_reused_stages_show_as_cached_and_have_readable_names(toy_config: RefreshConfig) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    refresh(toy_config)
    record = refresh(toy_config)
    assert record.flow_run_id is not None
    names: set[str] = set()
    deadline_s = time.monotonic() + 20  # the server learns of task runs by events, a moment later
    with get_client(sync_client=True) as client:
        only_this = FlowRunFilter(id=FlowRunFilterId(any_=[record.flow_run_id]))
        while len(names) < len(STAGES) and time.monotonic() < deadline_s:
            runs = client.read_task_runs(flow_run_filter=only_this)
            names = {run.name for run in runs if run.state_name == "Cached"}
            time.sleep(0.1)
    assert "generate 12 prompts x 16" in names
    assert len(names) == len(STAGES), "no range tasks where the scores are reused"


def test_a_failed_run_is_recorded_and_the_rerun_makes_only_the_rest(
    toy_config: RefreshConfig,
) -> None:
    broken = wish(toy_config, "materialize", "input")
    with pytest.raises(ValueError, match="toy materialize was told to fail"):
        refresh(toy_config)
    store = Store(toy_config.store)
    failed = load_record(store, "latest")
    assert failed.status == "failed" and failed.ended_at is not None
    assert failed.error is not None and "told to fail" in failed.error
    assert made(failed) == ["collect", "generate", "score"]
    with pytest.raises(ValueError, match="has no materialize yet; rerun from materialize"):
        rerun(toy_config, "latest", "train")
    broken.unlink()
    resumed = rerun(toy_config, failed.run_id, "materialize")
    assert made(resumed) == ["materialize", "train", "evaluate", "promote"]
    assert resumed.status == "completed"


def test_rerun_force_makes_the_stage_and_what_follows_anew(toy_config: RefreshConfig) -> None:
    first = refresh(toy_config)
    again = rerun(toy_config, "latest", "score", force=True)
    assert made(again) == list(STAGES[STAGES.index("score") :])
    entry = again.stages["score"]
    artifact = Store(toy_config.store).load(entry.kind, entry.key)
    assert artifact is not None and artifact.attempt == 1
    assert again.stages["collect"].digest == first.stages["collect"].digest


def test_rerun_only_leaves_what_follows_out(toy_config: RefreshConfig) -> None:
    refresh(toy_config)
    record = rerun(toy_config, "latest", "score", only=True, force=True)
    assert list(record.stages) == ["collect", "generate", "score"]
    assert made(record) == ["score"]
    assert record.status == "completed"


def test_force_from_makes_a_stage_of_a_refresh_anew(toy_config: RefreshConfig) -> None:
    refresh(toy_config)
    assert made(refresh(toy_config, force_from="evaluate")) == ["evaluate", "promote"]


def test_a_stage_has_a_flow_of_its_own(toy_config: RefreshConfig) -> None:
    from flows.recipes.stages import STAGE_FLOWS

    refresh(toy_config)
    flow: Any = STAGE_FLOWS["train"]
    record = flow("latest", True, toy_config.store)
    assert made(record) == ["train"]
    assert list(STAGE_FLOWS) == list(ALL_STAGES)


def test_a_damaged_file_is_remade_by_a_refresh_and_refused_by_a_rerun(
    toy_config: RefreshConfig,
) -> None:
    first = refresh(toy_config)
    store = Store(toy_config.store)
    entry = first.stages["score"]
    artifact = store.load(entry.kind, entry.key)
    assert artifact is not None
    store.path(artifact, "part-00002.parquet").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"part-00002.parquet is damaged; rerun from score"):
        rerun(toy_config, "latest", "train")
    assert made(refresh(toy_config)) == ["score"], "the remake is identical, so the rest stands"


def test_a_changed_policy_is_refused_by_a_rerun(toy_config: RefreshConfig) -> None:
    refresh(toy_config)
    write_policy(Path(toy_config.policy.model), weight=1.0)
    with pytest.raises(ValueError, match=r"the policy of run .* is no longer in"):
        rerun(toy_config, "latest", "generate")


def test_a_broken_engine_is_retried_and_bad_input_is_not(
    toy_config: RefreshConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.stages import STAGE_TASKS

    task = STAGE_TASKS["generate"].with_options(retry_delay_seconds=0)
    monkeypatch.setitem(STAGE_TASKS, "generate", task)
    once = wish(toy_config, "generate", "once")
    assert refresh(toy_config).status == "completed"
    assert not once.exists()
    wish(toy_config, "train", "input")
    with pytest.raises(ValueError, match="toy train"):
        refresh(toy_config, force_from="train")


def test_a_lasting_break_of_an_engine_ends_the_run(
    toy_config: RefreshConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.stages import STAGE_TASKS

    task = STAGE_TASKS["train"].with_options(retry_delay_seconds=0)
    monkeypatch.setitem(STAGE_TASKS, "train", task)
    wish(toy_config, "train", "child")
    with pytest.raises(ChildFailed, match="toy train"):
        refresh(toy_config)
    assert load_record(Store(toy_config.store), "latest").status == "failed"


def test_an_interrupted_run_is_recorded_and_resumes(toy_config: RefreshConfig) -> None:
    from prefect.exceptions import CancelledRun

    wanted = wish(toy_config, "evaluate", "interrupt")
    with pytest.raises(CancelledRun, match="interrupted"):
        refresh(toy_config)
    store = Store(toy_config.store)
    assert "interrupted" in (load_record(store, "latest").error or "")
    assert not is_locked(store, "toy")
    wanted.unlink()
    assert made(refresh(toy_config)) == ["evaluate", "promote"]


def test_a_second_run_of_the_same_name_is_refused(toy_config: RefreshConfig) -> None:
    store = Store(toy_config.store)
    with lock_name(store, "toy"):
        assert is_locked(store, "toy")
        with pytest.raises(ValueError, match=r"a run of 'toy' is going on .*process \d+"):
            refresh(toy_config)
        other = refresh(toy_config.model_copy(update={"name": "another"}))
    assert other.status == "completed"
    assert [record.config.name for record in load_records(store)] == ["another"]


def test_what_the_doctor_finds_keeps_a_run_from_starting(toy_config: RefreshConfig) -> None:
    huge = toy_config.model_copy(update={"min_free_disk_gb": 1e6})
    with pytest.raises(ValueError, match="GB free"):
        refresh(huge)
    assert load_records(Store(toy_config.store)) == []


def test_no_stage_begins_on_a_disk_that_has_become_too_full(toy_config: RefreshConfig) -> None:
    megabyte, folder = 1 << 20, Path(toy_config.store)

    class Filler(Watcher):
        def finish(self, stage: StageName, *told: object) -> None:
            if stage == "collect":
                (folder / "ballast").write_bytes(bytes(7 * megabyte))

    config = toy_config.model_copy(update={"min_free_disk_gb": 2e-3})
    with small_disk(folder, 8 * megabyte):
        with watched_by(Filler()), pytest.raises(ValueError, match="make room or change store"):
            refresh(config)
        assert load_record(Store(config.store), "latest").status == "failed"
        (folder / "ballast").unlink()
        assert made(refresh(config))[:2] == ["generate", "score"]
