"""JSON of other versions: what is dropped, what is damage, and in which words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows.runs.records import load_records, read_records, write_record
from perpo_core.store.lenient import Unreadable, parse_dropping
from perpo_core.store.lines import add_line, describe_damaged
from perpo_core.store.store import Store
from schemas.config import RefreshConfig
from tests.perpo_core.report.trends_fixture import build_nights


def read(values: Any) -> tuple[RefreshConfig, dict[str, Any]]:
    return parse_dropping(RefreshConfig, json.dumps(values).encode(), "configuration")


@pytest.mark.parametrize(
    ("values", "dropped"),
    [
        ({"name": "a", "train": {"beta": 0.2}}, {}),
        ({"train": {"beta": 0.2, "knob": [1]}}, {"train.knob": [1]}),
        ({"train": {"beta": -1, "objective": "x"}}, {"train.beta": -1, "train.objective": "x"}),
        ({"stars": {"a": {"b": 1}}}, {"stars": {"a": {"b": 1}}}),
        ({"source": {"kind": "digits", "train": {"reading": 5, "ocr": 5}}},
         {"source.train.reading": 5}),
        ({"source": {"kind": "jsonl", "files": ["a"], "test_share": 7}}, {"source.test_share": 7}),
        ({"source": {"kind": "jsonl"}}, {"source": {"kind": "jsonl"}}),
        ({"source": {"kind": "parquet", "seed": 5}}, {"source": {"kind": "parquet", "seed": 5}}),
        ({"store": 5, "train": 7}, {"store": 5, "train": 7}),
    ],
)  # fmt: skip
def test_what_this_version_does_not_take_is_dropped_by_name(
    values: dict[str, Any], dropped: dict[str, Any]
) -> None:
    config, found = read(values)
    assert found == dropped
    assert config.train.beta == (0.2 if "beta" in str(values) and not dropped.get("train.beta")
                                 else 0.1)  # fmt: skip


@pytest.mark.parametrize("values", [None, 5, [], "text"])
def test_something_else_is_damage(values: Any) -> None:
    with pytest.raises(Unreadable, match="it is no configuration"):
        read(values)


def test_a_record_whose_stage_cannot_be_read_is_listed_and_keeps_a_clean_up_away(
    tmp_path: Path,
) -> None:
    store, records = build_nights(tmp_path, num=1)
    record = records[0].model_copy(update={"run_id": "nightly-20250301-020000"})
    write_record(store, record)
    path = tmp_path / "runs" / f"{record.run_id}.json"
    raw = json.loads(path.read_text())
    path.write_text(json.dumps(raw | {"stages": {**raw["stages"], "judge": {"kind": "verdicts"}}}))
    found = next(r for r in load_records(store) if r.run_id == record.run_id)
    assert found.stages == record.stages and list(found.unread) == ["stages.judge"]
    assert read_records(Store(tmp_path))[1] == [f"runs/{record.run_id}.json"]


@pytest.mark.parametrize("left", ["run_id", "status", "policy_digest", "started_at", "config"])
def test_what_has_no_default_cannot_be_dropped(left: str, tmp_path: Path) -> None:
    store, records = build_nights(tmp_path, num=2)
    path = tmp_path / "runs" / f"{records[0].run_id}.json"
    raw = json.loads(path.read_text())
    for damaged in (raw | {left: "x"}, {name: raw[name] for name in raw if name != left}):
        path.write_text(json.dumps(damaged))
        assert load_records(store) == records[1:]


def test_a_line_that_was_cut_off_stays_by_itself() -> None:
    assert add_line(b'{"a', b"{}\n") == b'{"a\n{}\n'
    assert add_line(None, b"{}\n") == b"{}\n"
    assert add_line(b"{}\n", b"{}\n") is None
    assert describe_damaged([3]) == "line 3 cannot be read"
    assert describe_damaged(list(range(1, 13))).endswith("9, 10 and 2 more cannot be read")
