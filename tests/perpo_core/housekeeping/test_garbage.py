"""Clean-up: what kept runs rest on stays, the rest goes, and a kill in between harms nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.runs.records import load_records
from perpo_core.housekeeping import Garbage, find_garbage, remove_garbage
from perpo_core.housekeeping.retention import choose_runs
from perpo_core.promotion.pointer import load_promoted, roll_back_to_previous
from perpo_core.store.keys import compute_hash, hash_file, hash_folder
from perpo_core.store.provenance import as_parents
from perpo_core.store.store import ARTIFACT_FILE, KINDS, YOUNG_S, Store
from schemas.artifact import DegradedSet, ReferenceSet
from schemas.base import ALL_STAGES, StageName
from schemas.run import PolicyRef, RunRecord
from tests.flows.toy import install
from tests.perpo_core.round_fixture import GATES, build_round, make, policy_of
from tests.perpo_core.small_store import POLICY_DIGEST, build_context, common_fields
from tests.perpo_core.stores import build_config, find_lost, read_kept, run_toy

LATER_S = YOUNG_S + 3600


@pytest.fixture(autouse=True)
def toy_stages() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        install(patch.setitem)
        yield


def collect_garbage(
    store: Store, keep: int, *forget: str, later_s: float = LATER_S
) -> list[Garbage]:
    """What `perpo gc --delete` removes a while after the last run."""
    garbage = find_garbage(store, *read_kept(store, keep, *forget), time.time() + later_s)
    if garbage:
        remove_garbage(store, garbage)
    return garbage


def build_nights(root: Path, num: int) -> list[RunRecord]:
    """Runs that differ from the lists on."""
    return [run_toy(build_config(root, lists={"list_size": 2 + n}), n) for n in range(num)]


def test_the_last_runs_stay_whole_and_the_others_leave_their_record(tmp_path: Path) -> None:
    store, records = Store(tmp_path), build_nights(tmp_path, 4)
    garbage = collect_garbage(store, keep=2)
    of_two = {"preferences": 2, "checkpoint": 2, "evaluation": 2, "promotion": 2, "reports": 2}
    kinds = [found.kind for found in garbage]
    assert {kind: kinds.count(kind) for kind in kinds} == of_two
    assert all(found.num_bytes > 0 for found in garbage)
    assert [bool(find_lost(record)) for record in records] == [True, True, False, False]
    assert load_records(store) == records
    pages = sorted(path.name for path in (tmp_path / "reports").glob("toy-000/*"))
    assert pages == ["report.json"]
    assert not (tmp_path / ".trash").exists()


runs = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["toy", "other"]),
            "seed": st.integers(0, 1),
            "list_size": st.integers(2, 4),
            "beta": st.sampled_from([0.1, 0.2]),
            "stop_before": st.sampled_from([None, None, None, "train", "promote"]),
            "force_from": st.sampled_from([None, None, "score", "train"]),
            "on_trained": st.booleans(),
        }
    ),
    min_size=1,
    max_size=7,
)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(runs=runs, keep=st.integers(1, 4))
def test_whatever_ran_kept_runs_stay_reusable_and_the_second_time_finds_nothing(
    runs: list[dict[str, Any]], keep: int
) -> None:
    root = Path(tempfile.mkdtemp()) / "store"
    try:
        check_clean_up(root, runs, keep)
    finally:
        shutil.rmtree(root.parent)


def check_clean_up(root: Path, runs: list[dict[str, Any]], keep: int) -> None:
    store, policy = Store(root), None
    for number, run in enumerate(runs):
        config = build_config(
            root,
            run["name"],
            generate={"seed": run["seed"]},
            lists={"list_size": run["list_size"]},
            train={"beta": run["beta"]},
        )
        record = run_toy(config, number, policy if run["on_trained"] else None,
                         run["stop_before"], run["force_from"])  # fmt: skip
        if "train" in record.stages:
            trained = store.load("checkpoint", record.stages["train"].key)
            assert trained is not None
            folder = store.folder("checkpoint", trained.key, trained.attempt)
            policy = PolicyRef(digest=hash_folder(folder), folder=folder)
    records = load_records(store)
    before = {record.run_id: find_lost(record) for record in records}
    kept = choose_runs(records, keep)
    models = {r.run_id: r.policy_folder / "model.parquet" for r in kept}
    started = {run_id: hash_file(path) for run_id, path in models.items() if path.is_file()}
    garbage = find_garbage(store, records, kept, time.time() + LATER_S)
    planned = sum(found.num_bytes for found in garbage)
    size = measure(root)
    collect_garbage(store, keep)
    assert measure(root) == size - planned
    for record in kept:
        assert find_lost(record) == before[record.run_id]
    assert {run_id: hash_file(models[run_id]) for run_id in started} == started
    assert collect_garbage(store, keep) == []
    for kind in KINDS:
        for path in (root / kind).glob(f"*/{ARTIFACT_FILE}"):
            assert store.find(kind, path.parent.name) is not None, "half of an artifact is left"


def measure(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def test_unfinished_runs_since_the_oldest_kept_one_stay_to_be_resumed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    sizes: dict[int, StageName | None] = {0: None, 1: "train", 2: None, 3: "evaluate"}
    records = [
        run_toy(build_config(tmp_path, lists={"list_size": 2 + n}), n, stop_before=stop)
        for n, stop in sizes.items()
    ]
    collect_garbage(store, keep=1)
    assert [bool(find_lost(record)) for record in records] == [True, True, False, False]


def test_names_are_counted_apart(tmp_path: Path) -> None:
    nightly, weekly = (
        [run_toy(build_config(tmp_path, name, lists={"list_size": n + 2 * i}), n)
         for n, i in ((2 + k, 5 * (name == "weekly")) for k in range(3))]
        for name in ("nightly", "weekly")
    )  # fmt: skip
    kept = choose_runs(load_records(Store(tmp_path)), 2)
    assert kept == sorted([*nightly[1:], *weekly[1:]], key=lambda r: (r.started_at, r.run_id))


def test_of_a_forgotten_name_no_run_is_kept_and_all_records_are(tmp_path: Path) -> None:
    store = Store(tmp_path)
    names = ["evidence-dpo-0", "evidence-sft-0", "nightly"]
    records = [
        run_toy(build_config(tmp_path, name, lists={"list_size": 2 + n}), n)
        for n, name in enumerate(names)
    ]
    assert collect_garbage(store, 1) == []
    collect_garbage(store, 1, "evidence-*")
    assert [bool(find_lost(record)) for record in records] == [True, True, False]
    assert load_records(store) == records


def test_tables_of_lists_live_as_long_as_their_lists(tmp_path: Path) -> None:
    store, records = Store(tmp_path), build_nights(tmp_path, 2)
    for record in records:
        lists = store.load("preferences", record.stages["materialize"].key)
        assert lists is not None
        fields = common_fields("train", "references", 1, []) | {
            "key": compute_hash(["table", record.run_id]), "parents": as_parents(lists),
        }  # fmt: skip
        store.commit(ReferenceSet(**fields, policy_digest="b" * 64, crops=False))
        store.commit(DegradedSet(**fields))
    gone = [(found.kind, found.what) for found in collect_garbage(store, keep=1)]
    for kind in ("references", "degraded"):
        assert [what for each, what in gone if each == kind] == [
            compute_hash(["table", "toy-000"])[:12]
        ]


def test_what_no_run_names_stays_a_day(tmp_path: Path) -> None:
    """A killed run's held-out answers and half-made shards, which no record knows yet."""
    store = Store(tmp_path)
    build_nights(tmp_path, 1)
    workspace = store.open_workspace("candidates", "c" * 64)
    (workspace.folder / "part-00000.parquet").write_bytes(b"half")
    assert collect_garbage(store, keep=1, later_s=0) == []
    assert [found.what for found in collect_garbage(store, keep=1)] == ["c" * 12]


