"""A comparison's page in a real browser: wide and on a phone, light and dark."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from perpo_core.evidence.page import build_page
from tests.flows.chrome import OVERFLOW, PHONE_PX, WATCH, Page, browsing, find_browser
from tests.perpo_core.evidence.comparisons import build_costs, build_report

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(400),
    pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed"),
]
WIDE_PX = 1240
# Of every look: whether line and marker have a colour of their own.
COLOURS = """[...document.querySelectorAll("#methods .look")].map(look =>
  getComputedStyle(look.querySelector("[stroke-dasharray]")).stroke)"""
# Smallest text of the plots, CSS pixels as drawn.
SMALLEST = """Math.min(...[...document.querySelectorAll("svg.plot")].flatMap(plot =>
  [...plot.querySelectorAll("text")].map(text =>
    parseFloat(getComputedStyle(text).fontSize) *
    plot.getBoundingClientRect().width / plot.viewBox.baseVal.width)))"""
STUCK = """(() => {
  const region = document.querySelector("#methods .scroll");
  region.scrollLeft = 200;
  return [region.scrollLeft, region.querySelector("tbody th").getBoundingClientRect().x -
    region.getBoundingClientRect().x];
})()"""

PLACE = "document.querySelector('#runs-method_5').getBoundingClientRect().y"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    report = build_report(8)
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(build_page(report, build_costs(report)), encoding="utf-8")
    with browsing(tmp_path_factory.mktemp("profile"), WIDE_PX, 900) as opened:
        opened.send("Page.enable")
        opened.send("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        opened.open(path.as_uri())
        opened.wait_for(
            "document.readyState === 'complete' && document.querySelector('#runs') !== null"
        )
        yield opened


def show(page: Page, width: int, scheme: str = "light") -> None:
    page.send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1,
              mobile=width == PHONE_PX)  # fmt: skip
    page.send("Emulation.setEmulatedMedia",
              features=[{"name": "prefers-color-scheme", "value": scheme}])  # fmt: skip


@pytest.mark.parametrize("width", [WIDE_PX, PHONE_PX])
def test_nothing_is_wider_than_the_window_and_all_is_readable(page: Page, width: int) -> None:
    show(page, width)
    assert page.run(OVERFLOW) <= 0
    assert page.run(SMALLEST) > 8.5
    assert not page.run("window.violations")


def test_on_a_phone_the_method_stays_beside_its_numbers(page: Page) -> None:
    show(page, PHONE_PX)
    assert page.run(STUCK) == [200, 0]


def test_looks_have_colours_in_light_and_dark(page: Page) -> None:
    show(page, WIDE_PX)
    light = page.run(COLOURS)
    show(page, WIDE_PX, "dark")
    dark = page.run(COLOURS)
    assert len(light) == 9 + 8 and len(set(light)) == len(set(dark)) == 9
    assert not set(light) & set(dark)


def test_a_number_leads_to_the_list_of_its_runs(page: Page) -> None:
    show(page, WIDE_PX)
    page.run("document.querySelector('#methods a[href=\"#runs-method_5\"]').click()")
    page.wait_for("location.hash === '#runs-method_5'")
    page.wait_for(f"{PLACE} > 0 && {PLACE} < 100")
