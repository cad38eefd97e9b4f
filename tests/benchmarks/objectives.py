"""`make bench-objectives`: the default refresh under each objective, in one store.

Samples, answers, scores and lists are made once; of an objective that asks for others (p3o) those
as well. Each training starts from the built-in policy, and nothing is promoted. A row says what the
trained policy gained on the test split, with its 95% interval, and what training cost: seconds of
an optimiser step, relative to `perpo`'s in the same run, and the most memory the process held. The
store is kept, so that the same command goes on after a kill; `--store` says where. The last line is
one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from perpo_core.store.store import Store
from schemas.artifact import Checkpoint, EvalReport, Metric, Promotion
from schemas.base import StageName, TaskName
from schemas.run import RunRecord
from tests.flows.whole import load_latest, run_perpo

DEFAULT_CONFIG = Path("infra/configs/default.toml")
YARDSTICK = "perpo"
WITH_GAINS: Mapping[str, tuple[str, ...]] = {
    YARDSTICK: (),
    "rosepo": ("train.objective=rosepo", "score.grounding={ reward = { iou = 1.0, giou = 0.0 } }"),
    "degree_weight": ("train.degree_weight=0.5", "train.degree_learning_rate=0.003"),
    "tis_dpo": ("train.objective=tis_dpo", "contrast.by=dpo"),
    "p3o": (
        "train.objective=p3o", "train.nll_weight=0", "generate.temperature=1",
        "lists.drop_duplicates=false", "lists.list_size=16",
    ),
}  # fmt: skip
"""Name -> what is set besides the configuration. A term's name is `perpo` with that term."""
COST_ALONE: Mapping[str, tuple[str, ...]] = {
    **{name: (f"train.objective={name}",) for name in
       ("dpo", "plackett_luce", "lipo_lambda", "rpo", "sdpo", "mdpo")},
    "mrpo": ("train.objective=mrpo", 'train.extra_references=["perpo_core/policy/builtin"]'),
    "sft": ("train.objective=sft", "train.nll_weight=0"),
    "conditional_weight": ("train.conditional_weight=1",),
    "anchor_weight": ("train.anchor_weight=1",),
}  # fmt: skip
SETTINGS = {**WITH_GAINS, **COST_ALONE}
SMALL = (
    "source.train={ grounding = 384, ocr = 64, counting = 96 }",
    "source.selection={ grounding = 8, ocr = 8, counting = 8 }",
    "source.validation={ grounding = 8, ocr = 8, counting = 8 }",
    "source.test={ grounding = 8, ocr = 8, counting = 8 }",
    "train.eval_prompts=8", "train.eval_every_steps=1000",
)  # fmt: skip
"""Few lists, and next to nothing to measure gains on: cost alone."""
SHOWN: tuple[tuple[TaskName, str], ...] = (
    ("grounding", "acc_at_50"), ("grounding", "sampled_reward"),
    ("ocr", "edit_distance"), ("counting", "accuracy"),
)  # fmt: skip
STEP_TAG = "train/tokens_per_second"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG)
    parser.add_argument("--store", type=Path, default=Path("build/bench-objectives"))
    parser.add_argument("--objectives", nargs="+", choices=WITH_GAINS, default=list(WITH_GAINS))
    parser.add_argument("--cost", action="store_true", help="of all, on few lists; no gains")
    arguments = parser.parse_args()
    names, settings = (SETTINGS, SMALL) if arguments.cost else (arguments.objectives, ())
    rows = list(measure(arguments.config, arguments.store, list(names), settings))
    print("\n".join(write_costs(rows) if arguments.cost else write_table(rows)))
    print(json.dumps(rows))


def measure(
    config: Path, store: Path, names: Sequence[str], settings: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """A row for each objective, said as soon as it is known."""
    for name in names:
        own = (*SETTINGS[name], *settings, f"store={store}", f"name={name.replace('_', '-')}")
        overrides = [word for each in (*own, "promote.enabled=false") for word in ("--set", each)]
        run_perpo("refresh", config, *overrides)
        record = load_latest(store, name.replace("_", "-"))
        assert record is not None and record.status == "completed"
        row = {"objective": name, **describe(Store(store), record)}
        print(json.dumps(row), flush=True)
        yield row


def describe(store: Store, record: RunRecord) -> dict[str, Any]:
    """What a run cost and gained."""
    checkpoint = load(store, record, "train", Checkpoint)
    evaluation = load(store, record, "evaluate", EvalReport)
    decision = load(store, record, "promote", Promotion)
    contrast = record.stages.get("contrast")
    found = store.load(contrast.kind, contrast.key) if contrast else None
    peaks = [point.peak_memory_gb or 0.0 for point in checkpoint.history]
    return {
        "step_s": round(read_step_s(store, record), 3),
        "train_s": round(checkpoint.seconds, 1),
        "contrast_s": round(found.seconds, 1) if found else 0.0,
        "peak_memory_gb": round(max(peaks), 3),
        "steps": checkpoint.history[-1].step,
        "chosen_step": checkpoint.chosen_step,
        "gates": f"{sum(gate.passed for gate in decision.gates)} of {len(decision.gates)}",
        "metrics": {
            f"{task}.{metric}": evaluation.metrics[task][metric].model_dump()
            for task, metric in SHOWN
        },
    }


def load(store: Store, record: RunRecord, stage: StageName, kind: type[Any]) -> Any:
    artifact = store.load(record.stages[stage].kind, record.stages[stage].key)
    assert isinstance(artifact, kind)
    return artifact


def read_step_s(store: Store, record: RunRecord) -> float:
    """Median seconds of an optimiser step, by the times at which steps were logged.

    Measuring and saving lie between some of the steps; the median passes them over.
    """
    folder = store.root / "tensorboard" / f"{record.config.name}-{record.stages['train'].key[:12]}"
    events = EventAccumulator(str(folder)).Reload().Scalars(STEP_TAG)
    return statistics.median(
        (after.wall_time - before.wall_time) / (after.step - before.step)
        for before, after in pairwise(events)
    )


def write_table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Gains, as Markdown."""
    names = [f"{task} {metric}" for task, metric in SHOWN]
    yield f"| objective | {' | '.join(names)} | gates |"
    yield "| --- " * (len(names) + 2) + "|"
    for row in rows:
        metrics = [Metric(**each) for each in row["metrics"].values()]
        gains = [f"{m.delta:+.4f} ({m.delta_low:+.4f} to {m.delta_high:+.4f})" for m in metrics]
        cells = (f"`{row['objective']}`", *gains, row["gates"])
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield from write_costs(rows)


def write_costs(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A list's time relative to the yardstick's, where that is among them, as Markdown."""
    unit_s = next((row["step_s"] for row in rows if row["objective"] == YARDSTICK), None)
    yield "| objective | a step, s | relative | stage train, s | stage contrast, s | memory, GB |"
    yield "| --- " * 6 + "|"
    for row in rows:
        relative = f"{row['step_s'] / unit_s:.2f}" if unit_s else ""
        cells = (f"`{row['objective']}`", f"{row['step_s']:.3f}", relative, row["train_s"],
                 row["contrast_s"], f"{row['peak_memory_gb']:.2f}")  # fmt: skip
        yield f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
