"""`make evidence`: is the policy better, is the listwise loss the reason, and what is kept?

`perpo compare infra/configs/evidence.toml` in a store that is kept, so that the same command goes
on after a kill; the last line is one JSON object made of the comparison's report.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from perpo_core.configuration.load import load_config
from perpo_core.evidence.writing import name_folder
from perpo_core.perception.tasks import LOWER_IS_BETTER, TASKS
from schemas.comparison import ComparisonReport, MethodResult
from schemas.evidence_statistics import Difference
from tests.flows.whole import PERPO, build_env

CONFIG = Path("infra/configs/evidence.toml")
OURS = "perpo"
OTHER_METRICS = ("acc_at_30", "acc_at_70", "mean_iou")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--store", type=Path, default=Path("build/evidence"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    settings = [f"store={arguments.store}", *arguments.set]
    options = [word for setting in settings for word in ("--set", setting)]
    # A terminal shows its bars, and what it says of a failure is all there is to say.
    done = subprocess.run([PERPO, "compare", arguments.config, *options], env=build_env())
    if done.returncode:
        sys.exit(done.returncode)
    name = load_config(arguments.config, settings).name
    report = (arguments.store / name_folder(name) / "report.json").read_text()
    print(json.dumps(summarise(ComparisonReport.model_validate_json(report))))


def summarise(report: ComparisonReport) -> dict[str, Any]:
    """What is aimed at, by method and by pair."""
    ours = next((each for each in report.methods if each.name == OURS), report.methods[-1])
    headroom = ours.tasks[report.task].headroom_closed
    return {
        "results": [
            describe_method(report, each) for each in (report.start, *report.methods)
        ],
        "pairs": [
            {"better": p.better, "worse": p.worse, **describe(p.difference), "p_holm": p.p_holm}
            for p in report.pairs
        ],
        "headroom_closed": headroom and headroom.model_dump(include={"closed", "low", "high"}),
        "retention": describe_kept(report, ours),
    }  # fmt: skip


def describe_method(report: ComparisonReport, method: MethodResult) -> dict[str, Any]:
    """One entry of results; changes are against the start."""
    found = method.tasks[report.task]
    judged = found.metrics[report.judge_by.partition(".")[2]]
    return {
        "method": method.name,
        "seeds": len(judged.per_seed),
        report.judge_by.partition(".")[2]: judged.value,
        **(describe(judged.change) if judged.change else {}),
        "per_seed": judged.per_seed,
        "expected_iou": found.metrics["sampled_reward"].value,
        **{name: found.metrics[name].value for name in OTHER_METRICS if name in found.metrics},
        "best_of_n": found.best_of_n[-1],
    }


def describe_kept(report: ComparisonReport, method: MethodResult) -> dict[str, Any]:
    """Of the tasks that do not judge, how far the headline metric rose (fell, if below 0)."""
    kept = {}
    for task, found in method.tasks.items():
        name = TASKS[task].headline
        change = found.metrics[name].change
        if task != report.task and change is not None:
            sign = -1.0 if name in LOWER_IS_BETTER else 1.0
            low, high = sorted((sign * change.low, sign * change.high))
            kept[f"{task}.{name}"] = {"delta": sign * change.delta, "low": low, "high": high}
    return kept


def describe(difference: Difference) -> dict[str, float]:
    return {"delta": difference.delta, "low": difference.low, "high": difference.high}


if __name__ == "__main__":
    main()
