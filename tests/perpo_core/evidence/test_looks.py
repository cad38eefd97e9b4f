"""What a closer look shows: shares with their intervals, a dash for what nobody has."""

from __future__ import annotations

from perpo_core.evidence.page import build_page
from perpo_core.evidence.page.looks import build_look_tables
from schemas.artifact import Interval, TaskDrift
from schemas.comparison import ComparisonReport, TaskLook
from schemas.probing import ImageProbe
from tests.perpo_core.evidence.comparisons import build_costs, build_report

PROBE = ImageProbe(
    base=0.2, trained=0.21, gain=0.01, gain_low=-0.01, gain_high=0.03, base_right=0.5,
    trained_right=0.54, gain_right=0.04, gain_right_low=0.02, gain_right_high=0.06,
    needs_image=0.75, needs_image_low=0.4, needs_image_high=1.2, n=192,
)  # fmt: skip
DRIFT = TaskDrift(
    kl_nats=Interval(value=0.31, low=0.28, high=0.35),
    kl_nats_per_token=Interval(value=0.02, low=0.018, high=0.022),
    num_prompts=192, num_answers=1536, num_cut_off=0, truth_logp=None,
)  # fmt: skip


def look_at(report: ComparisonReport, *looks: TaskLook) -> ComparisonReport:
    """With a look at the first methods' grounding."""
    seen = [
        method.model_copy(update={"looks": {"grounding": look}})
        for method, look in zip(report.methods, looks, strict=False)
    ]
    return report.model_copy(update={"methods": [*seen, *report.methods[len(looks) :]]})


def test_shares_and_drift_stand_by_method_and_what_one_lacks_is_a_dash() -> None:
    report = look_at(
        build_report(3), TaskLook(image={"blank": PROBE}, drift=DRIFT), TaskLook(drift=DRIFT)
    )
    [table] = build_look_tables(report)
    rows = {(row.label, row.note): [cell.text for cell in row.cells] for row in table.rows}
    assert len(table.columns) == 2, "of the two that were looked at"
    assert rows["of it, needs the image", "against grey images"] == ["75%", "\u2013"]
    assert rows["KL from the start", "nats an answer"] == ["+0.310", "+0.310"]
    assert ("pairs in order", "with another image") not in rows, "nobody has a ranking"
    assert "40% to 120%" in build_page(report, build_costs(report))


def test_without_a_look_the_page_has_no_such_part() -> None:
    report = build_report(3)
    assert build_look_tables(report) == []
    assert 'id="looks"' not in build_page(report, build_costs(report))
