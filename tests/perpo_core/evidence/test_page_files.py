"""What docs/ has of a comparison: figures as files, tables as Markdown, with the page's numbers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from perpo_core.evidence.page import build_figures, build_page, write_markdown
from schemas.comparison import ComparisonReport
from tests.perpo_core.evidence.comparisons import LABELS, build_costs, build_report

NAMES = [
    "evidence-against-start.svg", "evidence-pairs.svg", "evidence-accuracy-by-iou.svg",
    "evidence-accuracy-change-by-iou.svg", "evidence-best-of-n.svg",
]  # fmt: skip


@pytest.fixture(scope="module")
def report() -> ComparisonReport:
    return build_report(8)


@pytest.fixture(scope="module")
def figures(report: ComparisonReport) -> dict[str, str]:
    return build_figures(report)


@pytest.fixture(scope="module")
def markdown(report: ComparisonReport) -> str:
    return write_markdown(report, build_costs(report))


def test_a_figure_is_a_file_of_its_own_on_white(figures: dict[str, str]) -> None:
    assert list(figures) == NAMES
    for svg in figures.values():
        root = ElementTree.fromstring(svg)
        assert root.tag == "{http://www.w3.org/2000/svg}svg" and root[0].text
        assert 'fill="#ffffff"' in svg and "var(" not in svg and "<script" not in svg
        assert not re.findall(r"#010[0-9a-f]{3}\b", svg)  # no stand-in is left
        assert {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"} >= set(
            re.findall(r"https?:[^\"]*", svg)
        )


def test_figures_name_their_methods(figures: dict[str, str]) -> None:
    for name in NAMES[2:]:
        words = {text.text for text in ElementTree.fromstring(figures[name]).iter() if text.text}
        assert set(LABELS) <= words, name


def test_figures_are_the_same_bytes_again(
    report: ComparisonReport, figures: dict[str, str]
) -> None:
    again = ComparisonReport.model_validate_json(report.model_dump_json())
    assert build_figures(again) == figures


def test_the_markdown_has_the_page_s_numbers_and_figures(
    report: ComparisonReport, markdown: str, figures: dict[str, str]
) -> None:
    assert re.findall(r"\]\((.*?)\)", markdown) == list(figures)
    text = re.sub("<[^>]*>", " ", build_page(report, build_costs(report)))
    words = set(re.split(r"[\s,()]+", text))
    numbers = re.findall(r"[+\u2212]?\d+\.\d{3,}|\d+%|\d+ min \d\d s", markdown)
    assert len(numbers) > 500
    assert {part for number in numbers for part in number.split()} <= words


def test_foreign_words_break_no_table(markdown: str) -> None:
    assert "<b>" not in markdown and "<script>" not in markdown.replace("\\<script\\>", "")
    blocks = [block.splitlines() for block in markdown.split("\n\n") if block.startswith("| ")]
    assert len(blocks) == 6
    for lines in blocks:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
        assert len(widths) == 1
    assert "failed\\: ChildFailed" in markdown
