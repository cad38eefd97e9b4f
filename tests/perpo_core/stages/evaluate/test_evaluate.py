"""Evaluation: base against trained on the same prompts, the base's answers asked for once."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perpo_core.process.parent import run_child
from perpo_core.stages import collect, evaluate
from perpo_core.stages.generate import sampling
from perpo_core.stages.generate.engine import Answer
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.store.keys import compute_digest, compute_hash, hash_folder
from schemas.arrow import SAMPLES
from schemas.artifact import Checkpoint, EvalReport
from tests.perpo_core import scripted
from tests.perpo_core.small_store import build_context, common_fields

SOURCE = {
    "kind": "digits",
    "train": {"grounding": 1},
    "selection": {"grounding": 2, "ocr": 2},
    "validation": {"grounding": 2, "counting": 2},
    "test": {"grounding": 3, "ocr": 2, "counting": 2},
}
NUM_PROMPTS, NUM_SAMPLES = 11, 2


def commit_checkpoint(context: StageContext, folder: Path, name: str) -> Checkpoint:
    """The policy of a folder as a checkpoint; the name makes it another one by digest."""
    key = compute_hash(["checkpoint", name])
    workspace = context.store.open_workspace("checkpoint", key)
    model = workspace.folder / "model"
    shutil.copytree(folder, model, dirs_exist_ok=True)
    (model / "NAME").write_text(name)
    files = workspace.describe_tree("model")
    fields = common_fields("train", "checkpoint", 0, files) | {"key": key}
    return context.store.commit(
        Checkpoint(
            **fields | {"digest": compute_digest(files)},
            policy_digest=hash_folder(model),
            base_policy_digest=context.policy.digest,
            chosen_step=1,
            reference_difference_nats=0.0,
            history=[],
            validation=[],
        )
    )


def build_setting(
    root: Path, policy: Any, engine: str, probe_prompts: int = 0, **source: Any
) -> tuple[StageContext, Any]:
    context = build_context(
        root,
        source=SOURCE | source,
        generate={"engine": engine, "max_tokens": 8, "processes": 1},
        evaluate={
            "num_samples": NUM_SAMPLES, "bootstrap_resamples": 100, "probe_prompts": probe_prompts,
        },
    )  # fmt: skip
    context = replace(context, policy=policy)
    return context, find_or_make(context, collect).artifact


@pytest.mark.parametrize("engine", ["transformers", pytest.param("vllm", marks=pytest.mark.slow)])
def test_a_policy_against_itself_gains_nothing(tmp_path, policy, engine, monkeypatch):
    context, samples = build_setting(tmp_path, policy, engine)
    starts: list[str] = []

    def count_and_run(module: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        starts.append(module)
        return run_child(module, *args, **kwargs)

    monkeypatch.setattr(sampling, "run_child", count_and_run)
    first = commit_checkpoint(context, policy.folder, "first")
    report: EvalReport = find_or_make(context, evaluate, samples, first).artifact
    assert len(starts) == 2  # one engine for each policy
    assert set(report.metrics) == {"grounding", "ocr", "counting"}
    assert set(report.validation) == {"grounding", "counting"}
    for by_name in [*report.metrics.values(), *report.validation.values()]:
        for metric in by_name.values():
            assert metric.base == metric.trained
            assert (metric.delta, metric.delta_low, metric.delta_high) == (0, 0, 0)

    rows = pq.read_table(context.store.path(report, "predictions.parquet")).to_pylist()
    assert len(rows) == report.counts.num_kept == 2 * NUM_PROMPTS * (1 + NUM_SAMPLES)
    identity = [(row["policy"], row["sample_id"], row["index"]) for row in rows]
    assert len(set(identity)) == len(rows)
    texts = {
        name: {(r["sample_id"], r["index"]): r["text"] for r in rows if r["policy"] == name}
        for name in ("base", "trained")
    }
    assert texts["base"] == texts["trained"]
    assert {row["split"] for row in rows} == {"validation", "test"}

    # Judged in another way, the answers are those in the store: no engine starts.
    starts.clear()
    messages: list[str] = []
    settings = context.config.evaluate.model_copy(update={"bootstrap_resamples": 200})
    config = context.config.model_copy(update={"evaluate": settings})
    again = find_or_make(
        replace(context, config=config, log=messages.append), evaluate, samples, first
    )
    assert not again.reused
    assert again.artifact.digest == report.digest
    assert again.artifact.counts == report.counts, "resumed or not, it counts the same"
    assert starts == []
    assert [message.split(":")[0] for message in messages] == ["base", "trained"]
    assert find_or_make(context, evaluate, samples, first).reused


def test_what_chose_is_not_asked_again_and_decides_nothing(tmp_path, policy, asked):
    """No selection prompt reaches an engine, and other truths of theirs change no number."""

    def evaluate_with(root: Path, **changes: Any) -> EvalReport:
        context, samples = build_setting(root, policy, "transformers")
        [path] = context.store.paths(samples)
        rows = pq.read_table(path).to_pylist()
        for row in rows:
            row["target"] |= changes if row["split"] == "selection" else {}
        pq.write_table(pa.Table.from_pylist(rows, SAMPLES), path)
        checkpoint = commit_checkpoint(context, policy.folder, "trained")
        report: EvalReport = evaluate.run(context, "0" * 64, samples, checkpoint)
        wanted = {row["prompt_id"] for row in rows if row["split"] in ("validation", "test")}
        assert {prompt_id for call in asked for prompt_id in call} == wanted
        asked.clear()
        return report

    report = evaluate_with(tmp_path / "a")
    other = evaluate_with(tmp_path / "b", box=[0.0, 0.0, 1.0, 1.0], text="0", count=0)
    assert set(report.validation) == {"grounding", "counting"}
    assert (other.digest, other.metrics, other.validation) == (
        report.digest, report.metrics, report.validation,
    )  # fmt: skip


def test_unreadable_answers_are_judged_and_count_as_zero(tmp_path, policy, asked, monkeypatch):
    """The greedy answer and one of two samples say nothing: none is left out of any mean."""
    context, samples = build_setting(tmp_path, policy, "transformers")
    table = pq.read_table(context.store.paths(samples))
    truths = {row["prompt_id"]: row["target"]["count"] for row in table.to_pylist()}

    def answer(engine: scripted.ScriptedEngine, prompt: Any) -> list[Answer]:
        texts = {-1: "many", 0: str(truths[prompt.prompt_id]), 1: "many"}
        return [Answer(i, text, [1], [-0.1], "stop", 0) for i, text in texts.items()]

    monkeypatch.setattr(scripted.ScriptedEngine, "_answer", answer)
    checkpoint = commit_checkpoint(context, policy.folder, "trained")
    report: EvalReport = find_or_make(context, evaluate, samples, checkpoint).artifact
    rows = pq.read_table(context.store.path(report, "predictions.parquet")).to_pylist()
    assert len(rows) == 2 * NUM_PROMPTS * (1 + NUM_SAMPLES)
    unreadable = [row for row in rows if row["error"] is not None]
    assert {row["reward"] for row in unreadable} == {0.0}
    assert {row["index"] for row in unreadable if row["task"] == "counting"} == {-1, 1}
    expected = {"accuracy": 0.0, "greedy_reward": 0.0, "sampled_reward": 0.5, "best_of_n": 1.0}
    for metrics in (report.metrics, report.validation):
        assert {name: m.base for name, m in metrics["counting"].items()} == expected
        assert {name: m.trained for name, m in metrics["counting"].items()} == expected
        assert {metric.trained for metric in metrics["grounding"].values()} == {0.0}


def test_the_key_covers_the_question_and_the_judge(tmp_path, policy):
    context, samples = build_setting(tmp_path, policy, "vllm")
    checkpoint = commit_checkpoint(context, policy.folder, "first")

    def key_of(**sections: Any) -> str:
        config = build_context(tmp_path, **({"source": SOURCE} | sections)).config
        return evaluate.compute_key(config, policy, samples, checkpoint)

    same: list[Any] = [{"generate": {"processes": 3}}, {"evaluate": {"gallery_size": 3}},
            {"train": {"beta": 1}}, {"generate": {"num_candidates": 3}},
            {"score": {"workers": 3}}, {"evaluate": {"min_image_share": 0.9}}]  # fmt: skip
    other: list[Any] = [{"generate": {"temperature": 0.5}},
             {"generate": {"engine": "transformers"}},
             {"evaluate": {"num_samples": 3}}, {"evaluate": {"seed": 3}},
             {"evaluate": {"bootstrap_resamples": 300}}, {"evaluate": {"probe_prompts": 9}},
             {"evaluate": {"probe_prompts": 0}}, {"policy": {"box_format": "pixels"}},
             {"score": {"counting": "exact_match"}},
             {"score": {"count_reading": "words"}}]  # fmt: skip
    assert {key_of(**sections) for sections in same} == {key_of()}
    assert len({key_of(), *(key_of(**sections) for sections in other)}) == 1 + len(other)
