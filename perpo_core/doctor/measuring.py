"""The child process of perpo_core/doctor/lengths.py: ask the policy's processor, load no model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from perpo_core.policy.encoding import (
    Messages,
    describe_refusal,
    encode_messages,
    encode_unexpanded,
    shorten,
)
from perpo_core.policy.prompts import clean_messages
from perpo_core.process.child import emit, load_job
from perpo_core.stages.collect.sources.rows import build_messages
from schemas.base import PixelLimits
from schemas.run import Measured, MeasureJob

PROBE = "Where is the 7?"
PROGRESS_PROMPTS = 1000


def main() -> None:
    emit("result", **measure(load_job(MeasureJob)).model_dump())


def measure(job: MeasureJob) -> Measured:
    """Tokens of every prompt's text and of an image of every size, and what is refused.

    Where the processor cannot be loaded its image processor may, which refuses images too.
    """
    processor, problem = load(job.folder, job.pixel_limits)
    if processor is None:
        refusals = refuse_images(job.folder, job.sizes)
        return Measured(problem=problem, image_tokens=[None] * len(job.sizes), refusals=refusals)
    outcomes = [measure_image(processor, size) for size in job.sizes]
    emit("progress", done=len(job.sizes), total=len(job.sizes), unit="sizes")
    return Measured(
        prompt_tokens=count_prompts(processor, job.prompts),
        image_tokens=[tokens for tokens, _ in outcomes],
        refusals=[refusal for _, refusal in outcomes],
        disagreement=find_disagreement(processor, job.sizes),
    )


def load(folder: Path, pixel_limits: PixelLimits) -> tuple[Any, str | None]:
    """(processor, None), or (None, why it cannot be loaded)."""
    from perpo_core.policy.processor import load_processor

    try:
        processor = load_processor(folder, pixel_limits)
    except Exception as error:  # anything a folder of a library's files may hold
        return None, shorten(error)
    if not (hasattr(processor, "tokenizer") and hasattr(processor, "image_processor")):
        return None, f"transformers finds no more than a {type(processor).__name__} there"
    return processor, None


def count_prompts(processor: Any, prompts: list[Messages]) -> list[int]:
    """Tokens of each prompt with one placeholder for each of its images."""
    counts = []
    for done, prompt in enumerate(prompts, start=1):
        counts.append(len(encode_unexpanded(processor, clean_messages(prompt))))
        if done % PROGRESS_PROMPTS == 0:
            emit("progress", done=done, total=len(prompts), unit="prompts")
    return counts


def measure_image(processor: Any, size: tuple[int, int]) -> tuple[int | None, str | None]:
    """(tokens that an image of the size adds to its placeholder, None), or (None, its refusal)."""
    try:
        ids, _ = encode_messages(processor, ask(PROBE), [Image.new("RGB", size)])
    except (MemoryError, OSError):
        raise
    except Exception as error:  # as of encode_or_refuse
        return None, describe_refusal(error, [size])
    return len(ids) - len(encode_unexpanded(processor, ask(PROBE))), None


def refuse_images(folder: Path, sizes: list[tuple[int, int]]) -> list[str | None]:
    """What the image processor alone says to an image of each size."""
    from transformers import AutoImageProcessor

    try:
        images = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
    except Exception:  # as was said of the whole processor
        return [None] * len(sizes)
    return [_refuse(images, size) for size in sizes]


def _refuse(images: Any, size: tuple[int, int]) -> str | None:
    try:
        images(images=[Image.new("RGB", size)])
    except (MemoryError, OSError):
        raise
    except Exception as error:  # as of encode_or_refuse
        return describe_refusal(error, [size])
    return None


def find_disagreement(processor: Any, sizes: list[tuple[int, int]]) -> str | None:
    """Whether what engines get of a prompt is not what transformers makes of it, in words.

    Around the image the ids must be the same: an engine puts the image's own in between.
    """
    image_id = getattr(processor, "image_token_id", None)
    unexpanded = encode_unexpanded(processor, ask(PROBE))
    if image_id not in unexpanded:
        return "its chat template puts no image token into a prompt with an image; correct it"
    place = unexpanded.index(image_id)
    before, after = unexpanded[:place], unexpanded[place + 1 :]
    for size in sizes:
        try:
            ids, _ = encode_messages(processor, ask(PROBE), [Image.new("RGB", size)])
        except Exception:  # a refusal, which was said
            continue
        if ids[:place] != before or ids[len(ids) - len(after) :] != after:
            return (
                "an engine would ask with other tokens than training: around the image a prompt is "
                f"{before} and {after}, transformers' apply_chat_template makes it {ids[:place]} "
                f"and {ids[len(ids) - len(after) :]}"
            )
        return None
    return None


def ask(text: str) -> Messages:
    """The chat of one image and one question, as every source builds it."""
    return clean_messages(build_messages(text))


if __name__ == "__main__":
    main()
