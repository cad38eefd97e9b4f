"""A tiny real pipeline: seven stages that write real files into a real store in milliseconds.

Their content depends on the configuration the real stages read (list size, beta, seed), so that
keys, reuse and resumption behave as they do for the real ones. A file named `break-STAGE` beside
the store makes that stage fail, as a user's bad input would.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from perpo_core.doctor import lengths
from perpo_core.process.parent import ChildFailed
from perpo_core.promotion.approvals import request_approval
from perpo_core.stages.promote.champion import find_champion
from perpo_core.stages.stage import StageContext
from perpo_core.store.keys import compute_digest, compute_key, hash_folder
from perpo_core.store.provenance import as_parents, describe_producer, utc_now
from schemas.arrow import CANDIDATES, PREDICTIONS, PREFERENCES, SAMPLES, SCORES, TOKEN_VALUES
from schemas.artifact import (
    CandidateSet,
    Checkpoint,
    ContrastSet,
    Counts,
    EvalReport,
    FileRef,
    Gate,
    Metric,
    PreferenceSet,
    Promotion,
    RewardPoint,
    SampleSet,
    ScoredSet,
    TrainPoint,
)
from schemas.base import StageName
from schemas.config import RefreshConfig
from schemas.run import Measured, MeasureJob, PolicyRef
from tasks.modules import STAGE_MODULES
from tests.flows.toy_child import run_toy_child

SCHEMAS = {
    "collect": SAMPLES,
    "score": SCORES,
    "materialize": PREFERENCES,
    "contrast": TOKEN_VALUES,
    "evaluate": PREDICTIONS,
}
TEMPLATE = """
{%- for message in messages %}{% for part in message.content -%}
{% if part.type == "image" %}<image>{% else %}{{ part.text }}{% endif -%}
{% endfor %}{% endfor %}"""
NUM_PROMPTS = 12
NUM_SHARDS = 6
PAUSED = "paused"
Read = Callable[[RefreshConfig], Any]


def read_beta(config: RefreshConfig) -> float:
    return config.train.beta


READS: dict[StageName, Read] = {
    "collect": lambda config: config.min_free_disk_gb,
    "generate": lambda config: config.generate.seed,
    "score": lambda config: config.score.collapse_whitespace,
    "materialize": lambda config: config.lists.list_size,
    "contrast": lambda config: config.contrast.beta,
    "train": read_beta,
    "evaluate": lambda config: config.evaluate.seed,
    "promote": lambda config: sorted(config.promote.max_loss),
}


def build_stage(name: StageName, cls: type[Any], names: tuple[str, ...], **extra: Any) -> Any:
    """A stage with the given parts, each holding the stage's key in a row."""
    kind = cls.model_fields["kind"].default

    def key_of(config: RefreshConfig, policy: PolicyRef, *parents: Any) -> str:
        asked = [READS[name](config), policy.digest if name == "generate" else None]
        return compute_key(name, 1, as_parents(*parents), asked)

    def write_part(context: StageContext, key: str, part: str) -> FileRef:
        workspace = context.open_workspace(kind, key)
        schema = SCHEMAS.get(name, CANDIDATES)
        table = schema.empty_table().replace_schema_metadata({"made of": key + part})
        return workspace.find_part(part, key) or workspace.write_part(part, table, key)

    def run(context: StageContext, key: str, *parents: Any) -> Any:
        break_if_asked(context, name)
        write_profile(context)
        files = []
        for number, part in enumerate(names):
            context.progress(number, len(names), "parts")
            files.append(write_part(context, key, part))
        context.progress(len(names), len(names), "parts")
        context.log(f"wrote {len(files)} parts of {name}")
        artifact = cls(
            stage=name,
            key=key,
            digest=compute_digest(files),
            files=files,
            counts=Counts(num_in=NUM_PROMPTS, num_kept=NUM_PROMPTS - 1, dropped={"toy": 1}),
            parents=as_parents(*parents),
            producer=describe_producer(seed=0, threads=1),
            created_at=utc_now(),
            seconds=0.0,
            attempt=context.open_workspace(kind, key).attempt,
            **extra,
        )
        return finish(context, artifact, parents) if (finish := FINISH.get(name)) else artifact

    return SimpleNamespace(KIND=kind, VERSION=1, compute_key=key_of, run=run, write_part=write_part)


