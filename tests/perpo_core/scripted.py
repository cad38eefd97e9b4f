"""Candidates without a model: an engine whose answers follow from the prompt's seed.

`sample_here` runs the generation child in this process; run as a module, this is a child process of
its own, which kills itself after as many prompts as the environment says.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from perpo_core.policy.prompts import Prompt
from perpo_core.policy.refusals import TOO_LONG, Refusal
from perpo_core.stages.generate import child, sampling
from perpo_core.stages.generate.engine import GREEDY_INDEX, Answer, Outcome
from perpo_core.store.keys import derive_seed
from schemas.run import SamplingJob

MODULE = "tests.perpo_core.scripted"
KILL_AFTER = "SCRIPTED_KILL_AFTER"  # prompts
ASKED_FILE = "asked.jsonl"


class ScriptedEngine:
    """Counts as answers, some of a prompt equal; the same whatever prompts are beside it."""

    refused: Collection[tuple[str, str]] = ()
    """(policy digest, prompt_id) of what is too long."""

    waited_s = 0.0

    def __init__(self, job: SamplingJob) -> None:
        self._job = job
        self._asked: list[list[str]] = []

    def sample(self, prompts: Iterator[Prompt]) -> Iterator[tuple[str, Outcome]]:
        self._asked.append([])
        for prompt in prompts:
            if str(len(self._asked[-1])) == os.environ.get(KILL_AFTER):
                os.kill(os.getpid(), signal.SIGKILL)
            self._asked[-1].append(prompt.prompt_id)
            with (self._job.folder / ASKED_FILE).open("a") as file:
                file.write(json.dumps(prompt.prompt_id) + "\n")
            yield prompt.prompt_id, self._answer(prompt)

    def _answer(self, prompt: Prompt) -> Outcome:
        if (self._job.policy.digest, prompt.prompt_id) in self.refused:
            return Refusal(TOO_LONG, "prompt and image take 99 tokens")
        request = self._job.request
        seed = derive_seed(request.seed, prompt.prompt_id)
        first = GREEDY_INDEX if request.greedy else 0
        return [
            Answer(index, text, list(text.encode()), [-0.1 * len(text)] * len(text), "stop", seed)
            for index in range(first, request.num_candidates)
            for text in [str((seed + int(self._job.policy.digest[:4], 16) + index) % 3)]
        ]


def sample_here(patch: pytest.MonkeyPatch) -> list[list[str]]:
    """Make every generation child run in this process; what each engine is asked."""
    asked: list[list[str]] = []

    class Listening(ScriptedEngine):
        def __init__(self, job: SamplingJob) -> None:
            super().__init__(job)
            self._asked = asked

    def run_here(module: str, job: SamplingJob, *, on_event: Any, **options: Any) -> None:
        del module, options
        patch.setattr(child, "emit", lambda name, **fields: on_event({"event": name} | fields))
        child.make_shards(job)

    patch.setattr(sampling, "run_child", run_here)
    patch.setattr(child, "build_engine", Listening)
    return asked


def read_asked(folder: Path) -> list[str]:
    """The prompts that the engines of a workspace were asked."""
    path = folder / ASKED_FILE
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    child.build_engine = ScriptedEngine  # type: ignore[attr-defined]
    child.main()
