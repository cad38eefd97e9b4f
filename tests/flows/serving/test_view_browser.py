"""`perpo view` in a real browser: pictures with boxes in their place, keys, filters, a phone.

PERPO_PICTURES=docs takes the README's picture anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.runs.records import write_record
from tests.flows.chrome import (
    MAX_PICTURE_BYTES,
    OVERFLOW,
    PHONE_PX,
    WATCH,
    Page,
    browsing,
    find_browser,
)
from tests.flows.viewed import viewing
from tests.perpo_core.report.report_fixture import build_run
from tests.perpo_core.view.rows import build_store

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(400),
    pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed"),
]
WIDTH, HEIGHT = 1440, 1160
LOADED = """performance.getEntriesByType("resource").filter(each => each.name.includes("/image/"))
  .every(each => each.responseStatus === 200 && each.decodedBodySize > 0)"""
# Where the true box of the first list lies over its picture, percent: left, top, width, height.
TRUTH = """(() => {
  const rect = document.querySelector(".question rect.box.truth");
  const [box, whole] = [rect, rect.ownerSVGElement].map(each => each.getBoundingClientRect());
  return [(box.x - whole.x) / whole.width, (box.y - whole.y) / whole.height,
          box.width / whole.width, box.height / whole.height].map(each => 100 * each);
})()"""
SAID = """["x", "y", "width", "height"].map(name =>
  parseFloat(document.querySelector(".question rect.box.truth").getAttribute(name)))"""


def press(page: Page, key: str) -> None:
    typed = {"text": key} if len(key) == 1 else {}
    page.send("Input.dispatchKeyEvent", type="keyDown", key=key, **typed)
    page.send("Input.dispatchKeyEvent", type="keyUp", key=key)


def wait_to_be_at(page: Page, what: str) -> None:
    """Until the page is another one, and its script has run."""
    page.wait_for(f"({what}) && document.readyState === 'complete'")


def open_page(page: Page, url: str) -> None:
    page.open(url)
    wait_to_be_at(page, f"location.href === {url!r}")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("profile"), WIDTH, HEIGHT) as opened:
        opened.send("Page.enable")
        opened.send("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        yield opened


def test_lists_of_real_scenes_their_keys_and_filters(page: Page, tmp_path: Path) -> None:
    store, run = build_run(tmp_path / "store", 24, 8)
    write_record(store, run)
    with viewing(store.root) as (_, url):
        open_page(page, f"{url}?task=grounding&order=widest")
        page.wait_for(LOADED)
        assert page.run("document.querySelectorAll('article.item').length") == 10
        for is_at, is_said in zip(page.run(TRUTH), page.run(SAID), strict=True):
            assert is_at == pytest.approx(is_said, abs=2.0)  # the line itself has a width
        if folder := os.environ.get("PERPO_PICTURES"):
            page.photograph(Path(folder) / "view.png", HEIGHT)
            assert (Path(folder) / "view.png").stat().st_size < MAX_PICTURE_BYTES
        press(page, "j")
        press(page, "j")
        second = "document.activeElement === document.querySelectorAll('article.item')[1]"
        assert page.run(second)
        press(page, "o")
        wait_to_be_at(page, "location.pathname.includes('/sample/')")
        assert "Answers to learn from" in page.read_text()
        press(page, "u")
        wait_to_be_at(page, "location.search.includes('widest')")
        press(page, "n")
        wait_to_be_at(page, "location.search.includes('page=2')")
        press(page, "/")
        assert page.run("document.activeElement.name") == "q"
        page.send("Input.insertText", text="j2n")  # in a field keys are letters
        assert page.run("document.activeElement.value") == "j2n"
        press(page, "Escape")
        press(page, "4")
        wait_to_be_at(page, "location.pathname.endsWith('/predictions')")
        page.choose("better")
        wait_to_be_at(page, "location.search === '?change=better'")
        assert not page.run("window.violations")


def test_hostile_rows_do_nothing_and_a_phone_shows_all_of_them(page: Page, tmp_path: Path) -> None:
    store, _ = build_store(tmp_path / "store")
    with viewing(store.root) as (_, url):
        for tab in ("lists", "samples", "dropped", "predictions"):
            open_page(page, url.replace("/lists", f"/{tab}"))
            page.wait_for(LOADED)
            assert not page.run("window.violations"), "nothing was even tried"
            assert page.run("document.querySelectorAll('img, script:not([src])').length") == 0
        page.send("Emulation.setDeviceMetricsOverride", width=PHONE_PX, height=800,
                  deviceScaleFactor=1, mobile=True)  # fmt: skip
        for tab in ("lists", "samples", "dropped", "predictions"):
            open_page(page, url.replace("/lists", f"/{tab}"))
            assert page.run(OVERFLOW) <= 0, tab
