"""TEDS: the published example, PubTabNet's formula on random tables with apted, ways to write."""

from __future__ import annotations

from typing import Any

import pytest
from apted import APTED, Config
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from perpo_core.perception.rewards.base import Reward
from perpo_core.perception.rewards.teds import TEDS
from perpo_core.perception.rewards.teds_structure import TEDS_STRUCTURE
from tests.perpo_core.perception.rewards.aim import compute, get

PUBLISHED = (
    "<html><body><table><thead><tr><td><b>{0}</b></td><td><b>{1}</b></td></tr></thead><tbody>"
    "<tr><td>MACS [23]</td><td>Uses both a control library and local statistics to minimize bias"
    "</td></tr><tr><td>{2}</td><td>Designed for detecting diffusely enriched regions; for example, "
    "histone modification</td></tr><tr><td>{3}</td><td>Corrects for reference genome mappability "
    "and local statistics</td></tr><tr><td>SISSRs [25]</td><td>High resolution, precise "
    "identification of binding-site location</td></tr><tr><td>F-seq [26]</td><td>Uses kernel "
    "density estimation</td></tr></tbody></table></body></html>"
)
Row = list[tuple[str, int]]
"""What each cell says, and its colspan."""
CELL = st.tuples(st.sampled_from(["", "a", "ab", "ba", "12"]), st.sampled_from([1, 1, 2]))
ROWS = st.lists(st.lists(CELL, max_size=3), min_size=1, max_size=4)
MARKDOWN = "| item | price |\n|:---|---:|\n| tea | 4 |\n| cake \\| pie | 8.50 |"
HTML = (
    "<table><thead><tr><th>item</th><th>price</th></tr></thead><tbody><tr><td>tea</td><td>4</td>"
    "</tr><tr><td>cake | pie</td><td>8.50</td></tr></tbody></table>"
)


def test_the_published_example() -> None:
    """src/demo.ipynb of PubTabNet (Zhong et al. 2020), which prints 0.9781765018607124."""
    answer = PUBLISHED.format("Name of algori", "Notablefeatures", "SICER [15]", "PeakSEQ [24]")
    truth = PUBLISHED.format("Name of algorithm", "Notable features", "SICER [14]", "PeakSeq [24]")
    assert get(TEDS, answer, truth) == pytest.approx(0.9781765018607124, abs=1e-9)
    assert get(TEDS_STRUCTURE, answer, truth) == 1


class Costs(Config):
    """As PubTabNet's metric.py weighs nodes (tag, span, text)."""

    valuecls = float

    def rename(self, node1: Any, node2: Any) -> float:
        if node1[:2] != node2[:2]:
            return 1.0
        return float(Levenshtein.normalized_distance(node1[2], node2[2]))

    def children(self, node: Any) -> Any:
        return node[3]


def write(head: list[Row], body: list[Row]) -> str:
    def write_rows(rows: list[Row]) -> str:
        cells = ["".join(f'<td colspan="{s}">{t}</td>' for t, s in row) for row in rows]
        return "".join(f"<tr>{row}</tr>" for row in cells)

    return f"<table><thead>{write_rows(head)}</thead><tbody>{write_rows(body)}</tbody></table>"


def build(head: list[Row], body: list[Row]) -> Any:
    def build_rows(rows: list[Row]) -> list[Any]:
        return [("tr", 0, "", [("td", s, t, []) for t, s in row]) for row in rows]

    sections = [("thead", 0, "", build_rows(head)), ("tbody", 0, "", build_rows(body))]
    return ("table", 0, "", sections)


def count(rows: list[Row]) -> int:
    return 1 + sum(1 + len(row) for row in rows)


@given(ROWS, ROWS, ROWS, ROWS)
@settings(max_examples=60, deadline=None)
def test_random_tables_have_the_value_of_the_formula(
    head: list[Row], body: list[Row], true_head: list[Row], true_body: list[Row]
) -> None:
    trees = build(head, body), build(true_head, true_body)
    distance = APTED(*trees, Costs()).compute_edit_distance()
    num_nodes = max(count(head) + count(body), count(true_head) + count(true_body))
    reward = get(TEDS, write(head, body), write(true_head, true_body))
    assert reward == pytest.approx(max(0, 1 - distance / num_nodes), abs=1e-9)


