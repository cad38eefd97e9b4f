"""The same questions with other images: shares of policies that look, and of ones that do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from perpo_core.policy.refusals import TOO_LONG, Refusal
from perpo_core.stages import evaluate
from perpo_core.stages.evaluate.scoring import score_answers
from perpo_core.stages.generate.engine import Answer, Outcome
from perpo_core.stages.outside import build_judge_of_one
from perpo_core.stages.probing import ProbedRow, make_probed_samples, read_probed
from perpo_core.stages.samples import SampleRows, list_sample_files
from perpo_core.stages.stage import StageContext, find_or_make
from schemas.artifact import EvalReport, SampleSet
from schemas.probing import WAYS
from tests.perpo_core import scripted
from tests.perpo_core.small_store import (
    build_candidate_rows,
    build_context,
    build_sample_row,
    commit_candidates,
    commit_samples,
    read_rows,
)
from tests.perpo_core.stages.evaluate.test_evaluate import build_setting, commit_checkpoint

NUM_TEST = 6
SOURCE = {"validation": {"counting": 2}, "test": {"counting": NUM_TEST}}


class Setting:
    """A store with samples, and answers of which the trained policy knows those in `known`."""

    def __init__(self, root: Path, policy: Any, patch: pytest.MonkeyPatch) -> None:
        context, self.samples = build_setting(root, policy, "transformers", 9, **SOURCE)
        score = context.config.score.model_copy(update={"counting": "exact_match"})
        config = context.config.model_copy(update={"score": score})
        self.context = replace(context, config=config)
        self.known: dict[str, str] = {}
        self.refused: set[tuple[bool, str]] = set()
        base = policy.digest

        def answer(engine: scripted.ScriptedEngine, prompt: Any) -> Outcome:
            job = engine._job
            is_trained = job.policy.digest != base
            if (is_trained, prompt.prompt_id) in self.refused:
                return Refusal(TOO_LONG, "prompt and image take 99 tokens")
            text = self.known.get(prompt.prompt_id, "many") if is_trained else "many"
            indices = range(-1 if job.request.greedy else 0, job.request.num_candidates)
            return [Answer(index, text, [1], [-0.1], "stop", 0) for index in indices]

        patch.setattr(scripted.ScriptedEngine, "_answer", answer)

    def learn_right_images(self) -> None:
        for row in read_rows(self.context.store, self.samples):
            self.known[row["prompt_id"]] = str(row["target"]["count"])

    def read_asked(self) -> list[ProbedRow]:
        probed = make_probed_samples(self.context, self.samples, 9)
        assert isinstance(probed, SampleSet)
        return read_probed(self.context.store, probed)

    def evaluate(self, name: str = "trained", **changes: Any) -> EvalReport:
        settings = self.context.config.evaluate.model_copy(update=changes)
        config = self.context.config.model_copy(update={"evaluate": settings})
        context: StageContext = replace(self.context, config=config)
        checkpoint = commit_checkpoint(context, context.policy.folder, name)
        report: EvalReport = find_or_make(context, evaluate, self.samples, checkpoint).artifact
        return report


@pytest.fixture
def setting(tmp_path, policy, asked, monkeypatch) -> Setting:
    return Setting(tmp_path, policy, monkeypatch)


def test_all_of_a_gain_needs_the_image_where_only_that_is_answered(setting):
    setting.learn_right_images()
    report = setting.evaluate()
    assert list(report.image_probe) == ["counting"]
    for way in ("blank", "cropped"):
        probe = report.image_probe["counting"][way]
        assert (probe.base, probe.trained, probe.gain, probe.n) == (0, 0, 0, NUM_TEST)
        assert (probe.base_right, probe.trained_right, probe.gain_right) == (0, 1, 1)
        assert (probe.needs_image, probe.needs_image_low, probe.needs_image_high) == (1, 1, 1)
        assert probe.dropped == {}
    # The same question about another's image is that one's own prompt: answered with its truth.
    shuffled = [row for row in setting.read_asked() if row.way == "shuffled"]
    num_right = sum(
        setting.known.get(row.prompt_id) == str(row.target["count"]) for row in shuffled
    )
    found = report.image_probe["counting"]["shuffled"]
    assert found.gain == pytest.approx(num_right / NUM_TEST) and found.gain < 0.5
    assert found.needs_image == pytest.approx(1 - num_right / NUM_TEST)

    rows = pq.read_table(setting.context.store.path(report, "probes.parquet")).to_pylist()
    assert len(rows) == 2 * len(WAYS) * NUM_TEST
    grey = [row for row in rows if row["way"] == "blank"]
    assert {(row["policy"], row["reward"], row["text"]) for row in grey} == {
        ("base", 0.0, "many"), ("trained", 0.0, "many"),
    }  # fmt: skip


def test_none_of_it_does_where_any_image_gets_the_answer(setting):
    """As of a policy that has learned which answers are likely; grey leaves it no choice."""
    setting.learn_right_images()
    for row in setting.read_asked():
        if row.way != "blank":
            setting.known[row.prompt_id] = str(row.target["count"])
    probes = setting.evaluate().image_probe["counting"]
    for way in ("shuffled", "cropped"):
        assert (probes[way].gain, probes[way].needs_image) == (1, 0)
    assert probes["blank"].needs_image == 1


def test_without_a_gain_there_is_no_share(setting):
    probes = setting.evaluate().image_probe["counting"]
    for way in WAYS:
        assert probes[way].gain_right == 0 and probes[way].needs_image is None


def test_what_one_policy_cannot_take_is_left_out_for_both(setting):
    setting.learn_right_images()
    asked = setting.read_asked()
    shuffled, cropped = (
        next(row for row in asked if row.way == way) for way in ("shuffled", "cropped")
    )
    prompt_of = {row["sample_id"]: row["prompt_id"]
                 for row in read_rows(setting.context.store, setting.samples)}  # fmt: skip
    setting.refused = {(True, shuffled.prompt_id), (False, prompt_of[cropped.sample_id])}
    refused = {prompt_id for _, prompt_id in setting.refused}
    report = setting.evaluate()
    probes = report.image_probe["counting"]
    rows = pq.read_table(setting.context.store.path(report, "probes.parquet")).to_pylist()
    assert (shuffled.sample_id, "shuffled") not in {(row["sample_id"], row["way"]) for row in rows}
    for way in WAYS:
        lost = sum(
            not refused.isdisjoint((row.prompt_id, prompt_of[row.sample_id]))
            for row in asked
            if row.way == way
        )
        assert lost and probes[way].n == NUM_TEST - lost
        assert probes[way].dropped == {"not answered by both policies": lost}
        assert probes[way].gain_right == 1


def test_the_base_is_asked_once_and_a_trained_policy_once(setting, asked):
    setting.evaluate()
    num_first = sum(len(call) for call in asked)
    asked.clear()
    again = setting.evaluate(bootstrap_resamples=200)
    assert asked == [] and again.image_probe["counting"]["shuffled"].n == NUM_TEST
    setting.evaluate("another")
    assert sum(len(call) for call in asked) * 2 == num_first, "the other policy alone"


def test_none_is_asked_for(setting, asked):
    report = setting.evaluate(probe_prompts=0)
    assert report.image_probe == {}
    assert [file.path for file in report.files] == ["predictions.parquet"]
    held_out = {row["prompt_id"] for row in read_rows(setting.context.store, setting.samples)
                if row["split"] in ("validation", "test")}  # fmt: skip
    assert {prompt_id for call in asked for prompt_id in call} == held_out


def test_boxes_are_read_in_the_frame_of_the_image_that_is_shown(tmp_path):
    """The left half of whatever is shown, stated in its pixels."""
    context = build_context(tmp_path, policy={"box_format": "pixels"})
    row = build_sample_row(1, "grounding", [0.0, 0.0, 0.5, 1.0], "test")
    samples = commit_samples(context.store, [row])
    whole = SampleRows(list_sample_files(context.store, samples))
    answers = build_candidate_rows("shown", ["[0, 0, 20, 30]"])
    candidates = commit_candidates(context.store, samples, [answers])
    judge = build_judge_of_one(context.config, context.store.place, print)
    for size, reward in (((40, 30), 1.0), ((80, 30), 0.5)):
        asked = {"shown": [row | {"width": size[0], "height": size[1]}]}
        [[(_, _, judged)]] = score_answers(context, judge, whole, asked, candidates)
        assert judged.value == pytest.approx(reward)


def test_every_image_of_a_probe_is_in_a_pack_that_it_names(setting):
    """Retention keeps what an evaluation's answers were asked of: they name the derived set."""
    report = setting.evaluate()
    store = setting.context.store
    of_probe = [parent for parent in report.parents if parent.kind == "candidates"][2:]
    parents = {
        each.key for found in of_probe for each in store.load("candidates", found.key).parents
    }
    probed = make_probed_samples(setting.context, setting.samples, 9)
    assert probed is not None and parents == {probed.key} and len(of_probe) == 2
    assert [parent.kind for parent in report.parents].count("samples") == 1
