"""Which samples are asked again, and whose images they are shown."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from perpo_core.stages.probing.choosing import choose_rows
from perpo_core.stages.probing.others import choose_others


def build_rows(task: str, number: int) -> list[dict[str, str]]:
    return [{"task": task, "sample_id": f"{task}-{n}"} for n in range(number)]


def test_so_many_of_each_task_whatever_the_order_of_the_rows():
    rows = build_rows("ocr", 9) + build_rows("grounding", 3)
    chosen = choose_rows(rows, 4)
    assert Counter(row["task"] for row in chosen) == {"ocr": 4, "grounding": 3}
    assert choose_rows(reversed(rows), 4) == chosen
    assert choose_rows(rows, 0) == []


@given(st.integers(1, 40), st.integers(1, 12))
def test_a_sample_more_takes_the_place_of_one_at_most(num_rows, num_wanted):
    before = choose_rows(build_rows("ocr", num_rows), num_wanted)
    after = choose_rows(build_rows("ocr", num_rows + 1), num_wanted)
    lost = [row for row in before if row not in after]
    assert len(lost) <= 1
    assert len(after) == min(num_rows + 1, num_wanted)


@given(st.lists(st.integers(0, 6), max_size=40))
def test_nobody_is_shown_the_own_image_and_each_is_shown_once(images):
    """Wherever that is possible at all: no image has more than half of the samples."""
    image_of = {f"sample-{n}": f"image-{image}" for n, image in enumerate(images)}
    others = choose_others(image_of)
    is_possible = 2 * max(Counter(images).values(), default=0) <= len(images)
    assert set(others) == (set(image_of) if is_possible else set())
    assert sorted(others.values()) == sorted(others)
    assert all(image_of[mine] != image_of[other] for mine, other in others.items())
    assert choose_others(dict(reversed(image_of.items()))) == others


@given(st.integers(2, 30))
def test_a_sample_more_changes_the_image_of_one_other(number):
    image_of = {f"sample-{n}": f"image-{n}" for n in range(number)}
    before = choose_others(image_of)
    after = choose_others(image_of | {"another": "its image"})
    assert sum(before[i] != after[i] for i in before) == 1
