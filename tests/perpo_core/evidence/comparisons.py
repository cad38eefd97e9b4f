"""Comparisons made up by a fixed rule, for whatever shows them: no run stands behind them."""

from __future__ import annotations

import itertools
from math import erfc, sqrt
from typing import Literal

import numpy as np

from perpo_core.evidence.choosing import get_chosen
from perpo_core.evidence.verdicts import describe_result
from schemas.base import TaskName
from schemas.compare_config import START
from schemas.comparison import (
    ComparisonCosts,
    ComparisonReport,
    MethodResult,
    Pair,
    Reading,
    Settings,
    SweepPoint,
    TaskResult,
    TrialCost,
)
from schemas.evidence_statistics import Difference, Headroom

SEEDS, PROMPTS, RESAMPLES, LARGEST_N = 5, 2048, 10_000, 20
LABELS = (
    "SFT on the best answer", "DPO best-worst", "DPO all pairs", "Uniform listwise (gamma 0)",
    "Plackett-Luce", "PerPO", "PerPO + conditional + anchor",
    "<b>\"quoted\" & 'long'</b> $x$ label of sixty characters, or so",
)  # fmt: skip
GAINS = (0.012, 0.034, 0.036, 0.041, 0.043, 0.058, 0.061, -0.021)
OBJECTIVES = ("dpo", "perpo")
RATES = (2e-5, 5e-5, 1e-4)
FAILED = 'ChildFailed: <script>alert("train")</script> ended with 1 & no more'
BASE = {
    "grounding": {
        **{f"acc_at_{percent}": 0.86 - 0.009 * (percent - 30) for percent in range(30, 100, 10)},
        "mean_iou": 0.477, "greedy_reward": 0.477, "sampled_reward": 0.413, "best_of_n": 0.742,
    },
    "ocr": {"edit_distance": 0.062, "exact": 0.61, "greedy_reward": 0.938, "best_of_n": 0.969},
    "counting": {"accuracy": 0.877, "greedy_reward": 0.877, "best_of_n": 0.947},
}  # fmt: skip


def build_difference(delta: float, se: float = 0.006, seeds: int = SEEDS) -> Difference:
    """As a normal distribution has it."""
    p_value = max(erfc(abs(delta) / se / sqrt(2)), 2 / (RESAMPLES + 1))
    return Difference(
        delta=delta, low=delta - 1.96 * se, high=delta + 1.96 * se, p_value=p_value,
        effect_size=delta / 0.4, se=se, seeds=seeds, prompts=PROMPTS, images=512,
        resamples=RESAMPLES,
    )  # fmt: skip


def build_headroom(closed: float, room: float) -> Headroom:
    return Headroom(
        closed=closed, low=closed - 0.04, high=closed + 0.04, gain=closed * room, room=room,
        seeds=SEEDS, prompts=PROMPTS, images=512, resamples=RESAMPLES,
    )  # fmt: skip


