"""A comparison's page: everything is in it, links lead to the runs, and it runs and loads nothing.

The page of seven methods is built once; the comparisons are made up (comparisons.py).
"""

from __future__ import annotations

import re
from html import escape, unescape

import pytest

from perpo_core.evidence.page import build_page
from perpo_core.evidence.page.definitions import METRICS, define_metric
from perpo_core.evidence.page.words import format_p, format_settings, shorten_pair
from perpo_core.evidence.thresholds import PERCENTS
from perpo_core.perception.tasks import TASKS
from perpo_core.report.formats import format_number, format_signed
from perpo_core.stages.evaluate import list_metrics
from schemas.comparison import ComparisonCosts, ComparisonReport, Settings
from tests.perpo_core.evidence.comparisons import FAILED, LABELS, build_costs, build_report
from tests.perpo_core.report.html_page import Page

NAMES = [f"method_{number}" for number in range(8)]


@pytest.fixture(scope="module")
def report() -> ComparisonReport:
    return build_report(8)


@pytest.fixture(scope="module")
def html(report: ComparisonReport) -> str:
    return build_page(report, build_costs(report))


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def read_table(html: str, label: str) -> list[list[str]]:
    """Rows of the table in the region of that label, cells as a reader sees them."""
    region = html[html.index(f'aria-label="{label}"') :]
    region = region[: region.index("</table>")]
    rows = re.findall(r"<tr.*?</tr>", region, re.DOTALL)
    return [
        [" ".join(unescape(re.sub("<[^>]*>", " ", cell)).split())
         for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in rows
    ]  # fmt: skip


def test_it_says_the_verdicts_first(report: ComparisonReport, page: Page) -> None:
    places = [page.text.index(sentence) for sentence in report.verdicts]
    assert places == sorted(places) and len(report.verdicts) > 4
    assert places[-1] < page.text.index("What was compared") < page.text.index("Methods\n")


def test_the_first_table_has_every_number(report: ComparisonReport, html: str) -> None:
    header, start, *rows = read_table(html, "Methods")
    assert len(header) == 9 and start[:3] == ["start", "0.680", "\u2013"]
    assert [row[0] for row in rows] == list(LABELS)
    for row, method in zip(rows, report.methods, strict=True):
        reading = method.tasks["grounding"].metrics["acc_at_50"]
        found = reading.change
        assert found is not None and row[1] == format_number(reading.value)
        assert format_signed(found.delta) in row[2]
        assert f"{format_signed(found.low)} to {format_signed(found.high)}" in row[2]
        pair = next(p for p in report.pairs if {p.better, p.worse} == {"start", method.name})
        assert row[3] == format_p(pair.p_holm)
        assert row[6].split() == [format_number(value) for value in reading.per_seed]
    assert "better" in rows[5][2] and "worse" in rows[7][2] and rows[5][5].startswith("22%")
    assert rows[0][7] == "learning_rate 5e-05, beta 0.3" and rows[2][7] == "\u2013"
    assert rows[1][8] == "290 to 291"


def test_cost_stands_beside_gain(html: str) -> None:
    _, *rows = read_table(html, "Cost")
    assert rows[0][2:] == ["1 min 44 s", "1 min 26 s", "48 s", "1.48 GB", "7 min 20 s", "3 + 5"]
    assert rows[1][5:] == ["\u2013", "5 min 13 s", "2 + 5"]  # no memory is known; one failed
    assert rows[2][6:] == ["\u2013", "0 + 5"]


def test_every_number_leads_to_its_run(report: ComparisonReport, page: Page) -> None:
    links = [each["href"] for each in page.find("a")]
    ids = {each.get("id") for _, each in page.elements}
    for link in links:
        assert link is not None
        assert link[1:] in ids if link[0] == "#" else re.fullmatch(r"\.\./[^/]+/report\.html", link)
    for trial in build_costs(report).trials:
        # Beside its number, and in the list of runs.
        assert links.count(f"../{trial.run_id}/report.html") == 2
    assert all(f"#runs-{name}" in links for name in NAMES)


def test_a_seed_leads_to_the_run_of_that_seed(report: ComparisonReport, html: str) -> None:
    value = report.methods[5].tasks["grounding"].metrics["acc_at_50"].per_seed[3]
    run_id = "20261130-030000-evidence-method-5-judged-3"
    assert f'<a href="../{run_id}/report.html">{format_number(value)}</a>' in html


def test_the_start_leads_to_the_run_that_answered(report: ComparisonReport, html: str) -> None:
    run_id = "20261130-000000-evidence-method-0-start-0"
    assert f'<a href="../{run_id}/report.html">0.680</a>' in html
    costs = build_costs(report)
    judged = [trial for trial in costs.trials if trial.part != "start"]
    without = build_page(report, costs.model_copy(update={"trials": judged}))
    assert f'<a href="../{run_id.replace("start", "judged")}/report.html">0.680</a>' in without


def test_plots_have_every_pair_and_method(report: ComparisonReport, html: str) -> None:
    assert html.count('<svg class="plot"') == 2 + 3 + 2
    forests = dict(re.findall(r'<figure id="(.*?)">(.*?)</figure>', html, re.DOTALL))
    rows = re.findall(r"<text[^>]*>([^<]* \u2212 [^<]*)</text>", forests["pairs"])
    assert len(rows) == 8 * 7 / 2 and len(read_table(html, "All pairs")) == 1 + 9 * 8 / 2
    assert "PerPO \u2212 DPO best-worst" in rows
    places = [forests["against-start"].index(f">{label}<") for label in (LABELS[5], LABELS[1])]
    assert places == sorted(places)  # the best one first
    unclear = sum(not pair.is_clear for pair in report.pairs)
    assert 0 < unclear == html.count('<tr class="unclear">')


def test_all_pairs_are_in_numbers(report: ComparisonReport, html: str) -> None:
    labels = {method.name: method.label for method in (report.start, *report.methods)}
    rows = {row[0]: row[1:] for row in read_table(html, "All pairs")[1:]}
    for pair in report.pairs:
        row = rows[f"{labels[pair.better]} \u2212 {labels[pair.worse]}"]
        assert row[0] == format_signed(pair.difference.delta)
        assert row[2:4] == [format_p(pair.difference.p_value), format_p(pair.p_holm)]
        assert row[5] == ("clear" if pair.is_clear else "not told apart")


def test_the_best_of_n_says_its_n_where_the_start_has_another(report: ComparisonReport) -> None:
    methods = [
        method.model_copy(
            update={
                "tasks": {
                    task: found.model_copy(update={"best_of_n": found.best_of_n[:4]})
                    for task, found in method.tasks.items()
                }
            }
        )
        for method in report.methods
    ]
    shorter = report.model_copy(update={"methods": methods})
    text = Page(build_page(shorter, build_costs(shorter))).text
    assert "reward of the best of n samples: n is 20 of the start, 4 else" in text


def test_every_metric_and_task_is_there(report: ComparisonReport, html: str, page: Page) -> None:
    table = read_table(html, "Grounding, 2,048 test prompts")
    assert len(table) == 1 + 11 + 1 and len(table[0]) == 1 + 9
    change = report.methods[5].tasks["grounding"].metrics["mean_iou"].change
    assert change is not None and format_signed(change.delta) in table[8][7]
    assert page.text.index("Kept abilities") < page.text.index("OCR, 512 test prompts")
    edits = read_table(html, "OCR, 512 test prompts")[1]
    assert edits[0] == "edit distance less is better"
    assert "better" in edits[7] and "no clear change" in edits[9]


def test_less_of_an_error_is_better() -> None:
    report = build_report(7, judge_by="ocr.edit_distance")
    html = build_page(report, build_costs(report))
    rows = read_table(html, "Methods")
    assert "\u2212" in rows[-1][2] and "better" in rows[-1][2]
    differences = [row[1] for row in read_table(html, "All pairs")[1:]]
    assert all(each[0] == "\u2212" for each in differences)  # better minus worse
    assert differences == sorted(differences, reverse=True)  # the largest first


def test_the_sweep_names_what_was_chosen_and_what_failed(html: str, page: Page) -> None:
    rows = read_table(html, f"Sweep of {LABELS[1]}")
    assert rows[2][0] == "learning_rate 5e-05, beta 0.3" and rows[2][3] == "chosen"
    assert rows[3][1] == "\u2013" and rows[3][3] == f"failed: {' '.join(FAILED.split())}"
    assert "Nothing to choose: one setting." in page.text


def test_all_metrics_have_a_definition(page: Page) -> None:
    known = {name for task in TASKS for name in list_metrics(task)}
    known |= {f"acc_at_{percent}" for percent in PERCENTS}
    assert all(define_metric(name) for name in known)
    assert set(METRICS) <= known
    for word in ("Share of greedy answers whose IoU", "bootstrap", "false claim", "Cohen"):
        assert word in page.text


def test_it_runs_and_loads_nothing_and_foreign_words_stay_words(html: str, page: Page) -> None:
    assert not page.find("script") and not page.find("link") and not page.find("img")
    assert not re.search(r"https?:|//[a-z]|url\((?!#)|@import|\son\w+=", re.sub("<style>.*?</style>", "", html, flags=re.DOTALL))  # fmt: skip  # noqa: E501
    style = re.findall("<style>(.*?)</style>", html, re.DOTALL)
    assert "url(" not in style[0] and "@import" not in style[0]
    policy = next(each for each in page.find("meta") if each.get("http-equiv"))
    assert "default-src 'none'" in (policy["content"] or "")
    assert '<b>"quoted"' not in html and LABELS[7] in page.text
    assert escape(FAILED, quote=False) in html.replace("&#34;", '"')


def test_the_same_comparison_gives_the_same_bytes(report: ComparisonReport, html: str) -> None:
    again = ComparisonReport.model_validate_json(report.model_dump_json())
    assert build_page(again, build_costs(again)) == html


def test_what_there_is_not_is_left_out() -> None:
    report = build_report(2, seeds=1)
    bare = report.model_copy(
        update={
            "methods": [method.model_copy(update={"sweep": []}) for method in report.methods],
            "start": report.start.model_copy(update={"tasks": _only(report.start.tasks)}),
            "num_prompts": {"counting": 512}, "task": "counting",
            "judge_by": "counting.accuracy", "choose_by": "counting.greedy_reward",
        }
    )  # fmt: skip
    html = build_page(bare, ComparisonCosts(trials=[]))
    page = Page(html)
    assert "Sweep" not in page.text and "Kept abilities" not in page.text
    assert "Cost beside gain" not in page.text and "Its runs are not known." in page.text
    assert html.count('<svg class="plot"') == 3  # two forests, best of n
    assert "nothing about other seeds" in page.text


def test_more_methods_than_looks_have_numbers() -> None:
    report = build_report(10)
    text = Page(build_page(report, build_costs(report))).text
    assert "10 Method of number 9" in text and f"1 {LABELS[0]}" in text


def test_settings_have_short_names_where_these_are_theirs_alone() -> None:
    settings: Settings = {
        "train.beta": 0.3,
        "lists.size": 8,
        "generate.beta": "x",
        "train.lora": None,
    }
    assert format_settings(settings) == "train.beta 0.3, size 8, generate.beta x, lora null"


@pytest.mark.parametrize(
    ("two", "short"),
    [
        (("abcd", "efgh"), ("abcd", "efgh")),
        (("abcdefgh", "ij"), ("abcdefgh", "ij")),
        (("abcdefghijk", "lm"), ("abcdefg\u2026", "lm")),
        (("abcdefghijk", "lmnopqrst"), ("abcd\u2026", "lmno\u2026")),
    ],
)
def test_names_share_the_room(two: tuple[str, str], short: tuple[str, str]) -> None:
    assert shorten_pair(*two, 10) == short


def _only(tasks: dict) -> dict:
    return {"counting": tasks["counting"]}
