"""The card of exported lists: what the Hub reads, and every number of it against the lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import DatasetCard

from perpo_core.export.lists import Asked, export_lists
from perpo_core.export.lists.tally import NUM_BINS
from perpo_core.store.store import Store
from schemas.exports import ListFormatName
from schemas.run import RunRecord
from tests.perpo_core.export.mixed_lists import build_mixed_run
from tests.perpo_core.export.test_model_card import find_rows
from tests.perpo_core.report.report_fixture import build_run
from tests.perpo_core.small_store import read_rows

Finished = tuple[Store, RunRecord]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return build_run(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return build_mixed_run(tmp_path_factory.mktemp("store"))


def load_card(finished: Finished, folder: Path, *asked: Any) -> Any:
    store, run = finished
    export_lists(store, run, [run], folder, Asked(*asked), log=print)
    return DatasetCard.load(folder / "README.md")


def load_lists(finished: Finished) -> list[dict[str, Any]]:
    store, run = finished
    made = store.load("preferences", run.stages["materialize"].key)
    assert made is not None
    return read_rows(store, made)


def find_table(card: Any, header: str) -> list[list[str]]:
    """The rows of the first table whose first cell is this, without the header."""
    tables = [find_rows(text) for text in card.text.split("\n\n") if text.startswith("|")]
    return next(rows[1:] for rows in tables if rows[0][0] == header)


@pytest.mark.parametrize(
    ("name", "pattern"), [("hf", "lists-*.parquet"), ("trl", "pairs-*.parquet"),
                          ("swift", "pairs.jsonl"), ("perpo-json", "lists.json")]
)  # fmt: skip
def test_the_hub_reads_where_the_rows_are(name, pattern, real, tmp_path) -> None:
    data = load_card(real, tmp_path / "out", name).data.to_dict()
    [config] = data["configs"]
    assert config["data_files"] == [{"split": "train", "path": pattern}]
    assert list((tmp_path / "out").glob(pattern))
    assert data["task_categories"] == ["image-text-to-text"] and "license" not in data
    assert {"perpo", "grounding", "ocr", "counting"} <= set(data["tags"])
    assert data["size_categories"] == ["n<1K"]


def test_every_reward_is_in_the_histogram(real: Finished, tmp_path: Path) -> None:
    card, lists = load_card(real, tmp_path / "out"), load_lists(real)
    rows = find_table(card, "reward")
    assert len(rows) == NUM_BINS and rows[0][0] == "0.00 to 0.10"
    tasks = sorted({row["task"] for row in lists})
    for task, *found in zip(tasks, *(row[1:] for row in rows), strict=True):
        rewards = [a["reward"] for row in lists if row["task"] == task for a in row["responses"]]
        expected, _ = np.histogram(rewards, bins=np.linspace(0, 1, NUM_BINS + 1))
        assert [int(num) for num in found] == expected.tolist()


def test_rewards_below_zero_have_their_bins_and_pairs_their_columns(mixed, tmp_path) -> None:
    card = load_card(mixed, tmp_path / "out", "trl", "best-rest")
    rows = find_table(card, "reward")
    assert rows[0][0].startswith("-0.25 to")
    preferred, rejected = (sum(int(row[column]) for row in rows) for column in (1, 2))
    assert (preferred, rejected) == (4, 12)  # each answer once


def test_what_was_left_out_is_on_the_card_with_its_reason(mixed, tmp_path) -> None:
    card = load_card(mixed, tmp_path / "out", "llava", "adjacent", 0.3)
    lists, pairs = (row for row in find_table(card, "") if row[0] in ("lists", "pairs"))
    assert lists == ["lists", "4", "3", "a system message, which the format cannot say 1"]
    assert pairs[:3] == ["pairs", "12", "6"] and "equal rewards 4" in pairs[3]


def test_licences_and_sources_are_counted_over_the_lists_that_are_there(mixed, tmp_path) -> None:
    card = load_card(mixed, tmp_path / "out", "llava")
    assert sorted(find_table(card, "licence")) == [
        ["CC BY 4.0", f"made|{name}", "1"] for name in ("plain", "turns", "two images")
    ]


def test_run_configuration_policy_and_digests_are_named(real: Finished, tmp_path: Path) -> None:
    store, run = real
    text = load_card(real, tmp_path / "out", "trl").text
    for stage in ("collect", "generate", "score", "materialize"):
        assert f"`{run.stages[stage].digest}`" in text
    assert f"`{run.run_id}`" in text and f"`{run.policy_digest}`" in text
    settings = dict(find_table(load_card(real, tmp_path / "again"), "setting"))
    assert settings["generate.num_candidates"] == "16"
    assert any(name.startswith("score.") for name in settings)
    assert str(store.root) not in text and "train.beta" not in text


@pytest.mark.parametrize("name", ["hf", "trl", "trl-kto", "nemo-rl", "openai"])
def test_the_card_says_how_to_load_it(name: ListFormatName, real, tmp_path) -> None:
    text = load_card(real, tmp_path / "out", name).text
    assert "In a prompt an image is" in text and "Not in the rows:" in text
