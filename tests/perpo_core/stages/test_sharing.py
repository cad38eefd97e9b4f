"""A night that adds a little writes a little: files of earlier artifacts are shared as they lie."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from perpo_core.housekeeping import find_garbage, remove_garbage
from perpo_core.housekeeping.retention import choose_runs
from perpo_core.stages import collect, generate, materialize, score
from perpo_core.stages.collect.sources import jsonl_images, rows_source
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.store import packs
from perpo_core.store.packs import PREFIX, Images
from perpo_core.store.store import YOUNG_S, Store
from schemas.artifact import AnyArtifact, PreferenceSet, SampleSet
from schemas.run import PolicyRef, RunRecord, StageRecord
from tests.perpo_core.cases import encode_noise, make_row, write_source
from tests.perpo_core.small_store import POLICY_DIGEST, build_context, read_rows
from tests.s3 import Machines

NUM_PHOTOS = 24
GENERATE = {"num_candidates": 4, "shard_prompts": 4, "processes": 1}
LISTS = {"min_gap": {"counting": 0.0}}
LATER_S = YOUNG_S + 3600
pytestmark = pytest.mark.usefixtures("asked")


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five photos a pack."""
    monkeypatch.setattr(packs, "PACK_BYTES", 5 * len(encode_noise(0)))
    monkeypatch.setattr(packs, "GROUP_BYTES", len(encode_noise(0)))


def build_night(root: Path, num_photos: int, **settings: Any) -> StageContext:
    """A source of so many photos, a question about each."""
    rows = [
        make_row(
            task="counting", image=f"images/{n}.png", prompt="How many?", answer=n % 3, box=None,
            box_format=None, split="train",
        )
        for n in range(num_photos)
    ]  # fmt: skip
    source = write_source(root / "data", rows, num_photos, **settings)
    context = build_context(root, source=source.model_dump(), generate=GENERATE, lists=LISTS)
    return replace(context, policy=PolicyRef(digest=POLICY_DIGEST, folder=root))


def refresh(context: StageContext) -> list[AnyArtifact]:
    """Samples, candidates, scores and lists."""
    samples = find_or_make(context, collect).artifact
    candidates = find_or_make(context, generate, samples).artifact
    scores = find_or_make(context, score, samples, candidates).artifact
    lists = find_or_make(context, materialize, samples, candidates, scores).artifact
    return [samples, candidates, scores, lists]


def list_files(store: Store) -> dict[Path, int]:
    return {path: path.stat().st_size for path in store.root.rglob("*.parquet") if path.is_file()}