def write_profile(context: StageContext) -> None:
    if context.profile is not None:
        context.profile.mkdir(parents=True)
        (context.profile / "toy.pt.trace.json").write_text("{}")


def break_if_asked(context: StageContext, name: StageName) -> None:
    """As `<store>/../break-NAME` says: child, once, interrupt, wait, pause, or else bad input.

    wait and pause last until the file is removed; a pause is noted in it. hold, spin and stop run a
    real child process that never ends (tests/flows/toy_child.py).
    """
    wish = context.store.root.parent / f"break-{name}"
    if not wish.exists():
        return
    how = wish.read_text()
    if how in ("wait", "pause"):
        if how == "pause":
            wish.write_text(PAUSED)
        while wish.exists():
            time.sleep(0.1)
        return
    if how in ("hold", "spin", "stop"):
        run_toy_child(context, how)
    if how == "once":
        wish.unlink()
    if how in ("child", "once"):
        raise ChildFailed(f"toy {name}", "crashed", wish, [])
    if how == "interrupt":
        raise KeyboardInterrupt
    raise ValueError(f"toy {name} was told to fail; remove {wish}")


def finish_train(context: StageContext, checkpoint: Any, parents: Any) -> Any:
    """A policy whose digest is that of its folder, so that it can be promoted."""
    del parents
    folder = context.open_workspace(checkpoint.kind, checkpoint.key).folder / "model"
    folder.mkdir(exist_ok=True)
    (folder / "weights").write_text(checkpoint.key)
    return checkpoint.model_copy(update={"policy_digest": hash_folder(folder)})


def finish_promote(context: StageContext, promotion: Any, parents: Any) -> Any:
    """The decision on what was trained, better than what is promoted; with approval it waits."""
    champion = find_champion(context.store, parents[1])
    decided = promotion.model_copy(
        update={
            "policy_digest": parents[1].policy_digest,
            "champion_digest": champion.policy_digest if champion else None,
        }
    )
    if context.config.promote.approval:
        request_approval(context.store, decided, context.log)
    return decided


FINISH: dict[StageName, Callable[[StageContext, Any, Any], Any]] = {
    "train": finish_train,
    "promote": finish_promote,
}


def build_score() -> Any:
    """The toy score stage can be shared out."""
    parts = tuple(f"part-{n:05}.parquet" for n in range(NUM_SHARDS))
    stage = build_stage("score", ScoredSet, parts, mean_reward={"grounding": 0.5})

    def build_scorer(context: StageContext, key: str, *parents: Any) -> Any:
        return SimpleNamespace(context=context, key=key, parents=parents)

    def score_share(scorer: Any, start: int, step: int) -> list[FileRef]:
        break_if_asked(scorer.context, "score")
        files = []
        for part in parts[start::step]:
            files.append(stage.write_part(scorer.context, scorer.key, part))
            scorer.context.progress(len(files), len(parts), "shards")
        return files

    stage.list_shards = lambda candidates: candidates.files
    stage.build_scorer, stage.score_share = build_scorer, score_share
    stage.collect_shards = lambda scorer, files: stage.run(
        scorer.context, scorer.key, *scorer.parents
    )
    return stage


METRIC = Metric(base=0.5, trained=0.6, delta=0.1, delta_low=0.05, delta_high=0.15, n=100)
WORSE = Metric(base=0.2, trained=0.3, delta=0.1, delta_low=0.05, delta_high=0.15, n=100)
METRICS = {"grounding": {"acc_at_50": METRIC, "sampled_reward": METRIC}}
POINT = TrainPoint(
    step=1, loss=0.69, grad_norm=1, learning_rate=1e-5,
    metrics={"rewards/accuracies": 0.5, "rewards/margins": 0.0, "logps/chosen_change": 0.0},
)  # fmt: skip
DIGEST = "a" * 64