def test_old_attempts_go_and_an_unfinished_new_one_stays_a_day(tmp_path: Path) -> None:
    store = Store(tmp_path)
    config = build_config(tmp_path)
    first = run_toy(config, 0)
    for number in (1, 2):
        last = run_toy(config, number, force_from="train")
    key = last.stages["train"].key
    (store.folder("checkpoint", key, 3)).mkdir()
    gone = [g.what for g in collect_garbage(store, 5, later_s=0) if g.kind == "checkpoint"]
    assert gone == [f"{key[:12]}, attempt 0", f"{key[:12]}, attempt 1"]
    assert find_lost(last) == [] and first.stages["train"].key == key
    assert [g.what for g in collect_garbage(store, 5)] == [f"{key[:12]}, attempt 3"]


def test_the_policy_a_kept_run_started_from_stays_without_what_it_was_made_of(
    tmp_path: Path,
) -> None:
    store, (first,) = Store(tmp_path), build_nights(tmp_path, 1)
    folder = store.folder("checkpoint", first.stages["train"].key)
    policy = PolicyRef(digest=hash_folder(folder), folder=folder)
    run_toy(build_config(tmp_path, generate={"seed": 5}), 1, policy)
    gone = {found.kind for found in collect_garbage(store, keep=1)}
    assert gone == {"candidates", "scores", "preferences", "evaluation", "promotion", "reports"}


