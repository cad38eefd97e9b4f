"""The digit scenes as samples: one question a scene, truth exact by construction."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from perpo_core.stages.collect.sources.digits import SIDE, compose_scene, encode_png
from perpo_core.stages.collect.sources.rows import (
    NOTHING,
    Composed,
    KnownImages,
    RowImage,
    SampleRow,
    SetAside,
    build_messages,
    build_sample,
)
from perpo_core.vision.images import build_stored, hash_pixels
from schemas.base import SPLITS, Split
from schemas.sources import DIGITS_TASKS, DigitsSource, DigitsTask

SOURCE = "UCI optical recognition of handwritten digits (scikit-learn)"
LICENCE = "CC BY 4.0"
IS_COMPOSED = True
PREVIEWED = 3  # scenes of a part
AT_ONCE = 256  # scenes in memory before they are asked for


def compute_identity(config: DigitsSource) -> Any:
    """What the samples depend on, as JSON: the configuration section alone."""
    return config.model_dump(mode="json")


def count_rows(config: DigitsSource) -> int:
    """Scenes that will be composed."""
    return sum(sum(getattr(config, split).values()) for split in SPLITS)


def describe_looking(config: DigitsSource) -> Any:
    """No setting changes a scene's encoding."""
    del config
    return "digits"


def iterate_chunks(
    config: DigitsSource, identity: Any = None, known: KnownImages = NOTHING
) -> Iterator[Composed]:
    """All scenes, as they are asked for."""
    del identity, known  # no file is read that could change, or be known
    yield Composed(iterate_samples(config))


def iterate_samples(config: DigitsSource) -> Iterator[SampleRow | SetAside]:
    """Every scene of every split and task; a repeated prompt is set aside."""
    seen: dict[str, str] = {}
    for split in SPLITS:
        for task in DIGITS_TASKS:
            for sample in _iterate_part(config, split, task):
                row, first = sample["row"], seen.get(sample["prompt_id"])
                if first is None:
                    seen[sample["prompt_id"]] = row
                    yield sample
                else:
                    yield SetAside(row, "duplicate prompt", f"{row}: same prompt as {first}")


def preview_samples(config: DigitsSource) -> Iterator[SampleRow]:
    """The first scenes of every part: what the prompts are like, before any is collected."""
    for split in SPLITS:
        for task in DIGITS_TASKS:
            for index in range(min(getattr(config, split).get(task, 0), PREVIEWED)):
                yield _compose_sample(split, task, config.seed, index)


def _iterate_part(config: DigitsSource, split: Split, task: DigitsTask) -> Iterator[SampleRow]:
    """In order, composed side by side: encoding PNG, the most of it, leaves the interpreter."""
    count = getattr(config, split).get(task, 0)
    compose = partial(_compose_sample, split, task, config.seed)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, count, AT_ONCE):
            yield from pool.map(compose, range(start, min(start + AT_ONCE, count)))


def _compose_sample(split: Split, task: DigitsTask, seed: int, index: int) -> SampleRow:
    scene = compose_scene(split, task, index, seed)
    [question] = scene.questions
    size = (SIDE, SIDE)
    image = build_stored(encode_png(scene.image), size, size, hash_pixels(scene.image))
    return build_sample(
        task=task,
        split=split,
        images=[RowImage(image, image.image_hash)],
        messages=build_messages(question.prompt),
        truths=[question.target],
        source=SOURCE,
        licence=LICENCE,
        row=f"digits {split}/{task} scene {index}",
    )