TOY_STAGES: dict[StageName, Any] = {
    "collect": build_stage(
        "collect", SampleSet, ("part-00000.parquet",), per_split={"grounding/train": NUM_PROMPTS}
    ),
    "generate": build_stage(
        "generate", CandidateSet, tuple(f"part-{n:05}.parquet" for n in range(NUM_SHARDS)),
        policy_digest=DIGEST, num_prompts=NUM_PROMPTS, num_tokens=100, num_candidates=4,
    ),
    "score": build_score(),
    "materialize": build_stage(
        "materialize", PreferenceSet, ("part-00000.parquet",),
        num_lists={"grounding": 11}, mean_list_size=4,
    ),
    "contrast": build_stage(
        "contrast", ContrastSet, ("part-00000.parquet",), by="dpo", policy_digest=DIGEST
    ),
    "train": build_stage(
        "train", Checkpoint, ("model.parquet",), policy_digest=DIGEST, base_policy_digest=DIGEST,
        chosen_step=1, reference_difference_nats=0,
        history=[POINT, POINT.model_copy(update={"step": 2, "loss": 0.6})],
        chosen_on="selection",
        readings=[RewardPoint(step=1, mean_reward=0.5, per_task={"grounding": 0.5})],
    ),
    "evaluate": build_stage(
        "evaluate", EvalReport, ("predictions.parquet",),
        metrics={**METRICS, "ocr": {"edit_distance": WORSE}}, validation=METRICS,
        headroom_closed={"grounding": 0.3},
    ),
    "promote": build_stage(
        "promote", Promotion, ("decision.parquet",), promoted=True, policy_digest=DIGEST,
        gates=[Gate(task="grounding", metric="sampled_reward", rule="lower end of the gain > 0",
                    measured=0.05, passed=True)],
    ),
}  # fmt: skip


def write_policy(folder: Path, weight: float = 0.0) -> Path:
    """The smallest folder that the doctor takes for a whole policy."""
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    folder.mkdir(parents=True, exist_ok=True)
    save_file({"weight": np.full(1, weight)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "idefics3"}))
    (folder / "preprocessor_config.json").write_text("{}")
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    Tokenizer(WordLevel({"<image>": 0, "x": 1}, unk_token="x")).save(str(folder / "tokenizer.json"))
    return folder


def measure_nothing(job: MeasureJob) -> Measured:
    """Prompts and images of one token each."""
    sizes: list[Any] = [None] * len(job.sizes)
    ones = [1] * len(job.prompts)
    return Measured(prompt_tokens=ones, image_tokens=[1] * len(sizes), refusals=sizes)


def install(set_item: Callable[[dict[Any, Any], Any, Any], None]) -> None:
    """Make the tasks find the toy stages; `set_item` is monkeypatch.setitem, or dict's own.

    A toy policy has no processor that doctor could ask, and whatever it is asked fits.
    """
    set_item(vars(lengths), "measure", measure_nothing)
    for name, stage in TOY_STAGES.items():
        set_item(sys.modules, f"perpo_toy_{name}", stage)
        set_item(STAGE_MODULES, name, f"perpo_toy_{name}")


def build_command(store: Path | str, policy: Path | str) -> list[str]:
    """`perpo refresh` on toy stages, under the name toy, for a process of its own."""
    settings = (f"store={store}", f"policy.model={policy}", "name=toy")
    options = [word for setting in settings for word in ("--set", setting)]
    return [sys.executable, "-m", "tests.flows.toy", "refresh", *options]


if __name__ == "__main__":  # python -m tests.flows.toy refresh ...: the command, on toy stages
    from flows.commands.cli import app

    # As in a terminal, also where the tests run in the background of a script, which ignores it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    install(dict.__setitem__)
    app()
