"""The generation child, which also writes down what vLLM is given and when it is finished."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from perpo_core.policy.prompts import Prompt
from perpo_core.stages.generate import child, vllm_engine
from perpo_core.stages.generate.engine import Outcome
from perpo_core.stages.generate.preparing import Prepared
from schemas.run import SamplingJob

PROMPT_IDS_FILE = "prompt_ids.jsonl"
EVENTS_FILE = "events.jsonl"
TAKEN, SAMPLED, GREEDY, FINISHED = "taken", "sampled", "greedy", "finished"


class RecordingEngine(vllm_engine.VllmEngine):
    """A VllmEngine with an open ear."""

    def __init__(self, job: SamplingJob) -> None:
        super().__init__(job)
        self._folder = job.folder

    def sample(self, prompts: Iterator[Prompt]) -> Iterator[tuple[str, Outcome]]:
        for prompt_id, outcome in super().sample(self._listen(prompts)):
            self._write(EVENTS_FILE, [FINISHED, prompt_id])
            yield prompt_id, outcome

    def _listen(self, prompts: Iterator[Prompt]) -> Iterator[Prompt]:
        for prompt in prompts:
            self._write(EVENTS_FILE, [TAKEN, prompt.prompt_id])
            yield prompt

    def _add(self, prepared: Prepared, greedy: bool) -> str:
        name = super()._add(prepared, greedy)
        self._write(EVENTS_FILE, [GREEDY if greedy else SAMPLED, prepared.prompt_id])
        self._write(PROMPT_IDS_FILE, prepared.content["prompt_token_ids"])
        return name

    def _write(self, name: str, line: Any) -> None:
        with (self._folder / name).open("a") as file:
            file.write(json.dumps(line) + "\n")


def read_events(folder: Path) -> list[tuple[str, str]]:
    """(what, prompt_id) in order."""
    return [tuple(json.loads(line)) for line in (folder / EVENTS_FILE).read_text().splitlines()]


if __name__ == "__main__":
    vllm_engine.VllmEngine = RecordingEngine  # type: ignore[misc]
    child.main()
