"""Rows by their ids: all of them, in order, and none of another id."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from perpo_core.store.id_index import IdIndex, encode_ids


def build_ids(num: int) -> list[str]:
    return [hashlib.sha256(str(n).encode()).hexdigest() for n in range(num)]


def test_every_row_is_found_by_its_id_and_rows_of_one_id_keep_their_order() -> None:
    ids = [*build_ids(50), *build_ids(20)]
    index = IdIndex([encode_ids(ids[:30]), encode_ids(ids[30:])])
    for name in set(ids):
        assert index.find(name) == [n for n, each in enumerate(ids) if each == name]
    expected = [ids.index(name) for name in ids]
    assert index.find_first(encode_ids(ids)).tolist() == expected


@pytest.mark.parametrize("wanted", ["", "0" * 64, "z", "\0", "é" * 40, "f" * 65])
def test_what_is_not_there_is_not_found(wanted: str) -> None:
    index = IdIndex([encode_ids([*build_ids(5), "f" * 64])])
    assert index.find(wanted) == []
    if len(wanted.encode()) <= 64:
        assert index.find_first(encode_ids([wanted])).tolist() == [-1]


def test_an_id_with_something_behind_it_is_another() -> None:
    index = IdIndex([encode_ids(["a" * 64])])
    assert index.find("a" * 64) == [0]
    assert index.find("a" * 64 + "\0") == index.find("a" * 64 + "b") == []


def test_an_index_of_nothing() -> None:
    index = IdIndex([])
    assert len(index) == 0 and index.find("a") == []
    assert index.find_first(encode_ids(["a", "b"])).tolist() == [-1, -1]


def test_a_shorter_prefix_finds_rows_that_begin_alike() -> None:
    ids = build_ids(8)
    index = IdIndex([encode_ids([f"{ids[3]}/0", ids[3], f"{ids[3]}/1", ids[4]], 24)], 24)
    assert index.find(ids[3]) == [0, 1, 2]


def test_it_takes_little_memory() -> None:
    ids = build_ids(2000)
    index = IdIndex([encode_ids(ids)])
    held = sum(each.nbytes for each in vars(index).values() if isinstance(each, np.ndarray))
    assert held == 2000 * (64 + 4)
