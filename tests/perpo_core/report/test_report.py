"""The report: the JSON contract, escaping, one self-contained file, and runs that went wrong."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from perpo_core.report import write_report
from perpo_core.store.store import Store
from schemas.artifact import EvalReport
from schemas.base import STAGES, Split
from schemas.config import EvaluateConfig
from schemas.report import Report
from schemas.run import RunRecord
from schemas.sources import JsonlSource
from tests.perpo_core.report.html_page import Page
from tests.perpo_core.report.report_fixture import build_run

HOSTILE = "<script>alert(1)</script>\" onmouseover='alert(2)' <img src=x onerror=alert(3)>"
RESOURCE_ATTRIBUTES = {"src", "srcset", "href", "xlink:href", "action", "data", "poster"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, RunRecord]:
    return build_run(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def report_path(finished: tuple[Store, RunRecord]) -> Path:
    return write_report(*finished)


@pytest.fixture(scope="module")
def page(report_path: Path) -> Page:
    return Page(report_path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def content(report_path: Path) -> dict[str, Any]:
    return json.loads((report_path.parent / "report.json").read_text())


def test_report_lies_under_its_run_id_with_its_json_beside_it(
    finished: tuple[Store, RunRecord], report_path: Path
) -> None:
    store, run = finished
    assert report_path == store.root / "reports" / run.run_id / "report.html"
    assert sorted(p.name for p in report_path.parent.iterdir()) == ["report.html", "report.json"]


def test_json_keeps_its_contract(
    finished: tuple[Store, RunRecord], content: dict[str, Any]
) -> None:
    _, run = finished
    Report.model_validate(content)
    metrics = content["metrics"]
    for task, metric in [
        ("grounding", "acc_at_50"), ("grounding", "mean_iou"), ("ocr", "edit_distance"),
        ("counting", "accuracy"), ("grounding", "sampled_reward"), ("ocr", "sampled_reward"),
        ("counting", "sampled_reward"),
    ]:  # fmt: skip
        names = {"base", "trained", "delta", "delta_low", "delta_high", "n"}
        assert set(metrics[task][metric]) == names
    assert set(content["headroom_closed"]) == {"grounding", "ocr", "counting"}
    assert list(content["stages"]) == list(STAGES)
    for stage, record in run.stages.items():
        expected = record.model_dump(include={"seconds", "reused", "key", "digest"})
        assert content["stages"][stage] == expected
        counts = content["counts"][stage]
        assert counts["num_in"] == counts["num_kept"] + sum(counts["dropped"].values())
    assert content["config"]["train"]["beta"] == 0.1
    assert content["policies"]["base"] == run.policy_digest
    assert content["promotion"]["gates"]
    assert content["versions"]["pyarrow"] == pa.__version__


def test_metrics_are_those_of_the_evaluation(
    finished: tuple[Store, RunRecord], content: dict[str, Any]
) -> None:
    store, run = finished
    evaluation = store.load("evaluation", run.stages["evaluate"].key)
    assert isinstance(evaluation, EvalReport)
    measured = evaluation.metrics["grounding"]["acc_at_50"]
    assert content["metrics"]["grounding"]["acc_at_50"] == measured.model_dump()
    assert f"{measured.base:.3f}" in content["headline"]
    assert f"{measured.trained:.3f}" in content["headline"]


def test_same_run_gives_the_same_bytes(
    finished: tuple[Store, RunRecord], report_path: Path
) -> None:
    before = report_path.read_bytes()
    assert write_report(*finished).read_bytes() == before


def test_page_loads_nothing_and_runs_nothing(page: Page) -> None:
    assert not page.find("script")
    readable = re.sub(r";base64,[A-Za-z0-9+/=]*", "", page.html)
    assert not re.search(r"https?:|//[a-z]|@import|javascript:", readable)
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), f"<{tag} {name}>"
            if name in RESOURCE_ATTRIBUTES:
                loads_nothing = value and value.startswith(("data:image/", "#"))
                is_link = (tag, value) == ("a", "../trends.html")
                assert loads_nothing or is_link, f"<{tag} {name}={value}>"
    assert all(target.startswith("#") for target in re.findall(r"url\(\s*['\"]?(.)", page.html))


def test_page_forbids_scripts_and_network(page: Page) -> None:
    policies = [
        attributes["content"] or ""
        for attributes in page.find("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert len(policies) == 1
    assert "default-src 'none'" in policies[0] and "script-src" not in policies[0]
    assert "img-src data:;" in policies[0]


def test_ids_are_unique_and_links_lead_somewhere(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', page.html)
    assert {a or b for a, b in targets} <= set(ids)


def test_page_is_small_and_shows_galleries_of_the_asked_size(
    finished: tuple[Store, RunRecord], page: Page
) -> None:
    assert len(page.html) < 3_000_000
    size = finished[1].config.evaluate.gallery_size
    assert len(page.find("article", "card")) == 2 * size
    assert len(page.find("img")) == 2 * size
    for task in ("grounding", "ocr", "counting"):
        assert len(page.find("article", task)) == 2 * size / 3
    for role in ("truth", "best", "trained"):
        assert page.find("rect", role)


def test_hostile_answers_stay_text(tmp_path: Path) -> None:
    def answer(rng: np.random.Generator, row: dict[str, Any]) -> str:
        if row["task"] == "ocr":
            return row["target"]["text"][: rng.integers(3)] + HOSTILE
        return f"{rng.random():.2f} {HOSTILE}"

    def answer_sometimes_right(rng: np.random.Generator, row: dict[str, Any]) -> str:
        return str(row["target"]["count"]) if rng.random() < 0.3 else answer(rng, row)

    store, run = build_run(tmp_path, 8, 8, answer=answer_sometimes_right)
    page = Page(write_report(store, run).read_text(encoding="utf-8"))
    assert "&lt;script&gt;" in page.html and HOSTILE[:25] in page.text
    _assert_harmless(page)


def test_hostile_prompts_stay_text_in_attributes_too(tmp_path: Path) -> None:
    source = _write_jsonl(tmp_path, f'Find "it" {HOSTILE}')
    store, run = build_run(tmp_path / "store", source=source)
    page = Page(write_report(store, run).read_text(encoding="utf-8"))
    alts = [attributes["alt"] or "" for attributes in page.find("img")]
    assert alts and all(alt.endswith(HOSTILE) for alt in alts)
    _assert_harmless(page)


def _assert_harmless(page: Page) -> None:
    assert not page.find("script")
    for _, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("src", "data:").startswith("data:")  # type: ignore[union-attr]


def _write_jsonl(folder: Path, prompt: str) -> JsonlSource:
    """Twelve large images of uneven shape, turned by EXIF, each with a box."""
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    lines = []
    for index in range(12):
        name = f"{index}.jpg"
        pixels = rng.integers(0, 255, (12, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((800, 1200)).save(folder / name, exif=exif)
        split = ("train", "validation", "test")[index % 3]
        row = {"task": "grounding", "image": name, "prompt": f"{index} {prompt}", "split": split}
        lines.append(json.dumps({**row, "box": [120, 80, 600, 640], "box_format": "xyxy_pixels"}))
    (folder / "rows.jsonl").write_text("\n".join(lines))
    return JsonlSource(files=[folder / "rows.jsonl"])


def test_large_photos_are_scaled_down_and_upright(tmp_path: Path) -> None:
    store, run = build_run(tmp_path / "store", source=_write_jsonl(tmp_path, "Find it"))
    path = write_report(store, run)
    page = Page(path.read_text(encoding="utf-8"))
    assert len(page.html) < 1_500_000
    assert "aspect-ratio: 1200 / 800" in page.html
    assert set(json.loads((path.parent / "report.json").read_text())["metrics"]) == {"grounding"}


@pytest.mark.parametrize("num_done", range(len(STAGES)))
def test_failed_run_reports_what_there_is(finished: tuple[Store, RunRecord], num_done: int) -> None:
    store, run = finished
    stages = dict(list(run.stages.items())[:num_done])
    failed = run.model_copy(
        update={"run_id": "half", "status": "failed", "stages": stages, "error": "disk <full>"}
    )
    path = write_report(store, failed)
    content = Report.model_validate_json((path.parent / "report.json").read_bytes())
    page = Page(path.read_text(encoding="utf-8"))
    assert list(content.stages) == list(STAGES[:num_done])
    assert content.missing[STAGES[num_done]] == f"The run failed in {STAGES[num_done]}: disk <full>"
    assert "disk <full>" in page.text and "disk <full>" not in page.html
    if "evaluate" not in stages:
        assert content.verdict == f"Failed: stopped in {STAGES[num_done]}"
        assert "disk <full>" in content.headline
    else:
        assert content.verdict.endswith("No promotion decision.")


def test_damaged_and_remade_artifacts_are_named_not_shown(tmp_path: Path) -> None:
    store, run = build_run(tmp_path, 8, 8)
    preferences = store.load("preferences", run.stages["materialize"].key)
    assert preferences is not None
    store.paths(preferences)[0].write_bytes(b"damaged")
    checkpoint = store.load("checkpoint", run.stages["train"].key)
    assert checkpoint is not None
    store.commit(checkpoint.model_copy(update={"digest": "0" * 64}))
    shutil.rmtree(store.root / "promotion")
    path = write_report(store, run)
    missing = Report.model_validate_json((path.parent / "report.json").read_bytes()).missing
    assert "part-00000.parquet is damaged" in missing["materialize"]
    assert "made anew after this run" in missing["train"]
    assert "no longer in the store" in missing["promote"]
    text = Page(path.read_text(encoding="utf-8")).text
    assert all(reason in text for reason in missing.values())


def test_empty_validation_and_history(tmp_path: Path) -> None:
    store, run = build_run(tmp_path, 8, 8)
    for stage, empty in (
        ("train", {"history": [], "readings": []}),
        ("evaluate", {"validation": {}}),
    ):
        record = run.stages[stage]  # type: ignore[index]
        artifact = store.load(record.kind, record.key)
        assert artifact is not None
        store.commit(artifact.model_copy(update=empty))
    page = Page(write_report(store, run).read_text(encoding="utf-8"))
    assert "logged no step and measured no checkpoint" in page.text
    assert "The same metrics on the validation split" not in page.text


@pytest.mark.parametrize("split", ["selection", "validation"])
def test_a_choice_on_the_split_that_judges_is_warned_of(tmp_path: Path, split: Split) -> None:
    store, run = build_run(tmp_path, 8, 8)
    record = run.stages["train"]
    checkpoint = store.load(record.kind, record.key)
    assert checkpoint is not None
    store.commit(checkpoint.model_copy(update={"chosen_on": split}))
    text = Page(write_report(store, run).read_text(encoding="utf-8")).text
    rest = ", whose prompts no gate and no table looks at" if split == "selection" else ""
    assert f"Step 75 was chosen on the {split} split{rest}." in text
    assert f"{split.capitalize()} reward" in text
    warned = "the best of 6 on the validation split, where the gates look too" in text
    assert warned == (split == "validation")


def test_gallery_size_zero_shows_no_image(tmp_path: Path) -> None:
    evaluate = EvaluateConfig(bootstrap_resamples=100, gallery_size=0)
    store, run = build_run(tmp_path, 8, 8, evaluate=evaluate)
    page = Page(write_report(store, run).read_text(encoding="utf-8"))
    assert not page.find("img")
    assert "evaluate.gallery_size is 0." in page.text


@pytest.mark.browser
def test_browser_shows_the_page(report_path: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("neither chromium nor google-chrome is installed")
    base = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--hide-scrollbars", "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}",
    ]  # fmt: skip
    shot = tmp_path / "page.png"
    done = subprocess.run(
        [*base, f"--screenshot={shot}", "--window-size=1280,1600", report_path.as_uri()],
        capture_output=True, text=True, timeout=90, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr, done.stderr
    with Image.open(shot) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape[:2] == (1600, 1280)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50


def test_it_says_how_much_of_the_gain_needs_the_image(page: Page, content: dict[str, Any]) -> None:
    assert set(content["image_probe"]["grounding"]) == {"blank", "shuffled", "cropped"}
    assert "needs the image" in content["image_line"]
    assert content["image_line"] in page.text
    assert "Does the gain need the image?" in page.text
