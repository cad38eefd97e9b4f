"""The generation child, which also writes down the prompt ids that vLLM made of each prompt."""

from __future__ import annotations

import json
from typing import Any

from perpo_core.stages.generate import child, vllm_engine
from schemas.run import SamplingJob

PROMPT_IDS_FILE = "prompt_ids.jsonl"


class RecordingEngine(vllm_engine.VllmEngine):
    """A VllmEngine with an open ear."""

    def __init__(self, job: SamplingJob) -> None:
        super().__init__(job)
        wait = self._llm.wait_for_completion

        def wait_and_record(*args: Any, **kwargs: Any) -> Any:
            outputs = wait(*args, **kwargs)
            with (job.folder / PROMPT_IDS_FILE).open("a") as file:
                file.writelines(json.dumps(output.prompt_token_ids) + "\n" for output in outputs)
            return outputs

        self._llm.wait_for_completion = wait_and_record  # type: ignore[method-assign]


if __name__ == "__main__":
    vllm_engine.VllmEngine = RecordingEngine  # type: ignore[misc]
    child.main()
