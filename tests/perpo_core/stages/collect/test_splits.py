"""One photo, one split: whatever files show it, in whatever order its rows stand."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpo_core.policy.stamps import InputChanged
from perpo_core.stages.collect.sources.rows import SetAside
from perpo_core.stages.collect.sources.rows_source import (
    check_samples,
    compute_identity,
    iterate_samples,
)
from perpo_core.stages.collect.sources.splits import MOST_HELD_OUT_FIRST, derive_split
from perpo_core.store.keys import compute_hash
from perpo_core.vision import decoding as image_decoding
from perpo_core.vision import images
from perpo_core.vision.images import hash_pixels
from schemas.base import SPLITS
from schemas.sources import JsonlSource
from tests.perpo_core.cases import encode_noise
from tests.perpo_core.photos import (
    ask,
    build_source,
    encode_twin,
    group_splits,
    open_noise,
    read_aside,
    read_samples,
    write_images,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photo 0 in two files, photos 1 to 5 in one each."""
    folder = tmp_path_factory.mktemp("photos")
    contents = {f"{seed}.png": encode_twin(seed, 0) for seed in range(6)}
    write_images(folder, contents | {"0-again.png": encode_twin(0, 1)})
    return folder


@pytest.mark.parametrize("on_bad_row", ["fail", "drop"])
def test_a_named_split_holds_for_rows_before_it_too(folder: Path, on_bad_row: str) -> None:
    unnamed, named = ask("0.png", "A?"), ask("0.png", "B?", "test")
    for rows in ([unnamed, named], [named, unnamed]):
        source = build_source(folder, rows, on_bad_row=on_bad_row)
        assert [row["split"] for row in read_samples(source)] == ["test", "test"]


@pytest.mark.parametrize("split", SPLITS)
def test_a_named_split_holds_in_other_files_and_for_other_files_of_the_photo(
    folder: Path, split: str
) -> None:
    elsewhere = [ask("0-again.png", "B?", split), ask("1.png", "B?")]
    for files in (([ask("0.png", "A?")], elsewhere), (elsewhere, [ask("0.png", "A?")])):
        source = build_source(folder, *files, selection_share=0)
        found = {row["row_images"][0].stored.data: row["split"] for row in read_samples(source)}
        assert found[encode_twin(0, 0)] == found[encode_twin(0, 1)] == split
        assert found[encode_twin(1, 0)] == derive_split(source, hash_pixels(open_noise(1)))


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("also_unnamed", [True, False])
@pytest.mark.parametrize("other_file", ["0.png", "0-again.png"])
def test_a_photo_named_into_two_splits_is_refused_with_both_rows(
    folder: Path, other_file: str, also_unnamed: bool, in_order: bool
) -> None:
    rows = [ask("0.png", "A?", "train"), ask(other_file, "B?", "test")]
    rows = (rows if in_order else rows[::-1]) + [ask("1.png", "C?", None)] * also_unnamed
    source = build_source(folder, rows)
    place = {row["split"]: f"{folder}/0.jsonl row {n}" for n, row in enumerate(rows, start=1)}
    sentence = (
        f"{place['train']}: split 'train', but {place['test']} put the same image into 'test'; "
        "give all rows of one image the same split"
    )
    with pytest.raises(ValueError) as caught:
        list(iterate_samples(source))
    assert str(caught.value) == sentence
    dropping = source.model_copy(update={"on_bad_row": "drop"})
    for found in (list(iterate_samples(dropping)), list(check_samples(source))):
        [aside] = [row for row in found if isinstance(row, SetAside)]
        assert (aside.reason, aside.detail) == ("image in two splits", sentence)
        assert [row["split"] for row in found if isinstance(row, dict)][:1] == ["test"]


def test_of_several_named_splits_the_most_held_out_one_wins(folder: Path) -> None:
    for number, best in enumerate(MOST_HELD_OUT_FIRST):
        names = list(MOST_HELD_OUT_FIRST[number:])
        rows = [ask("0.png", f"{name}?", name) for name in names]
        for order in (rows, rows[::-1]):
            source = build_source(folder, order, on_bad_row="drop", selection_share=0)
            assert [row["split"] for row in read_samples(source)] == [best]
            assert len(read_aside(source)) == len(names) - 1