def count_looks(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every image file that is opened from now on."""
    real, opened = jsonl_images.load_for_store, list[Path]()

    def load(path: Path, *rest: Any) -> Any:
        opened.append(path)
        return real(path, *rest)

    monkeypatch.setattr(rows_source, "load_for_store", load)
    return opened


def test_one_photo_more_writes_little_and_gives_what_a_fresh_store_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = build_night(tmp_path, NUM_PHOTOS)
    refresh(context)
    before = list_files(context.store)
    opened = count_looks(monkeypatch)
    made = refresh(build_night(tmp_path, NUM_PHOTOS + 1))
    assert [path.name for path in opened] == [f"{NUM_PHOTOS}.png"]
    new = list_files(context.store).keys() - before.keys()
    names = sorted(f"{path.parent.parent.name}/{path.name}" for path in new)
    assert [name for name in names if PREFIX not in name] == [
        "candidates/part-00006.parquet",
        "preferences/dropped-00006.parquet", "preferences/part-00006.parquet",
        "samples/dropped.parquet", "samples/part-00000.parquet",
        "scores/part-00006.parquet",
    ]  # fmt: skip
    assert len([name for name in names if PREFIX in name]) == 1
    for artifact in made[1:]:
        shared = [file for file in artifact.files if file.home is not None]
        assert len(shared) == 6 * (2 if artifact.kind == "preferences" else 1)
    fresh = refresh(build_night(tmp_path / "fresh", NUM_PHOTOS + 1))
    assert [each.digest for each in made] == [each.digest for each in fresh]
    assert [f.path for f in made[1].files] == [f.path for f in fresh[1].files]


def test_every_image_is_there_whatever_pack_it_lies_in(tmp_path: Path) -> None:
    context = build_night(tmp_path, NUM_PHOTOS)
    find_or_make(context, collect)
    grown = build_night(tmp_path, NUM_PHOTOS + 7)
    samples = find_or_make(grown, collect).artifact
    images = Images(context.store.paths(samples, PREFIX))
    found = [images.read(row["images"][0]) for row in read_rows(context.store, samples)]
    assert found == [encode_noise(number) for number in range(NUM_PHOTOS + 7)]
    assert len(context.store.paths(samples, PREFIX)) == 5 + 2


def test_other_settings_for_images_share_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_or_make(build_night(tmp_path, NUM_PHOTOS), collect)
    opened = count_looks(monkeypatch)
    samples = find_or_make(build_night(tmp_path, NUM_PHOTOS, max_image_side=16), collect).artifact
    assert len(opened) == NUM_PHOTOS
    assert not any(file.home for file in samples.files)


def test_a_damaged_pack_is_not_shared_and_its_files_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    context = build_night(tmp_path, NUM_PHOTOS)
    samples = find_or_make(context, collect).artifact
    victim = context.store.paths(samples, PREFIX)[1]
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    opened = count_looks(monkeypatch)
    grown = replace(build_night(tmp_path, NUM_PHOTOS + 1), log=said.append)
    samples = find_or_make(grown, collect).artifact
    assert len(opened) == 5 + 1
    assert any("is damaged; nothing is taken from it" in line for line in said)
    assert context.store.find("samples", samples.key) == samples


def test_a_collecting_that_was_killed_does_not_read_again_what_it_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = jsonl_images.load_for_store

    def die_at_the_17th(path: Path, *rest: Any) -> Any:
        if path.name == "16.png":
            raise KeyboardInterrupt
        return real(path, *rest)

    context = build_night(tmp_path, NUM_PHOTOS)
    with monkeypatch.context() as patch:
        patch.setattr(rows_source, "load_for_store", die_at_the_17th)
        with pytest.raises(KeyboardInterrupt):
            find_or_make(context, collect)
    opened = count_looks(monkeypatch)
    samples = find_or_make(context, collect).artifact
    assert len(opened) == NUM_PHOTOS - 15, "three packs of five were finished"
    fresh = find_or_make(build_night(tmp_path / "fresh", NUM_PHOTOS), collect).artifact
    assert samples.digest == fresh.digest
    opened.clear()
    find_or_make(build_night(tmp_path, NUM_PHOTOS + 1), collect)
    assert len(opened) == 1


def test_only_what_keeps_the_widest_gaps_is_made_again(tmp_path: Path) -> None:
    """Where lists are limited in number, a new one may push out an old one anywhere."""
    context = build_night(tmp_path, NUM_PHOTOS)
    lists = context.config.lists.model_copy(update={"max_lists": 5})
    context = replace(context, config=context.config.model_copy(update={"lists": lists}))
    made = refresh(context)[-1]
    assert isinstance(made, PreferenceSet) and made.counts.num_kept == 5
    grown = build_night(tmp_path, NUM_PHOTOS + 9)
    grown = replace(grown, config=grown.config.model_copy(update={"lists": lists}))
    again = refresh(grown)[-1]
    straight = build_night(tmp_path / "fresh", NUM_PHOTOS + 9)
    straight = replace(straight, config=straight.config.model_copy(update={"lists": lists}))
    assert again.digest == refresh(straight)[-1].digest


# Clean-up


def record(context: StageContext, made: list[AnyArtifact], number: int) -> RunRecord:
    started_at = datetime(2025, 3, 1, tzinfo=UTC) + timedelta(days=number)
    return RunRecord(
        run_id=f"night-{number}", status="completed", config=context.config,
        policy_digest=context.policy.digest, policy_folder=context.policy.folder,
        started_at=started_at, ended_at=started_at,
        stages={
            each.stage: StageRecord(
                kind=each.kind, key=each.key, digest=each.digest, reused=False, seconds=0
            )
            for each in made
        },
    )  # fmt: skip


def clean(store: Store, records: list[RunRecord]) -> int:
    garbage = find_garbage(store, records, choose_runs(records, 1), time.time() + LATER_S)
    remove_garbage(store, garbage)
    return len(garbage)


def test_a_clean_up_leaves_what_kept_artifacts_share(tmp_path: Path) -> None:
    """And an old set that is asked for again is made of what is left, and harms nobody."""
    first = build_night(tmp_path, NUM_PHOTOS)
    old = refresh(first)
    second = build_night(tmp_path, NUM_PHOTOS + 1)
    new = refresh(second)
    records = [record(first, old, 0), record(second, new, 1)]
    store = first.store
    assert clean(store, records) == 4
    assert all(store.load(each.kind, each.key) is None for each in old)
    assert [store.find(each.kind, each.key, pytest.fail) for each in new] == new
    assert clean(store, records) == 0
    again = refresh(build_night(tmp_path, NUM_PHOTOS))
    assert [each.digest for each in again] == [each.digest for each in old]
    assert [store.find(each.kind, each.key, pytest.fail) for each in new] == new


def test_in_a_bucket_shared_files_are_sent_once_and_fetched_from_where_they_lie(
    tmp_path: Path, machines: Machines
) -> None:
    here = machines.open("here")
    first = replace(build_night(tmp_path, NUM_PHOTOS), store=here)
    old = refresh(first)
    objects = set(machines.remote.list_objects())
    there = machines.open("there")
    second = replace(build_night(tmp_path, NUM_PHOTOS + 1), store=there)
    new = refresh(second)
    sent = [n for n in machines.remote.list_objects() if n not in objects and "/part-0" in n]
    assert len([name for name in sent if name.endswith(".parquet")]) == 4
    third = machines.open("third")
    assert [third.find(each.kind, each.key, pytest.fail) for each in new] == new
    records = [record(first, old, 0), record(second, new, 1)]
    assert clean(third, records) == 4
    last = machines.open("last")
    assert [last.find(each.kind, each.key, pytest.fail) for each in new] == new
    assert last.load("samples", old[0].key) is None and clean(last, records) == 0
    assert isinstance(new[0], SampleSet)
