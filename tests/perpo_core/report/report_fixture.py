"""A small finished run in a store, for looking at its report.

Scenes, rewards, lists, metrics and the promotion are made by the real stages; only the answers and
the training curves are simulated, since those would need a model. Run as a module to look at one:

    python -m tests.perpo_core.report.report_fixture FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from perpo_core.perception.boxes import BOX_FORMATS, Frame
from perpo_core.perception.judging import Item, Judge
from perpo_core.report import write_report
from perpo_core.stages import collect, evaluate, materialize, promote, score
from perpo_core.stages.evaluate.metrics import compute_metrics
from perpo_core.stages.evaluate.probe import compute_probe, read_right
from perpo_core.stages.probing import ProbedRow
from perpo_core.stages.samples import SAMPLE_COLUMNS
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.store.atomic import write_atomic
from perpo_core.store.keys import compute_candidate_hash, compute_digest, compute_hash
from perpo_core.store.provenance import as_parents, describe_producer
from perpo_core.store.store import Store
from perpo_core.store.workspace import describe_file
from schemas.arrow import CANDIDATES, PREDICTIONS
from schemas.artifact import (
    AnyArtifact,
    CandidateSet,
    Checkpoint,
    Counts,
    EvalReport,
    FileRef,
    RewardPoint,
    SampleSet,
    TrainPoint,
)
from schemas.config import EvaluateConfig, GenerateConfig, RefreshConfig
from schemas.probing import WAYS
from schemas.run import PolicyRef, RunRecord, StageRecord
from schemas.sources import DigitsSource

STARTED_AT = datetime(2025, 3, 14, 9, 26, tzinfo=UTC)
POLICY = compute_hash("base policy")
TRAINED = compute_hash("trained policy")
NUM_CANDIDATES = 16
SECONDS = {"generate": 212.0, "train": 431.0, "evaluate": 148.0}
Answerer = Callable[[np.random.Generator, dict[str, Any]], str]


def build_config(store: Path, num_train: int, num_test: int, **sections: Any) -> RefreshConfig:
    """`num_train` training and `num_test` test prompts of grounding, half as many of the others."""
    source = DigitsSource(
        train={"grounding": num_train, "ocr": num_train // 2, "counting": num_train // 2},
        selection={"grounding": 4, "ocr": 4, "counting": 4},
        validation={"grounding": num_test, "ocr": num_test // 2, "counting": num_test // 2},
        test={"grounding": num_test, "ocr": num_test // 2, "counting": num_test // 2},
    )
    settings = {
        "source": source,
        "generate": GenerateConfig(num_candidates=NUM_CANDIDATES),
        "evaluate": EvaluateConfig(bootstrap_resamples=200),
        **sections,
    }
    return RefreshConfig(name="digits", store=store, **settings)


def build_run(
    root: Path,
    num_train: int = 24,
    num_test: int = 24,
    answer: Answerer | None = None,
    **sections: Any,
) -> tuple[Store, RunRecord]:
    """A store with every artifact of one run, and the run's record.

    `answer` replaces the simulated policy. Other keywords are sections of the configuration.
    """
    store = Store(root)
    config = build_config(root, num_train, num_test, **sections)
    context = StageContext(store, config, PolicyRef(digest=POLICY, folder=root))
    answers = answer or (lambda rng, row: simulate_answer(rng, row, noise=1.0))
    better = answer or (lambda rng, row: simulate_answer(rng, row, noise=0.6))
    samples = find_or_make(context, collect).artifact
    rows = load_rows(store, samples)
    candidates = store.commit(build_candidates(store, config, samples, rows, answers))
    scores = find_or_make(context, score, samples, candidates).artifact
    preferences = find_or_make(context, materialize, samples, candidates, scores).artifact
    checkpoint = store.commit(build_checkpoint(store, samples, preferences))
    predictions = build_predictions(config, rows, {"base": answers, "trained": better})
    evaluation = store.commit(build_evaluation(store, config, samples, checkpoint, predictions))
    promotion = find_or_make(context, promote, evaluation, checkpoint).artifact
    made = [samples, candidates, scores, preferences, checkpoint, evaluation, promotion]
    return store, build_record(config, root, made)


def build_record(config: RefreshConfig, root: Path, artifacts: list[AnyArtifact]) -> RunRecord:
    """The record of a completed run of these artifacts; the first stage counts as reused."""
    return RunRecord(
        run_id="digits-20250314-092600",
        status="completed",
        config=config,
        policy_digest=POLICY,
        policy_folder=root,
        stages={
            artifact.stage: StageRecord(
                kind=artifact.kind,
                key=artifact.key,
                digest=artifact.digest,
                reused=artifact.stage == "collect",
                seconds=SECONDS.get(artifact.stage, artifact.seconds),
            )
            for artifact in artifacts
        },
        started_at=STARTED_AT,
        ended_at=STARTED_AT + timedelta(minutes=13, seconds=47),
    )


def load_rows(store: Store, samples: SampleSet) -> list[dict[str, Any]]:
    columns = [*SAMPLE_COLUMNS, "image_id"]
    return pq.read_table(store.paths(samples), columns=columns).to_pylist()


def simulate_answer(rng: np.random.Generator, row: dict[str, Any], noise: float) -> str:
    """What a policy that learned its task, with room left, might answer."""
    target = row["target"]
    if row["task"] == "counting":
        return str(max(0, target["count"] + int(rng.choice([-1, 0, 0, 0, 0, 1]) if noise else 0)))
    if row["task"] == "ocr":
        return _garble(rng, target["text"], share=0.12)
    if rng.random() < 0.04 * noise:
        return str(rng.choice(["[0.31, 0.4", "the 7 is here", "[0.9, 0.1, 0.2, 0.1]"]))
    spread = noise * rng.choice([0.02, 0.07, 0.3], p=[0.45, 0.35, 0.2])
    x1, y1, x2, y2 = np.array(target["box"]) + rng.normal(0, spread, 4)
    corners = np.clip([min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)], 0, 1)
    box = (float(corners[0]), float(corners[1]), float(corners[2]), float(corners[3]))
    return BOX_FORMATS["norm1"].write(box, Frame(row["width"], row["height"]))


def _garble(rng: np.random.Generator, text: str, share: float) -> str:
    """Some characters replaced, some left out."""
    kept = []
    for character in text:
        draw = rng.random()
        if draw < share / 2:
            continue
        kept.append(str(rng.integers(10)) if draw < share and character.isdigit() else character)
    return "".join(kept)


def build_candidates(
    store: Store,
    config: RefreshConfig,
    samples: SampleSet,
    rows: list[dict[str, Any]],
    answer: Answerer,
) -> CandidateSet:
    """The answers of every training prompt, in one shard."""
    rng = np.random.default_rng(0)
    prompts = [row for row in rows if row["split"] == "train"]
    answers = [
        _build_candidate(row["prompt_id"], index, answer(rng, row))
        for row in prompts
        for index in range(config.generate.num_candidates)
    ]
    key = compute_hash(["candidates", samples.digest])
    workspace = store.open_workspace("candidates", key)
    file = workspace.write_part(
        "part-00000.parquet", pa.Table.from_pylist(answers, CANDIDATES), key
    )
    return CandidateSet(
        **_describe("generate", key, [file], len(answers), [samples]),
        policy_digest=POLICY,
        num_prompts=len(prompts),
        num_candidates=len(answers),
        num_tokens=sum(len(row["token_ids"]) for row in answers),
    )


def _build_candidate(prompt_id: str, index: int, text: str) -> dict[str, Any]:
    token_ids = [*text.encode(), 0]
    return {
        "prompt_id": prompt_id,
        "index": index,
        "policy_digest": POLICY,
        "candidate_hash": compute_candidate_hash(POLICY, prompt_id, token_ids),
        "text": text,
        "token_ids": token_ids,
        "token_logps": [-0.3] * len(token_ids),
        "logp": -0.3 * len(token_ids),
        "finish_reason": "stop",
        "seed": 0,
    }


def build_checkpoint(store: Store, samples: SampleSet, preferences: AnyArtifact) -> Checkpoint:
    """A checkpoint whose model is a stand-in and whose curves look like those of a real run."""
    rng = np.random.default_rng(1)
    key = compute_hash(["checkpoint", preferences.digest])
    path = store.open_workspace("checkpoint", key).folder / "model" / "config.json"
    write_atomic(path, b"{}")
    file = describe_file(path, "model/config.json")
    gains = [0.0, 0.021, 0.034, 0.041, 0.038, 0.036]
    return Checkpoint(
        **_describe("train", key, [file], preferences.counts.num_kept, [samples, preferences]),
        policy_digest=TRAINED,
        base_policy_digest=POLICY,
        chosen_step=75,
        reference_difference_nats=0.0,
        history=[_build_point(step, rng) for step in range(1, 126)],
        chosen_on="selection",
        readings=[
            RewardPoint(
                step=25 * index,
                mean_reward=0.71 + gain,
                per_task={
                    "grounding": 0.55 + 1.9 * gain,
                    "ocr": 0.86 + 0.5 * gain,
                    "counting": 0.72 + 0.6 * gain - 0.003 * index,
                },
            )
            for index, gain in enumerate(gains)
        ],
    )


def _build_point(step: int, rng: np.random.Generator) -> TrainPoint:
    progress = 1 - np.exp(-step / 40)
    noise = rng.normal(0, 1, 8)
    margin, best = 0.9 * progress + 0.15 * noise[2], 0.8 * progress + 0.3 * noise[4]
    metrics = {
        "rewards/margins": margin,
        "rewards/accuracies": np.clip(0.5 + 0.21 * progress + 0.03 * noise[3], 0, 1),
        "logps/chosen_change": best,
        "logps/rejected_change": best - 10 * margin,
        "list/ndcg": np.clip(0.82 + 0.11 * progress + 0.015 * noise[6], 0, 1),
        "list/kendall_tau": np.clip(0.4 * progress + 0.06 * noise[7], -1, 1),
        "kl": abs(1.6 * progress**2 + 0.2 * progress * noise[5]),
    }
    return TrainPoint(
        step=step,
        loss=float(0.693 - 0.09 * progress + 0.02 * noise[0]),
        grad_norm=float(abs(1.4 - 0.5 * progress + 0.3 * noise[1])),
        learning_rate=2e-4,
        metrics={name: float(value) for name, value in metrics.items()},
        tokens_per_second=5200.0,
        peak_memory_gb=3.1,
    )


def build_predictions(
    config: RefreshConfig, rows: list[dict[str, Any]], policies: dict[str, Answerer]
) -> pa.Table:
    """Greedy and sampled answers of both policies to every held-out prompt, with real rewards."""
    rng = np.random.default_rng(2)
    judge = Judge(config.score, "norm1")
    predictions = []
    for row in [row for row in rows if row["split"] in config.evaluate.splits]:
        frame = Frame(row["width"], row["height"])
        for policy, answer in policies.items():
            for index in range(-1, config.evaluate.num_samples):
                text = answer(rng, row)
                items = [Item(text, row["task"], row["target"], frame)]
                [judgement] = judge.judge_many(items, with_measure=True)
                answered = {"index": index, "text": text}
                predictions.append(evaluate.build_prediction(row, policy, answered, judgement))
    return pa.Table.from_pylist(predictions, PREDICTIONS)


def build_evaluation(
    store: Store,
    config: RefreshConfig,
    samples: SampleSet,
    checkpoint: Checkpoint,
    predictions: pa.Table,
) -> EvalReport:
    """The evaluation with the metrics that the predictions give."""
    key = compute_hash(["evaluation", checkpoint.digest])
    file = store.open_workspace("evaluation", key).write_table("predictions.parquet", predictions)
    resamples, seed = config.evaluate.bootstrap_resamples, config.evaluate.seed
    metrics, headroom_closed = compute_metrics(predictions, "test", resamples, seed)
    asked, others = build_probes(config, load_rows(store, samples))
    validation, _ = compute_metrics(predictions, "validation", resamples, seed)
    return EvalReport(
        **_describe("evaluate", key, [file], predictions.num_rows, [samples, checkpoint]),
        metrics=metrics,
        validation=validation,
        headroom_closed=headroom_closed,
        image_probe=compute_probe(asked, read_right(predictions), others, resamples, seed),
    )


def build_probes(
    config: RefreshConfig, rows: list[dict[str, Any]]
) -> tuple[list[ProbedRow], list[dict[str, Any]]]:
    """Test samples asked with other images, and what the answers would be worth: nearly nothing,
    and as little after training; with a crop now and then as much as ever."""
    rng = np.random.default_rng(3)
    judge = Judge(config.score, "norm1")
    asked, others = [], []
    for row in [row for row in rows if row["split"] == "test"]:
        named = {name: row[name] for name in ("sample_id", "image_id", "task")}
        size = row["width"], row["height"]
        for way in WAYS:
            asked.append(ProbedRow(way, prompt_id=way, size=size, target=row["target"], images=[],
                                   **named))  # fmt: skip
            text = simulate_answer(rng, row, noise=1.0)
            if way != "cropped" or rng.random() < 0.7:
                text = simulate_answer(rng, row, noise=9.0)
            for policy in ("base", "trained"):
                [judged] = judge.judge_many([Item(text, row["task"], row["target"], Frame(*size))])
                reward = judged.value + (policy == "trained") * rng.normal(0.002, 0.02)
                others.append(named | {"way": way, "policy": policy, "reward": reward})
    return asked, others


def _describe(
    stage: str, key: str, files: list[FileRef], num_rows: int, parents: list[AnyArtifact]
) -> dict[str, Any]:
    """The fields that every artifact has."""
    return {
        "stage": stage,
        "key": key,
        "digest": compute_digest(files),
        "files": files,
        "counts": Counts(num_in=num_rows, num_kept=num_rows),
        "parents": as_parents(*parents),
        "producer": describe_producer(seed=0, threads=2, engine="vllm"),
        "created_at": STARTED_AT,
        "seconds": SECONDS[stage],
    }


if __name__ == "__main__":
    built_store, built_run = build_run(Path(sys.argv[1]), num_train=400, num_test=512)
    print(write_report(built_store, built_run))