def test_profiles_go_with_the_pages_of_their_run(tmp_path: Path) -> None:
    store, records = Store(tmp_path), build_nights(tmp_path, 3)
    for record in records:
        folder = tmp_path / "profiles" / record.run_id / "generate"
        folder.mkdir(parents=True)
        (folder / "engine-0.pt.trace.json.gz").write_bytes(b"trace")
    gone = [found.what for found in collect_garbage(store, keep=1) if found.kind == "profiles"]
    assert gone == [record.run_id for record in records[:2]]
    assert [path.name for path in (tmp_path / "profiles").iterdir()] == [records[2].run_id]


def test_the_promoted_policy_and_the_one_before_it_stay(tmp_path: Path) -> None:
    context = build_context(tmp_path, promote=GATES)
    before = POLICY_DIGEST
    for name in ("first", "second", "third"):
        make(context, *build_round(context, name, base_policy=before))
        before = policy_of(name)
    store = context.store
    garbage = collect_garbage(store, keep=1)
    assert [found.kind for found in garbage].count("checkpoint") == 1
    current = load_promoted(store)
    assert current is not None and (store.root / str(current.folder)).is_dir()
    previous = roll_back_to_previous(store)
    assert (store.root / str(previous.folder)).is_dir()


def test_curves_go_with_their_checkpoint(tmp_path: Path) -> None:
    store, records = Store(tmp_path), build_nights(tmp_path, 2)
    for record in records:
        (tmp_path / "tensorboard" / f"toy-{record.stages['train'].key[:12]}").mkdir(parents=True)
    gone = [found.what for found in collect_garbage(store, 1) if found.kind == "tensorboard"]
    assert gone == [f"toy-{records[0].stages['train'].key[:12]}"]


@pytest.mark.parametrize("after", range(0, 12, 2))
def test_a_kill_leaves_no_half_artifact_and_the_next_time_ends_it(
    tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, records = Store(tmp_path), build_nights(tmp_path, 2)
    garbage = find_garbage(store, records, choose_runs(records, 1), time.time() + LATER_S)
    calls: list[Any] = []

    def die(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) > after:
            raise KeyboardInterrupt
        return unlink(*arguments, **options)

    unlink = os.unlink
    monkeypatch.setattr(os, "unlink", die)
    with pytest.raises(KeyboardInterrupt):
        remove_garbage(store, garbage)
    monkeypatch.undo()
    install(monkeypatch.setitem)
    for kind in KINDS:
        for path in (tmp_path / kind).glob(f"*/{ARTIFACT_FILE}"):
            assert store.find(kind, path.parent.name) is not None
    assert find_lost(records[1]) == []
    assert {found.kind for found in collect_garbage(store, 1)} >= {"trash"}
    assert collect_garbage(store, 1) == [] and not (tmp_path / ".trash").exists()


def test_an_empty_store_has_nothing_to_remove(tmp_path: Path) -> None:
    assert collect_garbage(Store(tmp_path / "store"), keep=1) == []
    assert len(KINDS) == len(ALL_STAGES) + 4  # and references, degraded, benchmarks, drift
