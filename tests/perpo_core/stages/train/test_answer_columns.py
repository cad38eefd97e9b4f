"""What `nearest` and `popular` go by: of the answers alone, whatever they are batched with."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perpo_core.perception.boxes import Frame
from perpo_core.stages.train.closeness import NO_BOX, Closeness
from perpo_core.stages.train.data import collate_lists
from perpo_core.stages.train.popularity import Popularity
from tests.perpo_core.stages.train.training import build_trainer, read_points

FRAME = Frame(200, 100)
texts = st.text("ab <>", max_size=6)


def build_row(task: str, *answers: tuple[str, float]) -> dict[str, Any]:
    responses = [{"text": text, "reward": reward} for text, reward in answers]
    return {"sample_id": "one", "task": task, "responses": responses}


def compute_closeness(task: str, *answers: tuple[str, float]) -> list[float]:
    return Closeness("norm1", lambda sample_id: FRAME)(build_row(task, *answers))


# Closeness


def test_texts_by_hand():
    found = compute_closeness("counting", ("12", 1.0), ("13", 0.5), ("123", 0.2), ("no", 0.0))
    assert found == pytest.approx([1.0, 0.5, 2 / 3, 0.0], abs=1e-9)


def test_boxes_by_hand():
    """The shifted one shares a third of what both cover."""
    best, shifted, apart = "[0, 0, 0.5, 0.5]", "[0.25, 0, 0.75, 0.5]", "[0.8, 0.8, 0.9, 0.9]"
    found = compute_closeness(
        "grounding", (best, 0.9), (shifted, 0.3), (apart, 0.0), ("nowhere", 0.0)
    )
    assert found[:3] == pytest.approx([1.0, 1 / 3, 0.0], abs=1e-9)
    assert found[3] == NO_BOX < min(found[:3])


def test_several_boxes_are_matched():
    two, one, none = "[0, 0, 0.5, 0.5]\n[0.5, 0.5, 1, 1]", "[0.5, 0.5, 1, 1]", "[]"
    assert compute_closeness("detection", (two, 1.0), (one, 0.5), (none, 0.0)) == [1, 0.5, NO_BOX]
    assert compute_closeness("detection", (none, 1.0), ("[ ]", 0.9), (one, 0.0))[1:] == [
        pytest.approx(2 / 3),
        pytest.approx(2 / 16),
    ]


def test_without_a_box_in_the_best_answers_texts_are_compared():
    found = compute_closeness("grounding", ("left", 0.9), ("lift", 0.5), ("[0, 0, 0.5, 0.5]", 0.1))
    assert found[:2] == [1.0, 0.75] and 0 <= found[2] < 0.75


def test_the_closest_of_tied_best_answers_counts():
    found = compute_closeness("ocr", ("abcd", 0.9), ("wxyz", 0.9), ("wxy", 0.1), ("abc!", 0.1))
    assert found == [1.0, 1.0, 0.75, 0.75]
    boxes = ("[0, 0, 0.5, 0.5]", 0.9), ("no box", 0.9), ("[0, 0, 0.5, 0.25]", 0.1)
    assert compute_closeness("grounding", *boxes) == [1.0, NO_BOX, 0.5]


def test_thoughts_and_white_space_do_not_count():
    thought = "<think>seven, surely seven</think>12"
    found = compute_closeness("counting", ("12", 1.0), (thought, 0.9), (" 12\n", 0.5), ("71", 0.1))
    assert found[:3] == [1.0, 1.0, 1.0] and found[3] < 1
    assert compute_closeness("ocr", ("a  b", 1.0), ("a b", 0.5)) == [1.0, 1.0]
    assert compute_closeness("counting", ("12", 1.0), ("<think>12", 0.0)) == [1.0, 0.0]


def test_what_is_equally_close_ties_whatever_rounding_does():
    """0.1 to the left and 0.1 to the right: one third less the same, and not to the last bit."""
    found = compute_closeness(
        "grounding", ("[0.3, 0.1, 0.6, 0.4]", 0.9),
        ("[0.2, 0.1, 0.5, 0.4]", 0.1), ("[0.4, 0.1, 0.7, 0.4]", 0.2),
    )  # fmt: skip
    assert found[1] == found[2] == pytest.approx(0.5)


@settings(deadline=None, max_examples=50)
@given(
    answers=st.lists(st.tuples(texts, st.sampled_from([0.1, 0.5, 0.9])), min_size=1, max_size=5),
    data=st.data(),
)
def test_the_order_of_a_list_does_not_matter(answers, data):
    order = data.draw(st.permutations(range(len(answers))))
    found = compute_closeness("ocr", *answers)
    assert compute_closeness("ocr", *(answers[i] for i in order)) == [found[i] for i in order]
    assert all(0 <= value <= 1 for value in found)


# Popularity


def test_lists_are_counted_by_hand():
    lists = [("counting", ["7", "3"]), ("counting", ["7", " 7", "4"]), ("counting", ["3"])]
    count = Popularity([*lists, ("ocr", ["7", "5"]), ("ocr", ["5"]), ("ocr", ["5\n"])])
    assert count(build_row("counting", ("7", 0.9), ("3", 0.5), ("4", 0.1))) == [2, 2, 1]
    assert count(build_row("ocr", ("7", 0.9), ("5", 0.5))) == [1, 3]


@settings(deadline=None, max_examples=50)
@given(lists=st.lists(st.lists(texts, min_size=1, max_size=4), min_size=1, max_size=6))
def test_counts_equal_those_of_a_loop(lists):
    count = Popularity([("ocr", answers) for answers in reversed(lists)])
    shown = [{" ".join(text.split()) for text in answers} for answers in lists]
    for answers in lists:
        expected = [sum(" ".join(text.split()) in each for each in shown) for text in answers]
        assert count(build_row("ocr", *((text, 0.5) for text in answers))) == expected


# On their way to the loss


def find_columns(trainer: Any) -> dict[str, torch.Tensor]:
    lists = [trainer.train_dataset[i] for i in range(len(trainer.train_dataset))]
    return dict(collate_lists(lists, pad_id=0).columns_PG)


@pytest.mark.usefixtures("training_events")
def test_nothing_is_computed_that_is_not_asked_for(trainable, tmp_path):
    assert find_columns(build_trainer(trainable, tmp_path, objective="dpo")) == {}
    assert find_columns(build_trainer(trainable, tmp_path, pairs="nearest")) == {}


@pytest.mark.usefixtures("training_events")
def test_columns_reach_the_batch_as_they_are_of_each_list(trainable, tmp_path):
    for pairs, field in (("nearest", "closeness_PG"), ("popular", "popularity_PG")):
        trainer = build_trainer(trainable, tmp_path / pairs, objective="dpo", pairs=pairs)
        lists = trainer.train_dataset
        [(name, values_PG)] = find_columns(trainer).items()
        assert name == field and values_PG.dtype == torch.float64
        for i, values_G in enumerate(values_PG):
            own = lists[i].columns_G[field]
            assert values_G.tolist() == [*own, *[0.0] * (len(values_G) - len(own))]
    rows = [lists.load_row(i) for i in range(len(lists))]
    held = [{response["text"] for response in row["responses"]} for row in rows]
    for row, counts in zip(rows, values_PG.tolist(), strict=True):
        for response, count in zip(row["responses"], counts, strict=False):
            assert count == sum(response["text"] in each for each in held)


@pytest.mark.parametrize("pairs", ["hardest", "nearest", "popular"])
@pytest.mark.usefixtures("training_events")
def test_training_with_such_pairs(trainable, tmp_path, pairs):
    trainer = build_trainer(trainable, tmp_path, objective="dpo", pairs=pairs)
    trainer.train()
    losses = [point["loss"] for point in read_points(trainer)]
    assert losses[0] == pytest.approx(0.693147, abs=1e-5) and losses[-1] < losses[0] - 0.01
