"""What the report is put together from: readings, signs, pieces of answers, rows, curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpo_core.perception.boxes import Frame
from perpo_core.report.cards import Album, build_change_card, mark_differences
from perpo_core.report.formats import format_signed
from perpo_core.report.gallery import choose_in_turns
from perpo_core.report.histograms import Histogram, load_histograms
from perpo_core.report.part_means import load_part_means
from perpo_core.report.pictures import show_text
from perpo_core.report.plots import compute_running_mean
from perpo_core.report.summary import compute_reading
from perpo_core.report.tables import build_settings
from perpo_core.store.packs import Images
from perpo_core.store.store import Store
from schemas.arrow import SCORES
from schemas.artifact import Metric
from schemas.config import RefreshConfig
from schemas.sources import JsonlSource
from tests.perpo_core.small_store import build_sample_row, write_packs


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "+0.000"), (0.0312, "+0.031"), (-0.0005, "\u22120.001"), (-0.00021, "\u22120.0002"),
     (0.00004, "+0.00004"), (1e-9, "+0.000000")],
)  # fmt: skip
def test_a_small_change_does_not_look_like_none(value: float, text: str) -> None:
    assert format_signed(value) == text


@pytest.mark.parametrize(
    ("metric", "low", "high", "reading"),
    [
        ("acc_at_50", 0.01, 0.05, "better"),
        ("acc_at_50", -0.05, -0.01, "worse"),
        ("acc_at_50", 0.0, 0.05, "no clear change"),
        ("edit_distance", 0.01, 0.05, "worse"),
        ("edit_distance", -0.05, -0.01, "better"),
        ("edit_distance", -0.05, 0.0, "no clear change"),
    ],
)
def test_reading_needs_the_whole_interval_on_one_side(
    metric: str, low: float, high: float, reading: str
) -> None:
    value = Metric(
        base=0.5, trained=0.5, delta=(low + high) / 2, delta_low=low, delta_high=high, n=9
    )
    assert compute_reading(metric, value) == reading


def test_settings_that_differ_from_the_default_are_marked() -> None:
    config = RefreshConfig(name="mine", source=JsonlSource(files=[Path("a.jsonl")], test_share=0.5))
    changed = {
        f"{section}.{setting.name}"
        for section, settings in build_settings(config).items()
        for setting in settings
        if setting.is_changed
    }
    assert changed == {".name", "source.kind", "source.files", "source.test_share"}


def test_tasks_take_turns_in_order_of_hash() -> None:
    rows = [("ocr", "c", 0), ("grounding", "b", 1), ("grounding", "a", 2), ("grounding", "d", 3)]
    assert choose_in_turns(rows, 3) == [
        ("grounding", "a", 2), ("grounding", "b", 1), ("ocr", "c", 0),
    ]  # fmt: skip
    assert choose_in_turns(rows, 9) == [*sorted(rows[1:]), rows[0]]
    assert choose_in_turns(rows, 0) == []


@given(st.text(max_size=20), st.text(max_size=20))
def test_marked_pieces_join_to_the_shown_answer(truth: str, text: str) -> None:
    pieces = mark_differences(truth, text)
    assert "".join(piece for piece, _ in pieces) == show_text(text)
    if show_text(truth) == show_text(text):
        assert not any(differs for _, differs in pieces)


def test_a_blank_page_and_an_answer_that_says_nothing_are_said() -> None:
    album = Album("norm1", lambda width, height: Frame(width, height), 1)
    row = {"task": "ocr", "sample_id": "a", "images": [], "prompt": [], "target": {"text": ""}}
    said, silent = ({"text": text, "reward": 0.5, "error": None} for text in ("1", ""))
    card = build_change_card(row, said, silent, album)
    assert card.truth == "(empty)"
    assert [answer.pieces for answer in card.answers] == [[("1", True)], [("(empty)", False)]]
    card = build_change_card(row | {"target": {"text": "x" * 5000}}, said, silent, album)
    assert card.answers[1].pieces == [("(empty)", True)]


def test_what_was_judged_of_an_answer_is_shown_and_drawn(tmp_path: Path) -> None:
    sample = build_sample_row(7, "grounding", [0.1, 0.2, 0.6, 0.8])
    workspace = Store(tmp_path).open_workspace("samples", "a" * 64)
    packs = [workspace.locate_file(file) for file in write_packs(workspace, [sample])]
    album = Album("norm1000", lambda width, height: Frame(width, height), 1, Images(packs))
    said = {"reward": 0.5, "error": None}
    drafts, unclosed = "<think>1, no 2</think>73", "<think>73"
    row: dict[str, Any] = {
        "task": "ocr", "sample_id": "a", "images": [], "prompt": [], "target": {"text": "73"}
    }  # fmt: skip
    card = build_change_card(row, said | {"text": drafts}, said | {"text": unclosed}, album)
    assert [answer.pieces for answer in card.answers] == [[("73", False)], [("<think>73", False)]]
    row |= {"task": "grounding", "images": sample["images"], "target": sample["target"]}
    thought = said | {"text": "<think>[1, 2, 300, 400]</think>[100, 200, 600, 800]"}
    card = build_change_card(row, thought, said | {"text": "<think>[1, 2, 3, 4]"}, album)
    assert card.answers[0].pieces == [("[100, 200, 600, 800]", False)]
    assert [box.role for box in card.shapes] == ["truth", "base"]
    base = card.shapes[1]
    assert (base.role, base.x, base.y, base.width, base.height) == ("base", 10, 20, 50, 60)


def test_control_characters_are_made_visible() -> None:
    assert show_text("a\x00b\x1b[31m\u202e\n1\r\n2") == "a\u2400b\u241b[31m\ufffd\u21b51\u21b52"
    assert show_text("x" * 12, limit=10) == "x" * 10 + "\u2026 (+2)"


def test_histogram_counts_what_has_no_value_apart() -> None:
    histogram = Histogram()
    histogram.add(np.array([0.0, 0.5, 1.0, np.nan]))
    histogram.add(np.array([0.5]))
    assert histogram.num == 4 and histogram.num_missing == 1 and histogram.num_zero == 1
    assert histogram.mean == pytest.approx(0.5)
    assert histogram.counts[0] == 1 and histogram.counts[10] == 2 and histogram.counts[-1] == 1


def test_rewards_beyond_0_and_1_have_a_longer_scale(tmp_path: Path) -> None:
    path = tmp_path / "part-00000.parquet"
    rows = [("grounding", -0.35, {"giou": -0.5, "format": 1.0}), ("grounding", 1.0, {"giou": 0.9}),
            ("ocr", 0.5, {"edit_similarity": 0.5}), ("ocr", None, {})]  # fmt: skip
    names = ("task", "reward", "rewards")
    table = [dict(zip(names, (a, b, list(c.items())), strict=True)) for a, b, c in rows]
    fields = [SCORES.field(name) for name in names]
    pq.write_table(pa.Table.from_pylist(table, pa.schema(fields)), path)
    found = load_histograms([path, path], "reward")
    assert found["grounding"].scale == (-1.0, 1.0) and found["ocr"].scale == (0.0, 1.0)
    assert found["grounding"].counts[6] == 2 and found["grounding"].counts[-1] == 2
    assert load_part_means([path, path]) == {
        "grounding": {"giou": pytest.approx(0.2), "format": 1.0}, "ocr": {"edit_similarity": 0.5},
    }  # fmt: skip


def test_running_mean_shrinks_at_the_ends() -> None:
    assert compute_running_mean(np.array([1.0, 2.0, 6.0]), 3) == pytest.approx([1.5, 3.0, 4.0])
    assert compute_running_mean(np.full(30, 2.5), 4) == pytest.approx(np.full(30, 2.5))
