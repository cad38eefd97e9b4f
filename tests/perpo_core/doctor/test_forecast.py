"""What `perpo plan` says of new prompts is what the refresh then samples and scores."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpo_core.doctor import forecast
from perpo_core.doctor.forecast import Forecast, compute_forecast
from perpo_core.stages.collect.sources import SOURCES
from perpo_core.stages.generate.identity import KIND
from perpo_core.stages.stage import StageContext
from schemas.artifact import SampleSet
from tests.perpo_core.stages.growing import build_setting, commit, count, refresh

BEFORE = [(number, 1) for number in range(18)]
NOW = [(18, 1), *BEFORE[:9], (9, 2), *BEFORE[10:], (19, 1)]


def look(context: StageContext, samples: SampleSet | None) -> tuple[int, int, int]:
    found = compute_forecast(context, samples)
    assert found is not None
    return found.num_prompts, found.num_new, found.num_rescored


def test_a_fresh_store_has_nothing(tmp_path: Path) -> None:
    context = build_setting(tmp_path)
    assert look(context, commit(context, BEFORE)) == (18, 18, 0)
    assert not context.store.folder(KIND, "any").parent.exists(), "looking writes nothing"


@pytest.mark.usefixtures("asked")
def test_new_and_corrected_samples_are_what_the_refresh_makes(tmp_path: Path) -> None:
    context = build_setting(tmp_path)
    refresh(context, BEFORE)
    assert look(context, commit(context, BEFORE)) == (18, 0, 0)
    assert look(context, commit(context, NOW)) == (20, 2, 1)
    candidates, scores = refresh(context, NOW)
    assert count(candidates) == (2, 18)
    assert count(scores)[0] == (2 + 1) * 4


@pytest.mark.usefixtures("asked")
def test_what_a_broken_set_held_is_new_again(tmp_path: Path) -> None:
    context = build_setting(tmp_path)
    candidates, _ = refresh(context, BEFORE)
    context.store.paths(candidates)[0].write_bytes(b"damaged")
    assert look(context, commit(context, NOW)) == (20, 20, 0)


def test_a_source_that_composes_is_not_known_before_collect(tmp_path: Path) -> None:
    assert compute_forecast(build_setting(tmp_path), None) is None


def test_rows_of_a_source_are_looked_at_until_it_takes_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = build_setting(tmp_path)
    rows = [{"prompt_id": str(n // 2), "sample_id": str(n), "split": "train"} for n in range(6)]
    monkeypatch.setattr(SOURCES["digits"], "IS_COMPOSED", False)
    monkeypatch.setattr(SOURCES["digits"], "iterate_samples", lambda _: iter(rows))
    assert compute_forecast(context, None) == Forecast(num_prompts=3, num_new=3, num_rescored=0)
    monkeypatch.setattr(forecast, "LOOK_S", -1.0)
    assert compute_forecast(context, None) is None
