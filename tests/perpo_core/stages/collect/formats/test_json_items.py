"""Large JSON files entry by entry: what json.loads gives, whatever the window cuts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from perpo_core.perception.truths.row import RowError
from perpo_core.stages.collect.sources.formats.json_items import iterate_items

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@example(values=[0.5], window=1, is_ascii=False)
@given(values=st.lists(VALUES, max_size=6), window=st.integers(1, 40), is_ascii=st.booleans())
def test_an_array_is_read_as_json_reads_it(
    values: list[Any], window: int, is_ascii: bool, tmp_path: Path
) -> None:
    file = tmp_path / "array.json"
    text = json.dumps(values, ensure_ascii=is_ascii, indent=1)
    file.write_bytes(text.encode("utf-8", errors="replace"))
    expected = json.loads(file.read_text())
    found = list(iterate_items(file, window))
    assert [item.value for item in found] == expected
    assert [item.number for item in found] == list(range(1, len(values) + 1))


def test_an_object_gives_the_entries_of_its_arrays_in_one_pass(tmp_path: Path) -> None:
    file = tmp_path / "object.json"
    file.write_text('\n{"info": {"year": 1}, "images": [{"id": 1}, 2], "empty": [], "n": 12.5}\n')
    found = [(item.key, item.number, item.value) for item in iterate_items(file, 3)]
    assert found == [
        ("info", 1, {"year": 1}), ("images", 1, {"id": 1}), ("images", 2, 2), ("n", 1, 12.5),
    ]  # fmt: skip


def test_a_doubled_key_is_the_error_of_its_entry_alone(tmp_path: Path) -> None:
    file = tmp_path / "doubled.json"
    file.write_text('[{"a": {"b": 1, "b": 2}}, {"a": 3}]')
    first, second = (item.value for item in iterate_items(file))
    assert isinstance(first, RowError) and str(first) == 'key "b" twice; keep one'
    assert second == {"a": 3}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"a": 1}, {"a": ]', "Expecting value, at character 17"),
        ('[{"a": 1} {"a": 2}]', "',' is missing, at character 10"),
        ('{"a": 1}\n{"a": 2}', "more follows its end (one object a line is .jsonl)"),
        ('[{"a": "never closed', "Unterminated string"),
        ("word", "neither an array nor an object begins it"),
        ("", "neither an array nor an object begins it"),
        ('{"a": [1], "a": [2]}', '"a" is no key, or there twice'),
        ("[1, 2", "',' is missing"),
    ],
)
def test_what_is_no_json_is_said_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.json"
    file.write_text(text)
    for window in (2, 1 << 20):
        with pytest.raises(ValueError, match=r"bad\.json: not JSON: ") as caught:
            list(iterate_items(file, window))
        assert said in str(caught.value)


def test_a_mistake_far_from_the_end_does_not_read_the_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "large.json"
    file.write_text("[" + '{"a": 1},' * 10 + '{"a" 1},' + '{"a": 1},' * 100_000 + "1]")
    read = iterate_items(file, 256)
    assert [next(read).number for _ in range(10)][-1] == 10
    with pytest.raises(ValueError, match=r"at character 96"):
        next(read)
