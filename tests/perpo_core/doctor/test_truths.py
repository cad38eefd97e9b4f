"""The truth itself as an answer: worth 1 where every convention fits, else an error."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpo_core.doctor.findings import Finding
from perpo_core.doctor.source import check_source
from perpo_core.doctor.truths import NUM_ROWS, check_truths, choose_rows
from perpo_core.perception.boxes import BOX_FORMATS, Box, Frame, parse_box
from perpo_core.perception.judging import Item, Judge
from perpo_core.perception.tasks import TASKS
from perpo_core.stages import collect
from perpo_core.stages.collect.sources.rows import SetAside, build_target
from perpo_core.stages.collect.sources.rows_source import check_samples
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.store.store import Store
from schemas.config import PolicyConfig, RefreshConfig, ScoreConfig
from schemas.run import PolicyRef
from tests.perpo_core.cases import write_source

BOXES = [[4, 3, 20, 15], [10, 10, 36, 28], [0, 0, 40, 30], [22, 2, 39, 9]]
OBJECTS = [{"total": n, "items": [{"name": f"tea {n}", "price": 1.5 * n}]} for n in range(1, 4)]
TABLES = [
    "<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>",
    "| x | y | z |\n| --- | --- | --- |\n| 7 | 8 | 9 |\n| 4 | 5 | 6 |",
]
VOTES = ["yes"] * 2 + ["no"] * 2 + ["maybe", "a dog", "two", "red", "blue", "left"]
TRUTHS: dict[str, tuple[str, list[Any]]] = {
    "grounding": ("box", [*BOXES, [BOXES[0], BOXES[3]]]),
    "ocr": ("answer", ["a line", "two\nlines", "", "thinks <think>aloud</think>"]),
    "counting": ("answer", [0, 3, 3, 12]),
    "pointing": ("box", BOXES),
    "detection": ("boxes", [[], BOXES[:1], BOXES, BOXES[2:]]),
    "vqa": ("answers", [["dog", "a dog", "puppy"], ["2", "two"], ["blue"], ["3.5"]]),
    "extraction": ("answer", OBJECTS),
    "table": ("answer", TABLES),
}


def _make_rows(task: str, truths: Sequence[Any], key: str = "") -> list[dict[str, Any]]:
    """A row a truth, each with a question of its own."""
    key = key or TRUTHS[task][0]
    return [
        {"task": task, "image": "images/0.png", "prompt": f"Question {n}?", key: truth}
        for n, truth in enumerate(truths)
    ]


def _doctor(
    folder: Path,
    rows: Sequence[Any],
    box_format: Any = "pixels",
    score: ScoreConfig | None = None,
    policy_folder: Path | None = None,
) -> list[Finding]:
    config = RefreshConfig(
        store=folder / "store",
        source=write_source(folder / "data", rows),
        policy=PolicyConfig(model="builtin", box_format=box_format),
        score=score or ScoreConfig(),
    )
    return list(check_source(config, policy_folder))


def _find(findings: Sequence[Finding], level: str) -> list[str]:
    """What is said of truths as answers."""
    words = ("as answers", "as an answer", "as much as", "learned by heart", "truths are worth")
    found = [f.what for f in findings if f.level == level and any(w in f.what for w in words)]
    return [what.removeprefix("source: ") for what in found]


# --- every task ---------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_the_truth_of_every_task_is_worth_1(tmp_path: Path, task: str) -> None:
    findings = _doctor(tmp_path, _make_rows(task, TRUTHS[task][1]))
    assert _find(findings, "error") == _find(findings, "warning") == []
    [line] = _find(findings, "ok")
    start, another, of = line.partition(", another row's ")
    # A blank page is what no answer is right about.
    nothing = "0.25" if task == "ocr" else "0.00"
    assert start == f"{task}: truths as answers are worth 1.00, no answer {nothing}"
    assert another and 0 <= float(of.split()[0]) < 1
    assert of.endswith(f"({len(TRUTHS[task][1])} rows, measure {TASKS[task].measure})")


@pytest.mark.parametrize("box_format", sorted(set(BOX_FORMATS) - {"pixels_resized"}))
@pytest.mark.parametrize("task", ["grounding", "pointing", "detection"])
def test_in_every_box_format(tmp_path: Path, task: str, box_format: str) -> None:
    findings = _doctor(tmp_path, _make_rows(task, TRUTHS[task][1]), box_format)
    assert _find(findings, "error") == _find(findings, "warning") == []
    assert len(_find(findings, "ok")) == 1


def test_a_point_is_a_truth_too(tmp_path: Path) -> None:
    rows = _make_rows("pointing", [[0, 3], [40, 30], [20, 15], [3, 29]], key="point")
    for box_format in set(BOX_FORMATS) - {"pixels_resized"}:
        findings = _doctor(tmp_path, rows, box_format)
        assert _find(findings, "error") == []
        [line] = _find(findings, "ok")
        # A cell of patch32 is wider than the circle around a point in which all is right.
        assert float(line.partition("worth ")[2].split()[0].rstrip(",")) >= 0.99


def test_pixels_that_the_policy_sees_need_the_policy(tmp_path: Path) -> None:
    rows = _make_rows("grounding", BOXES) + _make_rows("counting", [1, 2])
    said = _find(_doctor(tmp_path, rows, "pixels_resized"), "ok")
    assert said[0] == "grounding: what truths are worth needs a sound policy"
    assert said[1].startswith("counting: truths as answers are worth 1.00")


def test_the_policy_says_which_pixels_it_sees(tmp_path: Path) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    Qwen2VLImageProcessorPil(min_pixels=280 * 280, max_pixels=560 * 560).save_pretrained(tmp_path)
    source = write_source(tmp_path / "data", _make_rows("grounding", BOXES))
    rows = [row for row in check_samples(source) if not isinstance(row, SetAside)]
    policy = PolicyConfig(model="builtin", box_format="pixels_resized")
    config = RefreshConfig(store=tmp_path / "store", source=source, policy=policy)
    [found] = check_truths(config, tmp_path, rows)
    assert found.level == "ok" and "worth 0.99 (0.99 at worst), no answer 0.00" in found.what
    (tmp_path / "preprocessor_config.json").write_text('{"image_processor_type": "Clip"}')
    [found] = check_truths(config, tmp_path, rows)
    assert found.level == "error" and "only that of Qwen2-VL resizes" in found.what


def test_boxes_are_written_for_the_image_as_it_will_be(tmp_path: Path) -> None:
    rows = _make_rows("grounding", [[0, 0, 2, 2], [10, 10, 36, 28]])
    source = write_source(tmp_path / "data", rows, max_image_side=16)
    policy = PolicyConfig(model="builtin", box_format="pixels")
    config = RefreshConfig(store=tmp_path / "store", source=source, policy=policy)
    [error] = _find(list(check_source(config)), "error")
    assert 'row 1 has a truth that as an answer, "[0, 0, 1, 1]"' in error


def test_the_configured_reward_has_its_numbers_too(tmp_path: Path) -> None:
    rows = _make_rows("grounding", BOXES)
    score = ScoreConfig.model_validate(
        {"grounding": {"reward": {"giou": 0.5, "format": 0.25}, "options": {
            "format": {"pattern": r"\[.*\]"}}}}
    )  # fmt: skip
    [line] = _find(_doctor(tmp_path, rows, score=score), "ok")
    assert "measure iou); by score.grounding 0.75, -0.50, " in line


def test_votes_that_are_split_are_no_fault(tmp_path: Path) -> None:
    rows = _make_rows("vqa", [VOTES, ["yes"] * 10])
    [line] = _find(_doctor(tmp_path, rows), "ok")
    assert "worth 0.80 (0.60 at worst)" in line  # 2 of 10 said the same


# --- wrong conventions --------------------------------------------------------------------------

WRONG: dict[str, tuple[list[dict[str, Any]], Any, dict[str, Any], str]] = {
    "a box below the format's grid": (
        _make_rows("grounding", [BOXES[0], [10.1, 10.1, 10.3, 10.3]]), "norm100", {},
        'row 2 has a truth that as an answer, "{<25><34><26><34>}", is worth 0.00 by measure iou '
        "(x2 must be greater than x1 and y2 greater than y1); choose a policy.box_format that "
        "holds it, which norm100 does not",
    ),
    "a pixel in the corner, which looks like 0-1": (
        _make_rows("grounding", [[0.1, 0.1, 0.5, 0.4], [0, 0, 0.025, 1 / 30]], key="box_norm"),
        "pixels", {},
        'row 2 has a truth that as an answer, "[0, 0, 1, 1]", is worth 0.00 by measure iou (the '
        "numbers look like 0-1",
    ),
    "a point in the corner, which looks like 0-1": (
        _make_rows("pointing", [[0.025, 1 / 30]], key="point_norm"), "pixels", {},
        'row 1 has a truth that as an answer, "[1, 1]", is worth 0.00 by measure pointing',
    ),
    "a choice without its letter": (
        _make_rows("vqa", [["B"], ["a dog"]]), "pixels", {"vqa": "choice_letter"},
        'row 2 has a truth that as an answer, "a dog", is worth 0.00 by score.vqa (the truth '
        '"a dog" is no letter of a choice, such as B); choose a reward for score.vqa that reads '
        "such truths",
    ),
    "a part of a mixture that cannot read the truth": (
        _make_rows("vqa", [["B"], ["a dog"]]), "pixels",
        {"vqa": {"reward": {"anls": 1.0, "choice_letter": 0.5}}},
        'by score.vqa (choice_letter: the truth "a dog" is no letter of a choice, such as B)',
    ),
    "a short answer that is taken for a thought": (
        _make_rows("vqa", [["<think>"]]), "pixels", {}, "is worth 0.00 by measure vqa_accuracy",
    ),
    "a value that is taken for a thought": (
        _make_rows("extraction", [{"tag": "<think>"}]), "pixels", {},
        "is worth 0.00 by measure json_f1",
    ),
    "a cell that is taken for the answer": (
        _make_rows("table", ["| a | b |\n| --- | --- |\n| <answer>1</answer> | 2 |"]), "pixels", {},
        "write the truth so that an answer can say it, or remove the row",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_convention_is_an_error(tmp_path: Path, name: str) -> None:
    rows, box_format, score, words = WRONG[name]
    findings = _doctor(tmp_path, rows, box_format, ScoreConfig.model_validate(score))
    [error] = _find(findings, "error")
    assert error.startswith("data/cases.jsonl row ") and words in error
    assert _find(findings, "ok") == []


def test_many_rows_are_one_finding(tmp_path: Path) -> None:
    score = ScoreConfig.model_validate({"vqa": "choice_letter"})
    rows = _make_rows("vqa", [[f"dog {n}"] for n in range(9)])
    [error] = _find(_doctor(tmp_path, rows, score=score), "error")
    assert "(8 more like it: 2, 3, ...)" in error


# --- what is doubtful ---------------------------------------------------------------------------


def test_truths_that_are_all_the_same(tmp_path: Path) -> None:
    [warning] = _find(_doctor(tmp_path, _make_rows("counting", [4] * 10)), "warning")
    assert warning.startswith("counting: the truths of all 10 rows looked at are the same")
    assert _find(_doctor(tmp_path, _make_rows("counting", [4] * 9)), "warning") == []  # by chance


def test_a_truth_that_is_read_as_nothing(tmp_path: Path) -> None:
    rows = _make_rows("vqa", [["B"], ["?"], ["C"], ["D"]])  # VQA leaves such marks out
    [warning] = _find(_doctor(tmp_path, rows), "warning")
    assert 'row 2 gives no answer as much as its truth "?" by measure vqa_accuracy' in warning


def test_a_reward_that_does_not_look_at_the_image(tmp_path: Path) -> None:
    score = ScoreConfig.model_validate(
        {"counting": {"reward": "format", "options": {"format": {"pattern": r"\d+"}}}}
    )
    rows = _make_rows("counting", range(12))
    [warning] = _find(_doctor(tmp_path, rows, score=score), "warning")
    assert "counting: 12 of 12 rows give another row's truth as much as their own by" in warning
    assert "score.counting" in warning


def test_a_reward_for_silence(tmp_path: Path) -> None:
    score = ScoreConfig.model_validate({"ocr": {"reward": {"edit_similarity": -1.0}}})
    rows = _make_rows("ocr", ["a line", "lines of words"])
    warnings = _find(_doctor(tmp_path, rows, score=score), "warning")
    assert 'row 1 gives no answer as much as its truth "a line" by score.ocr (1 more' in warnings[0]


# --- what is looked at --------------------------------------------------------------------------


def test_rewards_from_outside_are_not_asked(tmp_path: Path) -> None:
    module = tmp_path / "mine.py"
    module.write_text("def mine(completions, **columns):\n    raise SystemExit('asked')\n")
    score = ScoreConfig.model_validate(
        {"ocr": {"reward": {"cer": 1.0, "mine:mine": 1.0}}, "reward_folder": tmp_path}
    )
    [line] = _find(_doctor(tmp_path, _make_rows("ocr", ["a", "line"]), score=score), "ok")
    assert "; by score.ocr without outside rewards 1.00, 0.00, 0.00" in line


def test_samples_in_the_store_are_held_against_other_settings(tmp_path: Path) -> None:
    source = write_source(tmp_path / "data", _make_rows("vqa", [["B"], ["a dog"]]))
    config = RefreshConfig(store=tmp_path / "store", source=source)
    policy = PolicyRef(digest="0" * 64, folder=tmp_path)
    find_or_make(StageContext(Store(tmp_path / "store"), config, policy), collect)
    findings = list(check_source(config))
    assert any("unchanged since its samples" in finding.what for finding in findings)
    assert len(_find(findings, "ok")) == 1 and not _find(findings, "error")
    changed = config.model_copy(
        update={"score": ScoreConfig.model_validate({"vqa": "choice_letter"})}
    )
    [error] = _find(list(check_source(changed)), "error")
    assert "row 2 has a truth" in error and "no letter of a choice" in error


def test_rows_are_chosen_evenly_and_none_is_held() -> None:
    def list_tasks() -> Iterator[str]:
        for number in range(200_000):
            yield "ocr" if number % 1000 else "counting"

    tracemalloc.start()
    chosen = choose_rows(list_tasks)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000
    counting = [number for number in chosen if number % 1000 == 0]
    ocr = [number for number in chosen if number % 1000]
    assert len(counting) == len(ocr) == NUM_ROWS
    assert (ocr[0], ocr[-1], counting[0], counting[-1]) == (1, 199_999, 0, 199_000)
    assert max(b - a for a, b in itertools.pairwise(ocr)) < 200_000 / (NUM_ROWS - 1) + 2


def test_few_rows_are_all_chosen() -> None:
    assert choose_rows(lambda: ["ocr"]) == [0]
    assert choose_rows(lambda: ["ocr", "table"] * 5) == list(range(10))
    assert choose_rows(lambda: []) == []


# --- what rounding may cost ---------------------------------------------------------------------

SIDES = st.tuples(st.integers(20, 3000), st.integers(20, 3000))


@pytest.mark.parametrize("box_format", BOX_FORMATS)
@settings(deadline=None)  # the first one imports scipy
@given(
    corner=st.tuples(st.floats(0, 0.9), st.floats(0, 0.9)),
    share=st.tuples(st.floats(0.02, 1), st.floats(0.02, 1)),
    size=SIDES,
)
def test_no_box_loses_more_than_its_format_rounds(
    box_format: str, corner: tuple[float, float], share: tuple[float, float], size: tuple[int, int]
) -> None:
    x2, y2 = (low + part * (1 - low) for low, part in zip(corner, share, strict=True))
    box: Box = (*corner, x2, y2)
    frame = Frame(*size, 28 * (size[0] // 28 + 1), 28 * (size[1] // 28 + 1))
    for task in ("grounding", "pointing", "detection"):
        target: Any = build_target([[box] if task == "detection" else box])
        written = TASKS[task].write_truth(target, box_format, frame)
        item = Item(written.text, task, target, frame)
        [judged] = Judge(ScoreConfig(), box_format).judge_many([item], with_measure=True)
        least = BOX_FORMATS[box_format].compute_least_iou(box, frame)
        if least > 0 and "0-1" not in (judged.error or ""):
            assert judged.measure is not None and judged.measure >= written.least - 1e-6


def test_rounding_is_not_let_pass_twice() -> None:
    """A loss beyond what the grid explains stays one: half a step an edge, not a whole box."""
    frame = Frame(100, 100)
    assert BOX_FORMATS["norm1000"].compute_least_iou((0.1, 0.1, 0.6, 0.6), frame) == pytest.approx(
        (1 - 0.001 / 0.5) ** 2
    )
    assert BOX_FORMATS["norm100"].compute_least_iou((0.5, 0.5, 0.505, 0.9), frame) == 0


@pytest.mark.parametrize("box_format", BOX_FORMATS)
def test_writing_moves_no_edge_further_than_is_said(box_format: str) -> None:
    frame = Frame(1000, 700, 1008, 700)
    convention = BOX_FORMATS[box_format]
    furthest = [0.0, 0.0]
    for k in range(400):
        box: Box = (0.1 + 0.00013 * k, 0.2 + 0.00011 * k, 0.5 + 0.00017 * k, 1 - 0.00019 * k)
        read, _ = parse_box(convention.write(box, frame), box_format, frame)
        assert read is not None
        moves = [abs(a - b) for a, b in zip(box, read, strict=True)]
        furthest = [max(furthest[0], *moves[::2]), max(furthest[1], *moves[1::2])]
    for moved, most in zip(furthest, convention.compute_shift(frame), strict=True):
        assert 0.45 * most < moved <= most + 1e-9  # nor is far more said than is so
