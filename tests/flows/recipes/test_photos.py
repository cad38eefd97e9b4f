"""Photos, scanned pages and lines run through to a report, without a crash or a silent drop."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows.whole import POLICY, load_report, run_perpo

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "infra" / "configs" / "photos.toml"
SAMPLES = ROOT.parent / "shared" / "samples"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"there are no sample cases in {SAMPLES}")
def test_photos_run_through_to_a_report(tmp_path: Path) -> None:
    store = tmp_path / "store"
    changes = [
        f"store={store}",
        f"policy.model={POLICY}",
        "generate.processes=1",
        "train.threads=1",
    ]
    run_perpo("refresh", CONFIG, *(word for change in changes for word in ("--set", change)))
    report = load_report(store)
    assert report["status"] == "completed" and report["missing"] == {}
    assert set(report["metrics"]) == {"grounding", "ocr"}
    files = [SAMPLES / folder / "cases.jsonl" for folder in ("grounding", "ocr", "ocr_lines")]
    num_rows = sum(len(file.read_text().splitlines()) for file in files)
    counts = report["counts"]
    collected = counts["collect"]
    assert (collected["num_in"], collected["num_kept"]) == (num_rows, num_rows)
    assert collected["dropped"] == {}
    assert counts["score"]["num_in"] == 16 * counts["generate"]["num_kept"]
    for stage, count in counts.items():
        assert count["num_in"] == count["num_kept"] + sum(count["dropped"].values()), stage
