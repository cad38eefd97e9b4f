"""A generation child without a model: boxes at random, as ids of the policy's own tokenizer.

Nor with torch: what is measured around it is not how long that takes to start.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

from tokenizers import Tokenizer

from perpo_core.policy.prompts import Prompt
from perpo_core.stages.generate import child
from perpo_core.stages.generate.engine import Answer, Outcome
from perpo_core.store.keys import derive_seed
from schemas.run import SamplingJob

MODULE = "tests.benchmarks.scale_engine"


class BoxEngine:
    """Some of a prompt's answers are close to the middle of the image, the others anywhere."""

    waited_s = 0.0

    def __init__(self, job: SamplingJob) -> None:
        self._request = job.request
        folder = job.policy.folder
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        names = json.loads((folder / "tokenizer_config.json").read_text())
        self._end = str(names["eos_token"])

    def sample(self, prompts: Iterator[Prompt]) -> Iterator[tuple[str, Outcome]]:
        for prompt in prompts:
            seed = derive_seed(self._request.seed, prompt.prompt_id)
            texts = draw_boxes(seed, self._request.num_candidates)
            encoded = self._tokenizer.encode_batch([text + self._end for text in texts])
            answers = zip(texts, (each.ids for each in encoded), strict=True)
            yield prompt.prompt_id, [self._answer(g, *each, seed) for g, each in enumerate(answers)]

    def _answer(self, index: int, text: str, ids: list[int], seed: int) -> Answer:
        return Answer(index, text, ids, [-0.5] * len(ids), "stop", seed)


def draw_boxes(seed: int, num: int) -> list[str]:
    """Answers of different rewards, the first one always good."""
    generator = random.Random(seed)
    boxes = [(0.25, 0.25, 0.75, 0.75)]
    while len(boxes) < num:
        x, y = generator.uniform(0, 0.7), generator.uniform(0, 0.7)
        boxes.append((x, y, x + 0.3, y + 0.3))
    return ["[" + ", ".join(f"{value:.2f}" for value in box) + "]" for box in boxes]


if __name__ == "__main__":
    child.build_engine = BoxEngine  # type: ignore[attr-defined]
    child.main()
