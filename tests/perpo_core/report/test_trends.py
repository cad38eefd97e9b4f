"""The page of runs over time: what it says, what stays, and that it runs and loads nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from perpo_core.promotion import pointer
from perpo_core.promotion.approvals import Approval
from perpo_core.promotion.history import list_moves
from perpo_core.promotion.pointer import load_history
from perpo_core.report.nights import list_nights
from perpo_core.report.trends import MAX_NAMES, write_trends
from perpo_core.store.atomic import write_atomic
from perpo_core.store.provenance import utc_now
from tests.perpo_core.report.trends_fixture import FAILED_NIGHT, build_nights


def test_every_run_says_how_it_ended_and_what_changed(tmp_path: Path) -> None:
    store, records = build_nights(tmp_path)
    nights = list_nights(store, records)
    outcomes = [night.outcome for night in nights]
    assert [number for number, each in enumerate(outcomes) if each == "promoted"] == [0, 2, 7]
    assert [number for number, each in enumerate(outcomes) if each == "failed"] == [FAILED_NIGHT]
    assert nights[0].differences == nights[2].differences == ()
    assert nights[3].differences[1] == "samples 1,792 \u2192 2,380 (+588)"
    assert nights[6].differences == ("train.beta 0.1 \u2192 0.2",)
    assert re.fullmatch("policy [0-9a-f]{12} \u2192 [0-9a-f]{12}", nights[8].differences[0])


def test_a_run_that_waits_is_told_from_one_that_was_refused(tmp_path: Path) -> None:
    store, records = build_nights(tmp_path, num=2)
    waiting = Approval(
        answer="waiting", promotion_key=records[1].stages["promote"].key, promotion_attempt=0,
        policy_digest="a" * 64, at=utc_now(),
    )  # fmt: skip
    assert list_nights(store, records)[1].outcome == "not promoted"
    path = store.root / "promoted" / "approvals.jsonl"
    write_atomic(path, waiting.model_dump_json().encode() + b"\n")
    assert list_nights(store, records)[1].outcome == "waiting for approval"


def test_an_undone_promotion_is_not_shown_as_one_that_stands(tmp_path: Path) -> None:
    store, records = build_nights(tmp_path)
    first = load_history(store)[0]
    back = first.model_copy(update={"rolled_back": True, "at": utc_now()})
    pointer._move(store, back)
    outcomes = [night.outcome for night in list_nights(store, records)]
    assert [outcomes[number] for number in (0, 2, 7)] == ["promoted", "rolled back", "rolled back"]
    assert [move.is_undone for move in list_moves(store, records)] == [False, True, True, False]
    page = write_trends(store, records).read_text()
    assert "10 runs: 1 promoted, 2 rolled back, 1 failed." in page


def test_the_page_shows_all_of_it_escaped_and_without_scripts(tmp_path: Path) -> None:
    store, records = build_nights(tmp_path)
    page = write_trends(store, records).read_text()
    assert page.count("<svg") == 4 and "<script" not in page
    assert not re.search(r"https?:", re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL))
    assert "ran out of &lt;memory&gt;" in page and "<memory>" not in page
    assert f'href="{records[0].run_id}/report.html"' in page
    assert f'href="{records[FAILED_NIGHT].run_id}/report.html"' not in page, "it wrote none"
    assert '<span class="how reused">reused</span>' in page
    assert "10 runs: 3 promoted, 1 failed." in page


def test_numbers_stay_when_the_artifacts_and_the_page_are_gone(tmp_path: Path) -> None:
    store, records = build_nights(tmp_path)
    before = write_trends(store, records).read_text()
    for page in store.root.glob("reports/*/report.html"):
        page.unlink()
    after = write_trends(store, records).read_text()
    assert "<a " not in after
    assert re.findall(r"[+\u2212]0\.\d+", before) == re.findall(r"[+\u2212]0\.\d+", after) != []


def test_a_report_of_another_version_is_a_run_without_numbers(tmp_path: Path) -> None:
    store, records = build_nights(tmp_path, num=2)
    path = store.root / "reports" / records[0].run_id / "report.json"
    path.write_text('{"schema_version": 2}')
    assert [night.report is None for night in list_nights(store, records)] == [True, False]
    assert write_trends(store, records).is_file()


def test_one_name_has_a_page_of_its_own(tmp_path: Path) -> None:
    store, nightly = build_nights(tmp_path, num=3)
    _, weekly = build_nights(tmp_path, num=2, name="weekly")
    path = write_trends(store, [*nightly, *weekly], "weekly")
    assert path == tmp_path / "reports" / "trends-weekly.html"
    assert "nightly" not in path.read_text()
    both = write_trends(store, [*nightly, *weekly]).read_text()
    assert 'id="nightly"' in both and 'id="weekly"' in both
    with pytest.raises(ValueError, match="no run of the name 'monthly'"):
        write_trends(store, nightly, "monthly")


def test_of_many_names_the_newest_are_shown_and_the_others_named(tmp_path: Path) -> None:
    names = [f"name-{number}" for number in range(MAX_NAMES + 1)]
    store, records = build_nights(tmp_path, num=1, name=names[0])
    for name in names[1:]:
        records += build_nights(tmp_path, num=1, name=name)[1]
    page = write_trends(store, records).read_text()
    assert f'id="{names[-1]}"' in page and f'id="{names[0]}"' not in page
    assert f"Not shown: {names[0]}." in page


def test_a_store_without_a_finished_run_has_a_page(tmp_path: Path) -> None:
    store, records = build_nights(tmp_path, num=FAILED_NIGHT + 1)
    page = write_trends(store, records[FAILED_NIGHT:]).read_text()
    assert "No run of this name has been evaluated yet." in page
    assert "1 run: 0 promoted, 1 failed." in page
