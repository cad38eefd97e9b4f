"""A small whole refresh says how much of its gain needs the image; the same again asks nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpo_core.store.store import Store
from schemas.artifact import EvalReport
from schemas.base import STAGES
from schemas.probing import WAYS
from tests.flows.whole import (
    list_digests,
    list_executed,
    load_artifact,
    load_report,
    run_perpo,
    write_config,
)

NUM_TEST = {"grounding": 24, "ocr": 12, "counting": 12}
PROBE = ("--set", "evaluate.probe_prompts=16")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_line_is_in_the_report_and_nothing_is_asked_twice(tmp_path):
    config, store = write_config(tmp_path)
    said = run_perpo("refresh", config, *PROBE)
    first = load_report(store)
    assert list_executed(first) == list(STAGES)
    probe = first["image_probe"]
    for task, number in NUM_TEST.items():
        assert set(probe[task]) == set(WAYS)
        for way in WAYS:
            assert probe[task][way]["n"] == min(number, 16) and not probe[task][way]["dropped"]
    line = first["image_line"]
    assert "needs the image" in line
    assert line in " ".join(said.split()), "the terminal says it too"
    page = next((store / "reports").glob("*/report.html")).read_text()
    assert line in page and "Does the gain need the image?" in page

    # Grey and crops say little: whatever is gained, the right image is answered better.
    for way in ("blank", "shuffled"):
        grounding = probe["grounding"][way]
        assert grounding["base"] < grounding["base_right"] - 0.1

    run_perpo("refresh", config, *PROBE)
    again = load_report(store)
    assert list_executed(again) == []
    assert list_digests(again) == list_digests(first) and again["image_line"] == line

    # Judged with other intervals, the answers are those of before: nobody is asked.
    answers = list_digests_of(store)
    run_perpo("refresh", config, *PROBE, "--set", "evaluate.bootstrap_resamples=300")
    assert list_executed(load_report(store)) == ["evaluate", "promote"]
    assert list_digests_of(store) == answers
    evaluation = load_artifact(store, "evaluate")
    assert isinstance(evaluation, EvalReport)
    assert evaluation.image_probe["grounding"]["blank"].gain == probe["grounding"]["blank"]["gain"]


def list_digests_of(store: Path) -> dict[str, str]:
    """Every set of answers."""
    return {each.key: each.digest for each in Store(store).list_committed("candidates")}
