"""The probe: which box format the policy's answers score under, sampled and by hand."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perpo_core.doctor import probe
from perpo_core.doctor.probe import ProbeResult, describe_probe, probe_policy
from perpo_core.perception.boxes import BOX_FORMATS, Frame
from perpo_core.stages import collect
from perpo_core.stages.stage import find_or_make
from schemas.config import RefreshConfig
from tests.perpo_core.small_store import build_context, build_sample_row, commit_samples, read_rows

SOURCE = {
    "kind": "digits", "train": {"grounding": 5, "ocr": 2}, "selection": {}, "validation": {},
    "test": {},
}  # fmt: skip
LOPSIDED = [0.1, 0.2, 0.6, 0.8]  # another box with its axes swapped


def answer_in(box_format: str, monkeypatch: Any) -> None:
    """Make the policy write the true box in a format, and now and then something else."""

    def sample(context: Any, scratch: Any, samples: Any, table: Any) -> dict[str, list[str]]:
        return {
            row["prompt_id"]: [
                BOX_FORMATS[box_format].write(
                    tuple(row["target"]["box"]), Frame(row["width"], row["height"])
                ),
                "no idea",
            ]
            for row in table.to_pylist()
        }

    monkeypatch.setattr(probe, "_sample_texts", sample)


def commit_wide_images(tmp_path: Path, policy: Any, box_format: str) -> Any:
    """A context whose store already has samples: images of 200 x 100 and one box."""
    context = build_context(tmp_path, source=SOURCE, policy={"box_format": box_format})
    size = {"width": 200, "height": 100}
    rows = [build_sample_row(n, "grounding", LOPSIDED) | size for n in range(4)]
    samples = commit_samples(context.store, rows)
    return replace(context, policy=policy), samples


@pytest.mark.parametrize("written", [name for name in BOX_FORMATS if name != "pixels_resized"])
def test_the_format_the_answers_are_written_in_comes_first(tmp_path, policy, monkeypatch, written):
    context, samples = commit_wide_images(tmp_path, policy, "norm1")
    answer_in(written, monkeypatch)
    monkeypatch.setattr(
        probe, "find_or_make", lambda *args: type("Made", (), {"artifact": samples})
    )
    messages: list[str] = []
    results = probe_policy(context.config, policy, context.store, messages.append)
    assert [result.box_format for result in results if result.configured] == ["norm1"]
    assert {result.num_answers for result in results} == {8}
    best = results[0]
    assert (best.box_format, best.share_parsed) == (written, 0.5)
    assert best.mean_reward == pytest.approx(0.5, abs=0.03)
    assert [result.mean_reward for result in results] == sorted(
        (result.mean_reward for result in results), reverse=True
    )
    assert any("pixels_resized is left out" in message for message in messages)
    *lines, advice = describe_probe(results)
    assert [line.split()[0] for line in lines] == [result.box_format for result in results]
    assert sum("<- policy.box_format" in line for line in lines) == 1
    expected = "norm1 fits" if written == "norm1" else "set policy.box_format to it"
    assert expected in advice and written in advice


def test_a_policy_that_cannot_locate_is_said(tmp_path):
    results = [ProbeResult("norm1", 0.01, 0.2, 80, True), ProbeResult("pixels", 0.0, 0, 80, False)]
    assert "no box format reads these answers" in describe_probe(results)[-1]


def test_answers_are_sampled_from_grounding_training_prompts(tmp_path, policy):
    """The reference engine, in a child; nothing of it stays but the samples."""
    before = set(Path(tempfile.gettempdir()).glob("perpo-probe-*"))
    config = RefreshConfig.model_validate(
        {
            "store": tmp_path / "store",
            "source": SOURCE,
            "generate": {"engine": "transformers", "max_tokens": 4},
        }
    )
    results = probe_policy(config, policy, num_prompts=3)
    assert {result.num_answers for result in results} == {3 * (1 + probe.NUM_SAMPLES)}
    assert {result.box_format for result in results} == set(BOX_FORMATS) - {"pixels_resized"}
    assert {path.name for path in (tmp_path / "store").iterdir()} == {"samples"}
    assert set(Path(tempfile.gettempdir()).glob("perpo-probe-*")) == before


def test_a_source_without_boxes_is_refused(tmp_path, policy):
    source = SOURCE | {"train": {"ocr": 2}}
    config = RefreshConfig.model_validate({"store": tmp_path / "store", "source": source})
    with pytest.raises(ValueError, match="no prompt to train on is of a task with coordinates"):
        probe_policy(config, policy)


def test_the_samples_are_those_of_the_refresh(tmp_path, policy, monkeypatch):
    context = build_context(tmp_path, source=SOURCE)
    answer_in("norm1", monkeypatch)
    probe_policy(context.config, policy, context.store)
    made = find_or_make(replace(context, policy=policy), collect)
    assert made.reused
    assert len(read_rows(context.store, made.artifact)) == 7
