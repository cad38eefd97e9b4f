"""Planted rounds, for looking at their page: gains that get smaller, answers that get more alike.

python -m tests.perpo_core.rounds.rounds_fixture FOLDER [NUMBER]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from perpo_core.perception.tasks import TASKS
from perpo_core.rounds.measure import RoundRun
from perpo_core.rounds.page import write_rounds
from perpo_core.rounds.words import compute_verdict
from perpo_core.store.keys import compute_hash
from perpo_core.store.store import Store
from schemas.artifact import Counts, Metric
from schemas.base import StageName, TaskName
from schemas.config import RefreshConfig
from schemas.evidence_statistics import Headroom
from schemas.rounds import Decision, Diversity, Round, RoundsReport, TaskOfRound
from schemas.run import RunRecord

STARTED_AT = datetime(2025, 3, 1, 2, 0, tzinfo=UTC)
TASK_NAMES: tuple[TaskName, ...] = ("grounding", "ocr", "counting")
START, BEST, SPREAD = 0.6, 0.9, 0.02
SECONDS: dict[StageName, float] = {
    "collect": 4.0, "generate": 230.0, "score": 3.5, "materialize": 3.0, "train": 510.0,
    "evaluate": 140.0, "promote": 0.2,
}  # fmt: skip


def build_metric(base: float, trained: float) -> Metric:
    delta = trained - base
    return Metric(base=base, trained=trained, delta=delta, delta_low=delta - SPREAD,
                  delta_high=delta + SPREAD, n=2048)  # fmt: skip


def build_headroom(gain: float, room: float) -> Headroom:
    closed = gain / room
    return Headroom(closed=closed, low=closed - SPREAD, high=closed + SPREAD, gain=gain, room=room,
                    seeds=1, prompts=2048, images=2048, resamples=2000)  # fmt: skip


def build_task(task: TaskName, number: int, qualities: Sequence[float]) -> TaskOfRound:
    """Round `number` of policies of these qualities, the start's first."""
    start, before, after = qualities[0], qualities[number - 1], qualities[number]

    def compare(base: float) -> dict[str, Metric]:
        headline = (1 - base, 1 - after) if task == "ocr" else (base, after)
        return {
            TASKS[task].headline: build_metric(*headline),
            "greedy_reward": build_metric(base, after),
            "sampled_reward": build_metric(base - 0.1, after - 0.08),
            "best_of_n": build_metric(BEST - 0.1 + base / 9, BEST - 0.1 + after / 9),
        }

    best_of_start = BEST - 0.1 + start / 9
    return TaskOfRound(
        headline=TASKS[task].headline,
        against_before=compare(before),
        against_start=compare(start),
        headroom_closed=(after - before) / (BEST - 0.1 + before / 9 - before),
        start_headroom=build_headroom(after - start, best_of_start - start),
        num_lists=900 - 60 * number,
        diversity=Diversity(
            num_samples=1024, num_answers=16, num_different=12 - 1.5 * number, num_judged=1024,
            equal_share=0.1 * number, reward_gap=0.6 - 0.05 * number,
            reward_difference=0.25 - 0.02 * number,
        ),
    )  # fmt: skip


def build_rounds(num: int = 3, last: Decision = "promoted") -> list[Round]:
    """The gain of every round is half of that before, and the last one may end them."""
    qualities = [START]
    for number in range(num):
        qualities.append(qualities[-1] + 0.08 / 2**number)
    digests = [compute_hash(["policy", number]) for number in range(num + 1)]
    return [
        Round(
            number=number,
            name=f"digits-r{number}",
            policy_digest=digests[number - 1],
            trained_digest=digests[number],
            decision=last if number == num else "promoted",
            reason="gate failed: <grounding>" if number == num and last != "promoted" else None,
            generate_seed=number - 1,
            train_seed=number - 1,
            num_prompts=1000,
            num_stale_prompts=250 * (number > 1),
            num_samples=4,
            lists=Counts(num_in=1000, num_kept=800, dropped={"low gap": 150, "no answer": 50}),
            tasks={task: build_task(task, number, qualities) for task in TASK_NAMES},
        )
        for number in range(1, num + 1)
    ]


def build_runs(rounds: Sequence[Round]) -> list[RoundRun]:
    return [
        RoundRun(
            each,
            RunRecord(
                run_id=f"{each.name}-20250301-02000{each.number}", status="completed",
                config=RefreshConfig(name=each.name), policy_digest=each.policy_digest,
                policy_folder=Path("policy"), started_at=STARTED_AT,
                report=Path("reports/report.html"),
            ),
            dict(SECONDS),
        )
        for each in rounds
    ]  # fmt: skip


def build_report(rounds: list[Round], num_asked: int = 3) -> RoundsReport:
    return RoundsReport(
        name="digits", num_asked=num_asked, max_policy_age=1, policy_digest=rounds[0].policy_digest,
        rounds=rounds, verdict=compute_verdict(rounds, num_asked),
    )  # fmt: skip


if __name__ == "__main__":
    built = build_rounds(int(sys.argv[2]) if len(sys.argv) > 2 else 3)
    print(write_rounds(Store(sys.argv[1]), build_report(built, len(built)), build_runs(built)))
