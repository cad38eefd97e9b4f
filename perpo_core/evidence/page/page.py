"""<store>/reports/compare-NAME/report.html: what a comparison found, in one file.

Same look and same rules as a run's report: no script, nothing loaded, everything escaped, the same
report the same bytes. What a report does not have (a sweep, other tasks) is left out.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Template
from markupsafe import Markup

from perpo_core.evidence.page.cost_rows import build_cost_rows
from perpo_core.evidence.page.definitions import STATISTICS, list_definitions
from perpo_core.evidence.page.figures import build_best_of_n, list_curves, list_forests
from perpo_core.evidence.page.looks import build_look_tables
from perpo_core.evidence.page.marks import write_variables
from perpo_core.evidence.page.metrics import build_task_tables
from perpo_core.evidence.page.pairs import build_pair_rows
from perpo_core.evidence.page.runs import Runs
from perpo_core.evidence.page.sweeps import build_run_lists, build_sweeps, list_stages
from perpo_core.evidence.page.tables import build_method_rows, get_metric
from perpo_core.evidence.page.words import join_counts, plural
from perpo_core.evidence.values import name_criterion
from perpo_core.perception.tasks import LOWER_IS_BETTER
from perpo_core.report.formats import capitalise
from perpo_core.report.style import build_environment, load_style
from schemas.comparison import ComparisonCosts, ComparisonReport

FOLDER = Path(__file__).parent


def build_page(report: ComparisonReport, costs: ComparisonCosts) -> str:
    """The whole page; it links to the reports of the runs, which lie beside its folder."""
    runs = Runs.of(costs)
    main, others = build_task_tables(report)
    return _load_template().render(
        style=load_page_style(),
        report=report,
        judge=name_criterion(report.judge_by),
        chooser=name_criterion(report.choose_by),
        prompts=join_counts(report.num_prompts),
        title=f"{report.name}: {plural(len(report.methods), 'method')} against the start",
        is_lower_better=get_metric(report) in LOWER_IS_BETTER,
        methods=build_method_rows(report, runs),
        costs=build_cost_rows(report, runs) if runs.trials else [],
        forests=list_forests(report),
        pairs=build_pair_rows(report),
        curves=list_curves(report),
        main=main,
        others=others,
        other_curves=[build_best_of_n(report, table.task) for table in others],
        looks=build_look_tables(report),
        sweeps=build_sweeps(report, runs),
        stages=list_stages(runs),
        runs=build_run_lists(report, runs),
        definitions=list_definitions(report),
        statistics=STATISTICS,
        capitalise=capitalise,
    )  # fmt: skip


@cache
def load_page_style() -> Markup:
    """The reports' style sheet, the methods' colours and what only this page has."""
    own = Markup((FOLDER / "page.css").read_text(encoding="utf-8"))
    return load_style() + write_variables() + own


@cache
def _load_template() -> Template:
    return build_environment(FOLDER).get_template("page.html")
