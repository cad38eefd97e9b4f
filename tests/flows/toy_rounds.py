"""Toy rounds with planted gains: every round closes half of what is left to 0.9.

As tests/flows/toy.py, but a policy has a quality, which training raises and evaluation measures by
real predictions, and what is sampled for training are a few rows whose diversity is known by hand.
The gate of promotion is promote.min_gain, read off the validation split.
`python -m tests.flows.toy_rounds rounds ...` is the command on them.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from perpo_core.promotion.pointer import MODEL_FOLDER, apply_promotion
from perpo_core.stages.evaluate.metrics import compute_metrics
from perpo_core.stages.promote.gates import compute_gates, decide
from perpo_core.stages.stage import StageContext
from perpo_core.store.keys import compute_digest, hash_folder
from schemas.arrow import CANDIDATES, PREDICTIONS, SCORES
from schemas.base import JUDGING_SPLIT
from schemas.config import PolicyConfig, PromoteConfig, RefreshConfig
from tests.flows import toy
from tests.flows.toy import install, write_policy

QUALITY_FILE, START, BEST = "quality", 0.3, 0.9
TEXTS = {"p0": ["a", "a", "b", "c"], "p1": ["d", "d", "d", "d"]}
REWARDS = {"p0": [1.0, 1.0, 0.0, 0.0], "p1": [0.5, 0.5, 0.5, 0.5]}


def write_start(folder: Path) -> Path:
    """A toy policy of quality START."""
    (write_policy(folder) / QUALITY_FILE).write_text(str(START))
    return folder


def read_quality(folder: Path) -> float:
    return float((folder / QUALITY_FILE).read_text())


def replace_file(context: StageContext, artifact: Any, name: str, table: pa.Table) -> Any:
    """The artifact with these rows as one of its files."""
    file = context.open_workspace(artifact.kind, artifact.key).write_table(name, table)
    files = [file if each.path == name else each for each in artifact.files]
    return artifact.model_copy(update={"files": files, "digest": compute_digest(files)})


def finish_generate(context: StageContext, candidates: Any, parents: Any) -> Any:
    del parents
    rows = [
        {"prompt_id": prompt, "index": index, "text": text, "policy_digest": context.policy.digest}
        for prompt, texts in TEXTS.items()
        for index, text in enumerate(texts)
    ]
    made = replace_file(context, candidates, candidates.files[0].path,
                        pa.Table.from_pylist(rows, schema=CANDIDATES))  # fmt: skip
    digest = context.policy.digest
    update = {"policy_digest": digest, "prompts_per_policy": {digest: 2, "b" * 64: 1}}
    return made.model_copy(update=update)


def finish_score(context: StageContext, scores: Any, parents: Any) -> Any:
    del parents
    rows = [
        {"sample_id": f"s{prompt}", "prompt_id": prompt, "index": index, "task": "grounding",
         "reward": reward}
        for prompt, rewards in REWARDS.items()
        for index, reward in enumerate(rewards)
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=SCORES)
    return replace_file(context, scores, scores.files[0].path, table)


def finish_train(context: StageContext, checkpoint: Any, parents: Any) -> Any:
    """The start policy's folder with another quality, so that it can be started from."""
    del parents
    folder = context.open_workspace(checkpoint.kind, checkpoint.key).folder / MODEL_FOLDER
    shutil.copytree(context.policy.folder, folder, dirs_exist_ok=True)
    quality = read_quality(context.policy.folder)
    (folder / QUALITY_FILE).write_text(str(quality + (BEST - quality) / 2))
    (folder / "weights").write_text(checkpoint.key)
    update = {"policy_digest": hash_folder(folder), "base_policy_digest": context.policy.digest}
    return checkpoint.model_copy(update=update)


def finish_evaluate(context: StageContext, evaluation: Any, parents: Any) -> Any:
    folders = {
        "base": context.policy.folder,
        "trained": context.store.path(parents[1], MODEL_FOLDER),
    }
    rows = [
        {"sample_id": f"{split}{number}", "image_id": f"image{number}", "task": "grounding",
         "split": split, "policy": policy, "index": index, "text": "", "reward": reward,
         "measure": read_quality(folder) + spread}
        for policy, folder in folders.items()
        for split in (JUDGING_SPLIT, "test")
        for number, spread in ((0, -0.05), (1, 0.05))
        for index, reward in enumerate(answer(read_quality(folder) + spread), -1)
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=PREDICTIONS)
    metrics, headroom = compute_metrics(table, "test", 100, 1)
    made = replace_file(context, evaluation, "predictions.parquet", table)
    return made.model_copy(
        update={
            "metrics": metrics,
            "validation": compute_metrics(table, JUDGING_SPLIT, 100, 1)[0],
            "headroom_closed": headroom,
        }
    )


def answer(quality: float) -> list[float]:
    """Rewards of the greedy answer and of two samples."""
    return [quality, quality - 0.1, BEST]


def finish_promote(context: StageContext, promotion: Any, parents: Any) -> Any:
    evaluation, checkpoint = parents
    gates = compute_gates(context.config.promote, evaluation.validation)
    decided = toy.finish_promote(context, promotion, parents).model_copy(
        update={"gates": gates, "promoted": decide(gates)}
    )
    if not context.config.promote.approval:
        apply_promotion(context.store, decided, checkpoint)
    return decided


def plant(set_item: Callable[[dict[Any, Any], Any, Any], None]) -> None:
    """Make the toy stages those of planted rounds."""
    set_item(toy.READS, "train", lambda config: [config.train.beta, config.train.seed])
    set_item(toy.READS, "promote", lambda config: config.promote.min_gain)
    for stage, finish in (
        ("generate", finish_generate), ("score", finish_score), ("train", finish_train),
        ("evaluate", finish_evaluate), ("promote", finish_promote),
    ):  # fmt: skip
        set_item(toy.FINISH, stage, finish)


def build_config(root: Path, least_gain: float = 0.0, **promote: Any) -> RefreshConfig:
    """Rounds whose policy has to gain more than this on validation, in expected reward."""
    gate = {"grounding": {"sampled_reward": least_gain}}
    return RefreshConfig(
        name="toy",
        store=root / "store",
        policy=PolicyConfig(model=str(write_start(root / "policy"))),
        promote=PromoteConfig(min_gain=gate, max_loss={}, **promote),
    )


def write_config(root: Path) -> Path:
    """The same as a file."""
    path = root / "toy.toml"
    path.write_text(
        f'name = "toy"\nstore = "{root / "store"}"\n[policy]\n'
        f'model = "{write_start(root / "policy")}"\n[promote]\nmax_loss = {{}}\n'
    )
    return path


if __name__ == "__main__":
    from flows.commands.cli import app

    signal.signal(signal.SIGINT, signal.default_int_handler)
    install(dict.__setitem__)
    plant(dict.__setitem__)
    app()