SPOILED: dict[str, dict[str, Any]] = {
    "no answer": {"answer": None},
    "no prompt": {"prompt": ""},
    "no task": {"task": "detect"},
    "a key that cannot be": {"tools": ["search"]},
    "a duplicate": {"prompt": "A?"},
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_photo_that_a_bad_row_names_test_is_not_trained_on(folder: Path, how: str) -> None:
    rows = [ask("0.png", "A?"), ask("0.png", "B?", "test") | SPOILED[how]]
    rows += [ask("0-again.png", "C?", "train")]
    source = build_source(folder, rows, on_bad_row="drop")
    assert [row["split"] for row in read_samples(source)] == ["test"]
    assert len(read_aside(source)) == 2


def test_rows_that_say_nothing_readable_name_no_split(folder: Path) -> None:
    rows = [
        ask("0.png", "A?"), '{"image": "0.png", "split": "test"',
        ask("0.png", "B?", "dev"), ask("0.png", "C?", ["test"]), ask("9.png", "D?", "test"),
    ]  # fmt: skip
    source = build_source(folder, rows, on_bad_row="drop", validation_share=0, test_share=0)
    assert [row["split"] for row in read_samples(source)] == ["train"]
    assert len(read_aside(source)) == 4


def test_the_doctor_sees_the_same_splits(folder: Path) -> None:
    rows = [ask("0.png", "A?"), ask("1.png", "B?"), ask("0-again.png", "C?", "validation")]
    source = build_source(folder, rows)
    checked = [row["split"] for row in check_samples(source) if isinstance(row, dict)]
    assert checked == [row["split"] for row in read_samples(source)]


claims = st.lists(
    st.tuples(
        st.sampled_from(["0.png", "0-again.png", "1.png", "2.png", "3.png"]),
        st.sampled_from([None, None, *SPLITS]),
        st.sampled_from([1, None]),  # a row without an answer is bad
    ),
    min_size=1,
    max_size=8,
)


@given(claims=claims, shuffle=st.randoms(use_true_random=False), num_files=st.integers(1, 3))
@settings(deadline=None, max_examples=60)
def test_no_order_of_rows_and_files_changes_what_becomes_of_any(
    folder: Path, claims: list[Any], shuffle: random.Random, num_files: int
) -> None:
    rows = [
        ask(image, f"{number}?", split, answer=answer)
        for number, (image, split, answer) in enumerate(claims)
    ]
    straight = _sort_out(build_source(folder, rows, on_bad_row="drop"))
    shuffle.shuffle(rows)
    parts = [part for n in range(num_files) if (part := rows[n::num_files])]
    shuffled = build_source(folder, *parts, on_bad_row="drop")
    assert _sort_out(shuffled) == straight
    if not read_aside(shuffled):
        assert _sort_out(shuffled.model_copy(update={"on_bad_row": "fail"})) == straight
    splits = [split for _, (photo, split) in straight.items() if photo == "0"]
    assert len(set(splits)) <= 1


def _sort_out(source: JsonlSource) -> dict[str, tuple[str, str]]:
    """Prompt -> (photo, split) of every sample; what is not there was set aside."""
    photos = {hash_pixels(open_noise(seed)): str(seed) for seed in range(6)}
    return {
        row["prompt"][0]["content"][-1]["text"]: (photos[row["image_id"]], row["split"])
        for row in read_samples(source)
    }


# What it costs, and what it follows from


def _count_decoded(source: JsonlSource, patch: pytest.MonkeyPatch, read: Any) -> int:
    decoded: list[str] = []
    real = image_decoding.decode

    def note(data: bytes, where: str, max_megapixels: float) -> Any:
        decoded.append(where)
        return real(data, where, max_megapixels)

    with patch.context() as during:
        during.setattr(images, "decode", note)
        list(read(source))
    return len(decoded)


UNNAMED = [ask(f"{n}.png") for n in range(6)]
NAMED = [ask(f"{n}.png", split="train") for n in range(6)]
DECODED: dict[str, tuple[list[Any], str, int]] = {
    "none named": (UNNAMED, "fail", 6),
    "none named, one unreadable": ([*UNNAMED, "not JSON"], "drop", 6),
    "all named, where a contradiction ends the run": (NAMED, "fail", 6),
    "all named, where a contradiction is set aside": (NAMED, "drop", 6 + 6),
    "some named": (NAMED[:2] + UNNAMED[2:], "fail", 6 + 2),
    "three rows name one image": (
        [*UNNAMED, *(ask("0.png", prompt, "train") for prompt in "ABC")], "fail", 6 + 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", DECODED)
def test_images_are_decoded_again_only_where_a_later_row_may_name_their_split(
    folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    rows, on_bad_row, decoded = DECODED[what]
    source = build_source(folder, rows, on_bad_row=on_bad_row)
    assert _count_decoded(source, monkeypatch, iterate_samples) == decoded
    assert _count_decoded(source, monkeypatch, check_samples) == 6


def test_an_image_that_changes_after_its_split_was_looked_up_is_named(folder: Path) -> None:
    rows = [ask("4.png", "A?"), ask("5.png", "B?", "test")]
    source = build_source(folder, rows)
    identity = compute_identity(source)
    before = (folder / "5.png").read_bytes()
    (folder / "5.png").write_bytes(encode_noise(99))
    with pytest.raises(InputChanged, match=r"5\.png changed while it was read"):
        next(iterate_samples(source, identity))
    (folder / "5.png").write_bytes(before)
    found = iterate_samples(source, identity)
    next(found)
    (folder / "5.png").write_bytes(encode_noise(99))
    with pytest.raises(InputChanged, match=r"5\.png changed while it was read"):
        next(found)
    (folder / "5.png").write_bytes(before)


HASHES = [compute_hash(number) for number in range(4000)]
ANY = JsonlSource(files=[Path("any.jsonl")])


def test_shares_of_images_without_a_named_split() -> None:
    counts = Counter(derive_split(ANY, each) for each in HASHES)
    shares = {split: counts[split] / len(HASHES) for split in SPLITS}
    expected = {"train": 0.6, "selection": 0.075, "validation": 0.075, "test": 0.25}
    assert shares == pytest.approx(expected, abs=0.02)


def test_dividing_validation_moves_no_other_image() -> None:
    whole = ANY.model_copy(update={"selection_share": 0.0})
    for each in HASHES[:500]:
        split = derive_split(whole, each)
        assert split != "selection"
        assert derive_split(ANY, each) in (
            {split, "selection"} if split == "validation" else {split}
        )


def test_named_validation_is_divided_by_image_and_selection_is_not(tmp_path: Path) -> None:
    write_images(tmp_path, {f"{n}.png": encode_twin(n, 0) for n in range(60)})
    rows = [ask(f"{n}.png", f"{n}: {q}", "validation") for q in "AB" for n in range(60)]
    splits = group_splits(read_samples(build_source(tmp_path, rows)))
    assert all(len(of_photo) == 1 for of_photo in splits.values())
    counts = Counter(split for of_photo in splits.values() for split in of_photo)
    assert set(counts) == {"selection", "validation"} and 18 <= counts["selection"] <= 42
    rows = [row | {"split": "selection"} for row in rows]
    for share in (0.0, 0.5):
        samples = read_samples(build_source(tmp_path, rows, selection_share=share))
        assert {row["split"] for row in samples} == {"selection"}


@pytest.mark.parametrize("last", [False, True])
def test_named_validation_stays_whole_where_a_row_names_selection(
    tmp_path: Path, last: bool
) -> None:
    """Who names both has divided already; where that row stands does not matter."""
    write_images(tmp_path, {f"{n}.png": encode_twin(n, 0) for n in range(21)})
    rows = [ask(f"{n}.png", f"{n}?", "validation") for n in range(20)]
    chooses = [ask("20.png", "20?", "selection")]
    source = build_source(tmp_path, rows + chooses if last else chooses + rows)
    for read in (read_samples(source), check_samples(source)):
        counts = Counter(row["split"] for row in read if isinstance(row, dict))
        assert counts == {"validation": 20, "selection": 1}
