"""A study's page in a real browser: two pictures, a click, the next question; and on a phone.

PERPO_PICTURES=docs takes the picture of docs/tune.md anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.serving.tune_server import serving_study
from perpo_core.tuning.study import Study
from tests.flows.chrome import (
    MAX_PICTURE_BYTES,
    OVERFLOW,
    PHONE_PX,
    WATCH,
    Page,
    browsing,
    find_browser,
)
from tests.perpo_core.tuning.studies import begin_next, build_study

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(400),
    pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed"),
]
WIDTH, HEIGHT = 1240, 1130
NUMBER = "document.querySelector('input[name=number]')?.value"
# Whether the pictures are drawn: shown points in the accent's colour, others in another.
DRAWN = """[...document.querySelectorAll("svg.plot")].map(each =>
  getComputedStyle(each.querySelector(".shown")).stroke !==
  getComputedStyle(each.querySelector(".other")).stroke)"""
WANTED = ["grounding.acc_at_50", "ocr.edit_distance", "counting.accuracy", "retention"]
VALUES = [
    (0.612, 0.221, 0.571, 0.941), (0.655, 0.264, 0.559, 0.917), (0.588, 0.187, 0.582, 0.952),
    (0.641, 0.243, 0.540, 0.929), (0.667, 0.301, 0.563, 0.888), (0.601, 0.204, 0.594, 0.946),
]  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("profile"), WIDTH, HEIGHT) as opened:
        opened.send("Page.enable")
        opened.send("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        yield opened


def wait_for_question(page: Page, number: int) -> None:
    page.wait_for(f"document.readyState === 'complete' && {NUMBER} === '{number}'")


def choose(page: Page, study: Study) -> None:
    """Three answers by the mouse; then the next question is there."""
    for number, words in enumerate(("A is better", "Neither is better", "B is better")):
        wait_for_question(page, number)
        page.click(words)
    wait_for_question(page, 3)
    choices = [each.choice for each in study.load_comparisons("person")]
    assert choices == ["first", "same", "second"]


def test_a_person_compares_trials_of_four_objectives(page: Page, tmp_path: Path) -> None:
    study = build_study(tmp_path, VALUES, user="person", objectives=WANTED)
    begin_next(study)
    with serving_study(study.store, study.name, 0) as url:
        page.open(url)
        choose(page, study)
        assert page.run(DRAWN) == [True, True]
        assert "Which would you rather have?" in page.read_text()
        assert "of the weight" in page.read_text()
        if folder := os.environ.get("PERPO_PICTURES"):
            page.photograph(Path(folder) / "tune.png", HEIGHT)
            assert (Path(folder) / "tune.png").stat().st_size < MAX_PICTURE_BYTES
        assert not page.run("window.violations")


def test_fronts_of_two_objectives_are_planes_and_a_phone_shows_all(
    page: Page, tmp_path: Path
) -> None:
    values = [each[:2] for each in VALUES]
    study = build_study(tmp_path, values, user="person", compare="fronts")
    with serving_study(study.store, study.name, 0) as url:
        page.open(url)
        wait_for_question(page, 0)
        assert page.run("document.querySelectorAll('svg.plot circle.shown').length") >= 2
        assert page.run("document.querySelectorAll('svg.plot polyline.shown').length") == 0
        if folder := os.environ.get("PERPO_PICTURES_ASIDE"):
            page.photograph(Path(folder) / "tune-fronts.png", HEIGHT)
        page.send("Emulation.setDeviceMetricsOverride", width=PHONE_PX, height=800,
                  deviceScaleFactor=1, mobile=True)  # fmt: skip
        page.open(url)
        wait_for_question(page, 0)
        assert page.run(OVERFLOW) <= 0
        page.run("document.querySelectorAll('.side button')[1].scrollIntoView()")
        page.click("B is better")
        wait_for_question(page, 1)
        assert not page.run("window.violations")
    assert len(study.load_comparisons("person")) == 1
