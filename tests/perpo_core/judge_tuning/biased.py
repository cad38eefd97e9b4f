"""A judge on loopback whose bias for the first place hangs on its instruction, and answers for it.

An instruction of style n lets the place alone decide BIAS[n] of the pairs; the others go to the
answer nearer to the truth. Style 0 is the instruction that a tuning starts from.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from perpo_core.stages.stage import StageContext
from tests.perpo_core.small_store import (
    build_candidate_rows,
    build_context,
    build_sample_row,
    commit_candidates,
    commit_samples,
)
from tests.perpo_core.stages.outside.loopback import Answered, read_question

BIAS = (1.0, 0.8, 0.0, 0.6, 0.9, 0.7)
FAIR = BIAS.index(0.0)
FIRST = "Say which answer to {question} is right. Style 0.\n"
TRUTH = 4
ANSWERS = ["1", "2", "3", "4", "5", "about four"]
NUM_SAMPLES = 12
SHOWN = re.compile(r"Answer A:\n(.*)\n\nAnswer B:\n(.*)\n")
LOSES, SILENT = 3, 5  # what paraphrase seeds give, mod 7: a placeholder is lost, or no tags


def is_for_writer(body: dict[str, Any]) -> bool:
    return [message["role"] for message in body["messages"]] == ["user"]


def answer(number: int, body: dict[str, Any]) -> Answered:
    """As judge, or as the writer of paraphrases."""
    del number
    return Answered(paraphrase(body["seed"]) if is_for_writer(body) else judge(body))


def paraphrase(seed: int) -> str:
    """Of a style and wording that the seed gives."""
    if seed % 7 == SILENT:
        return "I would rather not."
    named = "it" if seed % 7 == LOSES else "{question}"
    said = f"Tell the better answer to {named}. Style {1 + seed % 5}, wording {seed}."
    return f"<think>Hm.</think>\n<instruction>\n{said}\n</instruction>"


def judge(body: dict[str, Any]) -> str:
    style = re.search(r"Style (\d)", body["messages"][0]["content"])
    shown = SHOWN.search(read_question(body))
    assert style is not None and shown is not None
    drawn = hashlib.sha256("|".join(sorted(shown.groups())).encode()).digest()[0] / 256
    if drawn < BIAS[int(style[1])]:
        return "Better: A"
    first, second = map(measure, shown.groups())
    return "Better: tie" if first == second else f"Better: {'A' if first < second else 'B'}"


def measure(text: str) -> int:
    """Distance from the truth; what is no number is far away."""
    return abs(int(text) - TRUTH) if text.isdigit() else 9


def build_store(
    folder: Path, url: str, num_samples: int = NUM_SAMPLES, **options: Any
) -> tuple[StageContext, list[str]]:
    """A store with answers to counting questions, a judge of them in the configuration, a log."""
    folder.mkdir(exist_ok=True)
    instruction = folder / "judge.txt"
    instruction.write_text(options.pop("first", FIRST))
    options = {
        "base_url": url, "model": "m", "instruction": str(instruction), "mode": "order",
        "retries": 0, "backoff_s": 0.01, **options,
    }  # fmt: skip
    reward = {"reward": {"judge": 1.0, "count_accuracy": 0.5}, "options": {"judge": options}}
    context = build_context(folder, score={"counting": reward})
    logged: list[str] = []
    context = StageContext(context.store, context.config, context.policy, log=logged.append)
    rows = [build_sample_row(number, "counting", TRUTH) for number in range(num_samples)]
    samples = commit_samples(context.store, rows)
    shards = [build_candidate_rows(row["prompt_id"], ANSWERS) for row in rows]
    commit_candidates(context.store, samples, shards)
    return context, logged
