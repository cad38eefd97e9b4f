"""Scenes with many questions each, as packed lists for supervised training.

The image is the shared prefix; every question with its answer is a branch whose loss is on the
answer. Eight questions cost one pass of the vision tower, and the trainer is the project's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from perpo_core.bootstrap.model import END
from perpo_core.bootstrap.noise import (
    CARELESS,
    EXACT,
    USUAL,
    Care,
    loosen_box,
    write_box,
    write_noisy_answer,
)
from perpo_core.policy.encoding import encode_prompt
from perpo_core.policy.prompts import Prompt
from perpo_core.stages.collect.sources.digits import (
    EXTREMES,
    SIDE,
    Placed,
    Question,
    Scene,
    compose_scene,
    encode_png,
)
from perpo_core.stages.train.data import RankedList
from perpo_core.stages.train.packing import Branch, PackableList
from schemas.sources import DigitsTask

TASK_CYCLE: tuple[DigitsTask, ...] = ("grounding", "ocr", "grounding", "counting")
QUESTIONS_PER_SCENE = 4
ALL_QUESTIONS = 100  # more than any scene has
NUM_COMPARISONS = 6  # of a scene, at most
WriteDialogues = Callable[[Scene, np.random.Generator], list[tuple[str, str]]]
LIST_PROMPT = "List every digit."  # the dense description: what is where


class SceneDialogues(Dataset[RankedList]):
    """Scene i of an endless supply with its dialogues; the same (seed, i) is the same list."""

    def __init__(self, num_scenes: int, seed: int, processor: Any, write: WriteDialogues) -> None:
        self._num_scenes = num_scenes
        self._seed = seed
        self._processor = processor
        self._write = write

    def __len__(self) -> int:
        return self._num_scenes

    def __getitem__(self, index: int) -> RankedList:
        task = TASK_CYCLE[index % len(TASK_CYCLE)]
        scene = compose_scene("train", task, index, self._seed, ALL_QUESTIONS)
        rng = np.random.default_rng([self._seed, index, 1])
        prefix_ids, vision = self._encode_image(scene)
        dialogues = self._write(scene, rng)
        branches = [self._encode_dialogue(prompt, answer) for prompt, answer in dialogues]
        return RankedList(
            f"scene {index}", PackableList(prefix_ids, branches, vision), [1.0] * len(branches)
        )

    def _encode_image(self, scene: Scene) -> tuple[list[int], dict[str, Any]]:
        """The prompt's tokens up to and including the image, and the pixels."""
        messages = [{"role": "user", "content": [{"type": "image"}]}]
        prompt = Prompt("", messages, [encode_png(scene.image)])
        ids, vision = encode_prompt(self._processor, prompt)
        end_id = self._processor.tokenizer.convert_tokens_to_ids(END)
        return ids[: ids.index(end_id)], vision

    def _encode_dialogue(self, prompt: str, answer: str) -> Branch:
        tokenizer = self._processor.tokenizer
        asked = tokenizer(f"{prompt}{END}\nAssistant:")["input_ids"]
        answered = tokenizer(f"{answer}{END}")["input_ids"]
        return Branch(asked + answered, num_unscored=len(asked))


def write_dialogues(scene: Scene, rng: np.random.Generator) -> list[tuple[str, str]]:
    """(question, noisy answer) pairs of a scene; scattered digits get the dense description too."""
    dialogues = _answer(scene, scene.questions[:QUESTIONS_PER_SCENE], rng, USUAL)
    if scene.questions[0].task != "ocr":
        dialogues.append((LIST_PROMPT, _describe(scene, rng)))
    return dialogues


def write_comparisons(
    scene: Scene, rng: np.random.Generator, care: Care = EXACT
) -> list[tuple[str, str]]:
    """As write_dialogues, but mostly about extremes, the questions that take longest to learn."""
    if scene.questions[0].task != "grounding":
        return _answer(scene, scene.questions[:QUESTIONS_PER_SCENE], rng, care)
    extremes = [q for q in scene.questions if any(word in q.prompt for word in EXTREMES)]
    others = [q for q in scene.questions if q not in extremes]
    return _answer(scene, extremes[:NUM_COMPARISONS] + others[:1], rng, care)


def write_careless_comparisons(scene: Scene, rng: np.random.Generator) -> list[tuple[str, str]]:
    """The same from careless labels, so that a refresh finds room."""
    return write_comparisons(scene, rng, CARELESS)


def _answer(
    scene: Scene, questions: Sequence[Question], rng: np.random.Generator, care: Care
) -> list[tuple[str, str]]:
    boxes = [_to_box(digit) for digit in scene.placed]
    return [(q.prompt, write_noisy_answer(q, boxes, rng, care)) for q in questions]


def _describe(scene: Scene, rng: np.random.Generator) -> str:
    """Value and box of every digit, in no order: each box has to be looked up by its value."""
    shuffled = [scene.placed[i] for i in rng.permutation(len(scene.placed))]
    return "\n".join(
        f"{digit.value} {write_box(loosen_box(_to_box(digit), rng, USUAL))}" for digit in shuffled
    )


def _to_box(digit: Placed) -> tuple[float, float, float, float]:
    return tuple(value / SIDE for value in digit.box)  # type: ignore[return-value]
