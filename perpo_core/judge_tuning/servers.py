"""Whom a tuning asks: the judge, and who writes paraphrases, the same server unless told otherwise.

Both spend one budget, the judge's max_calls, and one max_concurrency.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from perpo_core.configuration.problems import find_unknown
from perpo_core.configuration.rewards import find_unfit_options
from perpo_core.perception.judging import list_outside
from perpo_core.perception.rewards.outside import JUDGE, JudgeOptions
from perpo_core.stages.outside.asking import Asking
from perpo_core.stages.outside.replies import Replies
from perpo_core.stages.outside.server import Server
from perpo_core.store.store import Store
from schemas.base import TaskName
from schemas.config import ScoreConfig

WRITER_OPTIONS = (
    "base_url", "model", "api_key_env", "timeout_s", "retries", "backoff_s", "max_tokens",
    "temperature", "extra",
)  # fmt: skip
WRITER = {"temperature": 0.9, "max_tokens": 1024, "extra": {}, "images": False}
"""ZEPO's temperature, and room for an instruction; the judge's own suit its verdicts."""
AGAIN = "give the same command again"


def find_judge(score: ScoreConfig, task: TaskName | None = None) -> tuple[TaskName, JudgeOptions]:
    """The judge to tune, of a task or the only one; raises ValueError where there is none."""
    judges = {
        name: part.options
        for name, part in list_outside(score)
        if isinstance(part.options, JudgeOptions) and task in (None, name)
    }
    if not judges:
        where = "no task of [score] has a judge" if task is None else f"score.{task} has no judge"
        raise ValueError(f'{where}; give it the reward "judge" with mode = "order"')
    comparing = {name: options for name, options in judges.items() if options.mode == "order"}
    if not comparing:
        raise ValueError(
            f'score.{next(iter(judges))}.options.judge.mode is "score": such a judge sees one '
            'answer at a time, and no place can sway it; mode = "order" compares two'
        )
    if len(comparing) > 1:
        raise ValueError(f"{' and '.join(comparing)} have judges; name one of them with --task")
    return next(iter(comparing.items()))


def build_writer(judge: JudgeOptions, given: Mapping[str, Any]) -> JudgeOptions:
    """Who writes paraphrases: the judge's server and model, with some options of its own.

    Another server gets no key of the judge's. Raises ValueError for an option that is none.
    """
    problems = [*find_unknown(("--writer",), given, WRITER_OPTIONS)]
    own = {**WRITER, **given}
    if str(given.get("base_url", judge.base_url)).rstrip("/") != judge.base_url:
        own.setdefault("api_key_env", None)
    settings = {**judge.model_dump(), **own}
    problems = problems or [*find_unfit_options(("--writer",), JUDGE.name, settings)]
    if problems:
        raise ValueError(problems[0].sentence)
    return JudgeOptions.model_validate(settings)


def open_servers(
    judge: JudgeOptions, writer: JudgeOptions, store: Store, log: Callable[[str], None]
) -> tuple[Asking, Asking]:
    """To ask the judge, and the writer; nothing is contacted yet."""
    replies, place = Replies(store), str(store.place)
    of_judge = Server(judge, place, AGAIN)
    of_writer = Server(writer, place, AGAIN, of_judge.allowance)
    return (
        Asking(of_judge, replies, f"judge {judge.model}", log),
        Asking(of_writer, replies, f"paraphrases by {writer.model}", log),
    )
