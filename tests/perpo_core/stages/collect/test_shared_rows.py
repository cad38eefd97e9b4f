"""Rows that an earlier set has are shared by the part, and never others than would be built."""

from __future__ import annotations

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpo_core.stages import collect
from perpo_core.stages.collect.sources import jsonl_chunks
from perpo_core.stages.collect.sources.formats.line import Line
from perpo_core.stages.collect.sources.jsonl_chunks import cut
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.store.packs import PREFIX, Images
from perpo_core.store.workspace import Workspace
from schemas.artifact import SampleSet
from tests.perpo_core.photos import ask, build_source, encode_twin, write_images
from tests.perpo_core.small_store import build_context

MOST, LEAST = 4, 2
PHOTOS = {f"{n}.png": encode_twin(n, 0) for n in range(4)} | {"0-again.png": encode_twin(0, 1)}
ANCHOR = ask("anchor.png", split="train")  # a set without training samples is refused


@pytest.fixture(autouse=True, scope="module")
def small_chunks() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonl_chunks, "MOST_ROWS", MOST)
        patch.setattr(jsonl_chunks, "LEAST_ROWS", LEAST)
        yield


def collect_rows(
    root: Path, *files: Any, store: str = "old", **options: Any
) -> tuple[StageContext, SampleSet]:
    """Collected from rows beside PHOTOS, into a store below root."""
    write_images(root / "data", PHOTOS | {"anchor.png": encode_twin(8, 0)})
    source = build_source(root / "data", *files, **{"on_bad_row": "drop"} | options)
    context = build_context(root / store, source=source.model_dump())
    return context, find_or_make(context, collect).artifact


def describe(context: StageContext, samples: SampleSet) -> Any:
    """All that a set says: rows, what was set aside, counts; and its images are there."""
    rows = [pq.read_table(path).to_pylist() for path in context.store.paths(samples)]
    images = Images(context.store.paths(samples, PREFIX))
    for row in (row for part in rows for row in part):
        assert hashlib.sha256(images.read(*row["images"])).hexdigest() == row["images"][0]
    [dropped] = context.store.paths(samples, "dropped")
    counts = samples.counts.model_dump(exclude={"num_reused"})
    return rows, pq.read_table(dropped).to_pylist(), counts, samples.per_split, samples.digest


ROWS = st.builds(
    ask,
    image=st.sampled_from([*PHOTOS, "missing.png"]),
    prompt=st.sampled_from(["A?", "B?", "C?"]),
    split=st.sampled_from([None, None, "train", "test", "selection", "validation", "wrong"]),
)
FILES = st.lists(st.lists(st.one_of(ROWS, st.just("not JSON")), max_size=9), min_size=1, max_size=2)


@settings(max_examples=60, deadline=None)
@given(st.lists(FILES, min_size=2, max_size=3))
def test_whatever_was_collected_before_a_set_is_what_a_fresh_store_gives(nights: Any) -> None:
    nights = [[[ANCHOR, *rows] for rows in files] for files in nights]
    with TemporaryDirectory() as folder:
        for files in nights:
            found = describe(*collect_rows(Path(folder), *files))
        fresh = describe(*collect_rows(Path(folder), *nights[-1], store="fresh"))
    assert found == fresh


def build_rows(number: int) -> list[Any]:
    return [ANCHOR, *(ask(f"{n % 4}.png", f"Q{n}?") for n in range(number - 1))]


def share(root: Path, before: Any, after: Any) -> tuple[int, bool]:
    """Rows shared by the later of two sets, and whether it is what a fresh store gives."""
    collect_rows(root, *before)
    context, samples = collect_rows(root, *after)
    fresh = describe(*collect_rows(root, *after, store="fresh"))
    return samples.counts.num_reused, describe(context, samples) == fresh


def test_appended_rows_leave_those_before_them(tmp_path: Path) -> None:
    rows = build_rows(11)
    assert share(tmp_path, [rows[:10]], [rows]) == (8, True)


def test_a_row_that_is_set_aside_does_not_keep_its_chunk_from_being_shared(tmp_path: Path) -> None:
    rows = build_rows(8)
    rows[1:3] = ["not JSON", ask("missing.png")]
    assert share(tmp_path, [rows], [[*rows, ask("0.png", "New?")]]) == (6, True)


def test_a_later_name_of_a_split_builds_only_the_rows_it_is_about(tmp_path: Path) -> None:
    rows = [ANCHOR, *(ask(f"{n}.png", f"{q}?") for n in (0, 1, 2) for q in "ABCD"[n > 0 :])]
    named = [*rows[4:], ask("1.png", "New?", "test")]
    assert share(tmp_path, [rows], [[*rows[:4], *named]]) == (4, True)


def test_a_new_row_before_its_equal_builds_the_equals_chunk_again(tmp_path: Path) -> None:
    rows = build_rows(8)
    assert share(tmp_path, [rows[:2], rows], [[rows[0], rows[5]], rows]) == (0, True)


def test_a_new_row_that_repeats_a_shared_one_is_set_aside(tmp_path: Path) -> None:
    rows = build_rows(8)
    assert share(tmp_path, [rows], [[*rows, rows[2]]]) == (8, True)


def test_a_new_row_that_contradicts_the_split_of_a_shared_one_is_refused(tmp_path: Path) -> None:
    rows = [ask(f"{n}.png", split="train") for n in range(4)]
    collect_rows(tmp_path, rows, on_bad_row="fail")
    with pytest.raises(ValueError, match=r"row 2: split 'train', but .* row 5 put the same image"):
        collect_rows(tmp_path, [*rows, ask("1.png", "B?", "test")], on_bad_row="fail")


def test_an_image_that_shows_something_else_builds_its_chunks(tmp_path: Path, monkeypatch) -> None:
    rows = [ANCHOR, *(ask(f"{n}.png", f"{q}?") for n in (0, 1) for q in "ABCD"[n == 0 :])]
    collect_rows(tmp_path, rows)
    monkeypatch.setitem(PHOTOS, "1.png", encode_twin(9, 0))
    _, samples = collect_rows(tmp_path, [*rows])
    assert samples.counts.num_reused == 4


def test_a_collecting_that_was_killed_goes_on_with_its_parts(tmp_path: Path, monkeypatch) -> None:
    rows = build_rows(11)
    finish, finished = Workspace.finish_part, list[str]()

    def finish_or_die(self: Workspace, file: Any, *rest: Any) -> Any:
        if len([name for name in finished if name.startswith("part-")]) == 2:
            raise KeyboardInterrupt
        finished.append(file.path)
        return finish(self, file, *rest)

    monkeypatch.setattr(Workspace, "finish_part", finish_or_die)
    with pytest.raises(KeyboardInterrupt):
        collect_rows(tmp_path, rows)
    monkeypatch.setattr(Workspace, "finish_part", finish)
    context, samples = collect_rows(tmp_path, rows)
    assert describe(context, samples) == describe(*collect_rows(tmp_path, rows, store="fresh"))


def test_a_chunk_ends_with_its_file_unless_it_would_be_short() -> None:
    lines = [(SimpleNamespace(file=file), Line("row 1", b"")) for file in "aaaaabccccc"]
    chunks = [[place.file for place, _ in chunk] for chunk in cut(iter(lines))]  # type: ignore[arg-type]
    assert ["".join(map(str, files)) for files in chunks] == ["aaaa", "ab", "cccc", "c"]
