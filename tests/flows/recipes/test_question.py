"""What a person reads before they answer."""

from __future__ import annotations

from flows.recipes.approval import load_measured
from perpo_core.store.store import Store
from schemas.config import RefreshConfig
from tasks.question import describe_question
from tests.perpo_core.stores import run_toy


def test_it_names_run_gains_gates_and_report(toy_config: RefreshConfig) -> None:
    record, store = run_toy(toy_config, 1), Store(toy_config.store)
    said = describe_question(record, *load_measured(store, record), "http://127.0.0.1:1/page")
    assert "Run **toy-001** trained the policy" in said
    assert (
        "- grounding, accuracy at IoU 0.5: 0.500 \u2192 0.600, **better** (95% +0.050 to +0.150)"
    ) in said
    assert "- ocr, edit distance, lower is better: 0.200 \u2192 0.300, **worse**" in said
    assert "- gate passed: grounding" in said
    assert "Shall it be promoted? [The report](http://127.0.0.1:1/page).\n" in said
    assert "expected reward" not in said, "the form is low"