def build_report(
    num_methods: int = 7, judge_by: str = "grounding.acc_at_50", seeds: int = SEEDS
) -> ComparisonReport:
    """Up to any number of methods: the third has no sweep, one setting of the second failed."""
    rng = np.random.default_rng(7)
    gains = [GAINS[each % len(GAINS)] + 0.002 * (each // len(GAINS)) for each in range(num_methods)]
    methods = [_build_method(rng, number, gain, seeds) for number, gain in enumerate(gains)]
    task, _, metric = judge_by.partition(".")
    report = ComparisonReport(
        name="evidence", policy_digest="a" * 64, samples_digest="b" * 64, task=task,
        judge_by=judge_by, choose_by=f"{task}.greedy_reward", num_seeds=seeds,
        num_prompts={name: PROMPTS // 4 if name != "grounding" else PROMPTS for name in BASE},
        start=_build_start(), methods=methods, pairs=[], verdicts=[],
    )  # fmt: skip
    report = report.model_copy(update={"pairs": build_pairs(report, metric)})
    return report.model_copy(update={"verdicts": list(describe_result(report))})


def build_pairs(report: ComparisonReport, metric: str) -> list[Pair]:
    """Every two, with Bonferroni's correction, which is enough for a picture."""
    values = {
        method.name: method.tasks[report.task].metrics[metric].value
        for method in (report.start, *report.methods)
    }
    names = list(itertools.combinations(values, 2))
    sign = -1 if metric in ("edit_distance",) else 1
    pairs = []
    for two in names:
        worse, better = sorted(two, key=lambda name: sign * values[name])
        difference = build_difference(values[better] - values[worse])
        p_holm = min(1.0, difference.p_value * len(names))
        pairs.append(
            Pair(better=better, worse=worse, difference=difference, p_holm=p_holm,
                 is_clear=p_holm < 0.05)
        )  # fmt: skip
    return pairs


def build_costs(report: ComparisonReport) -> ComparisonCosts:
    """A run for every seed, for every setting that did not fail, and for the start."""
    trials = []
    for place, method in enumerate(report.methods):
        tried = [point.settings for point in method.sweep if point.value is not None]
        for number, settings in enumerate(tried):
            trials.append(_build_trial(method.name, "sweep", settings, 0, number, place))
        chosen = get_chosen(method.sweep)
        for seed in range(report.num_seeds):
            trials.append(_build_trial(method.name, "judged", chosen, seed, seed, place))
    trials.append(_build_trial(report.methods[0].name, "start", {}, 0, 0, 0))
    return ComparisonCosts(trials=trials)


def _build_trial(
    method: str,
    part: Literal["sweep", "judged", "start"],
    settings: Settings,
    seed: int,
    number: int,
    place: int,
) -> TrialCost:
    return TrialCost(
        method=method, part=part, settings=settings, seed=seed,
        run_id=f"20261130-0{number}0000-evidence-{method.replace('_', '-')}-{part}-{number}",
        seconds={"collect": 3.1, "generate": 84.0, "score": 2.25, "materialize": 1.5,
                 "train": 100.0 + 10 * place + seed**2, "evaluate": 46.5 + seed},
        peak_memory_gb=None if place == 1 else 1.08 + 0.01 * place + 0.1 * seed,
    )  # fmt: skip


def _build_start() -> MethodResult:
    tasks = {
        task: TaskResult(
            metrics={name: Reading(value=v, per_seed=[v]) for name, v in metrics.items()},
            best_of_n=_build_curve(metrics, 0.0),
        )
        for task, metrics in BASE.items()
    }
    return MethodResult(name=START, label="start", settings={}, tasks=tasks)


def _build_method(rng: np.random.Generator, number: int, gain: float, seeds: int) -> MethodResult:
    sweep = _build_sweep(number)
    chosen = get_chosen(sweep)
    return MethodResult(
        name=f"method_{number}",
        label=LABELS[number] if number < len(LABELS) else f"Method of number {number}",
        settings={"train.objective": OBJECTIVES[number % 2], "train.gamma": 0.5 * number, **chosen},
        sweep=sweep,
        steps=[291, *([290] * (number == 1)), *[291] * (seeds - 1 - (number == 1))][:seeds],
        tasks={
            task: _build_task(rng, task, gain * scale, seeds)
            for task, scale in (("grounding", 1.0), ("ocr", -0.4), ("counting", 0.1))
        },
    )


def _build_task(rng: np.random.Generator, task: TaskName, gain: float, seeds: int) -> TaskResult:
    metrics = {
        name: _build_reading(value, gain * (1.4 if name == "acc_at_60" else 1.0),
                             rng.normal(0, 0.004, seeds))
        for name, value in BASE[task].items()
    }  # fmt: skip
    room = BASE[task]["best_of_n"] - BASE[task]["greedy_reward"]
    share = gain / room
    return TaskResult(
        metrics=metrics,
        best_of_n=_build_curve(BASE[task], gain),
        headroom_closed=build_headroom(share, room) if room else None,
    )


def _build_reading(before: float, gain: float, noise: np.ndarray) -> Reading:
    per_seed = [float(before + gain + each) for each in noise]
    value = float(np.mean(per_seed))
    change = build_difference(value - before, seeds=len(per_seed))
    return Reading(value=value, per_seed=per_seed, change=change)


def _build_curve(metrics: dict[str, float], gain: float) -> list[float]:
    low = metrics["greedy_reward"] - 0.05 + gain
    high = metrics["best_of_n"] + 0.3 * gain
    return [high - (high - low) * 0.82**n for n in range(LARGEST_N)]


def _build_sweep(number: int) -> list[SweepPoint]:
    if number == 2:
        return []
    points = [
        SweepPoint(
            settings={"train.learning_rate": rate, "train.beta": 0.3},
            value=0.49 + 0.004 * number - 0.01 * (each - 1) ** 2,
            is_chosen=each == 1,
        )
        for each, rate in enumerate(RATES)
    ]
    if number == 1:
        failed = points[2].model_copy(update={"value": None, "error": FAILED})
        points[2] = failed
    return points