@pytest.mark.parametrize(
    ("answer", "truth", "expected"),
    [
        (MARKDOWN, HTML, 1),
        (HTML, MARKDOWN, 1),
        (MARKDOWN.replace("| tea | 4 |\n", ""), MARKDOWN, 1 - 3 / 11),  # a row and two cells lack
        (MARKDOWN.replace("tea", "ten"), MARKDOWN, 1 - (1 / 3) / 11),
        (HTML.replace("<td>4", '<td colspan="2">4'), HTML, 1 - 1 / 11),
        (HTML.replace("<thead>", "").replace("</thead>", ""), HTML, 1),
        (HTML.replace("tbody>", "TBODY >").replace("<td>tea", "<TD  class=x>\n tea "), HTML, 1),
        (f"Here it is:\n```html\n{HTML}\n```\nDone.", HTML, 1),
        (f"```\n{MARKDOWN}\n```", HTML, 1),
        (f"The table:\n\n{MARKDOWN}\n\nThat is all.", HTML, 1),
        (HTML.split("<td>8.50")[0], HTML, 1 - 1 / 11),  # cut off before the last cell
        (f"<think>{HTML}</think>{MARKDOWN}", HTML, 1),
        ("<table></table>", "<table></table>", 1),
        ("<table></table>", HTML, 0),
    ],
)
def test_ways_to_write_a_table(answer: str, truth: str, expected: float) -> None:
    assert get(TEDS, answer, truth) == pytest.approx(expected, abs=1e-9)


def test_sections_count_unless_they_are_ignored() -> None:
    plain = HTML.replace("th>", "td>").replace("thead>", "tbody>").replace("</tbody><tbody>", "")
    assert get(TEDS, MARKDOWN, plain) < 1
    assert get(TEDS, MARKDOWN, plain, sections="ignored") == 1


def test_the_structure_alone_knows_no_words() -> None:
    other = HTML.replace("tea", "soup").replace("8.50", "")
    assert get(TEDS_STRUCTURE, other, HTML) == 1 > get(TEDS, other, HTML)
    assert get(TEDS_STRUCTURE, HTML.replace("<td>tea</td>", ""), HTML) == pytest.approx(1 - 1 / 11)


@pytest.mark.parametrize("reward", [TEDS, TEDS_STRUCTURE], ids=lambda reward: reward.name)
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "no tables in the answer"), ("item price", "no tables in the answer"),
        (HTML + HTML, "2 tables in the answer where exactly one was expected"),
        (f"{MARKDOWN}\n\nand\n\n{MARKDOWN}", "2 tables"),
        ("<table>" + "<tr><td>1</td></tr>" * 1_000 + "</table>", "a table of 2002 nodes"),
        (f"<think>{HTML}", "thoughts"),
    ],
)  # fmt: skip
def test_answers_without_one_table(reward: Reward, answer: str, reason: str) -> None:
    assert reason in str(compute(reward, answer, HTML).error)


def test_a_truth_without_a_table_is_named() -> None:
    assert str(compute(TEDS, HTML, "item price").error).startswith(
        'the truth "item price": no tables'
    )


PIECES = [
    "<table>", "</table>", "<tr>", "<td>", "<td rowspan='x' colspan=0>", "</td>", "<th>", "<b>",
    "<table", "|a|b|\n", "|-|-|\n", "\n", "a", "&amp;", "&#0;", "\x00", "<!-- ", "-->",
    "<?xml ?>", "<!DOCTYPE x>", "\ud800", "<thead>", "<caption>", "```\n",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join), st.booleans())
@settings(max_examples=300, deadline=None)
def test_no_text_breaks_it(answer: str, is_ignored: bool) -> None:
    options = {"sections": "ignored"} if is_ignored else {}
    for reward in (TEDS, TEDS_STRUCTURE):
        result = compute(reward, answer, HTML, **options)
        assert result.error or 0 <= (result.reward or 0) <= 1
    if compute(TEDS, answer, answer).error is None:
        assert get(TEDS, answer, answer) == pytest.approx(1)
