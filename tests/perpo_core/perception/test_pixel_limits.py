"""Limits of the image processor: one place, every processor that has any, every key they belong to.

The processors are the families' own, with images of different sizes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from perpo_core.doctor.measuring import measure
from perpo_core.perception.frames import build_framer
from perpo_core.perception.pixel_limits import apply_limits
from perpo_core.policy.encoding import encode_messages
from perpo_core.policy.processor import find_size_override, load_processor
from perpo_core.stages import evaluate, generate
from perpo_core.stages.collect.sources.rows import build_messages
from perpo_core.stages.generate.identity import compute_candidates_key, compute_sampling_digest
from perpo_core.stages.score import compute_scoring_digest
from schemas.base import NO_LIMITS, PixelLimits
from schemas.config import PolicyConfig, RefreshConfig
from schemas.run import MeasureJob, PolicyRef, SamplingRequest
from tests.perpo_core.small_store import build_context, build_sample_row, commit_samples
from tests.perpo_core.tiny_processors import CHATS, build_processor, write_character_policy

SIZES = [(640, 480), (100, 300), (40, 40)]
CELL = 16  # pixels of a side that one image token of the tiny Qwen models stands for
# Of the default configuration, as computed before there were any limits.
SAMPLING_DIGEST = "f313ff8c094711bd5decf4ff035c265fb44215aca64239d200734f1afef9d357"
SCORING_DIGEST = "c6aa52aa56d279c2ef4a7132c7a91c76fbd99ff5d7b24c887a3764717ff16e8c"
POLICY = PolicyRef(digest="0" * 64, folder=Path("nowhere"))


def count_pixels(processor: Any, size: tuple[int, int]) -> int:
    """Of the image as the processor resized it."""
    [grid] = processor.image_processor(images=[Image.new("RGB", size)])["image_grid_thw"]
    return int(grid[1] * grid[2]) * processor.image_processor.patch_size**2


@pytest.mark.parametrize(
    "chat", [chat for chat in CHATS if "qwen" in chat.family], ids=lambda chat: chat.family
)
def test_qwens_images_stay_within_both(chat: Any) -> None:
    limits = PixelLimits(min_pixels=4096, max_pixels=20_000)
    free, held = (build_processor(chat, adds_bos=False) for _ in range(2))
    apply_limits(free.image_processor, NO_LIMITS)
    apply_limits(held.image_processor, limits)
    assert all(4096 <= count_pixels(held, size) <= 20_000 for size in SIZES)
    assert free.image_processor.size != held.image_processor.size
    messages = build_messages("Where?")
    for size in SIZES:
        ids, _ = encode_messages(held, messages, [Image.new("RGB", size)])
        assert ids.count(held.image_token_id) <= 20_000 // CELL**2


@pytest.mark.parametrize(
    "chat", [c for c in CHATS if c.family in ("idefics3", "smolvlm")], ids=lambda chat: chat.family
)
def test_idefics_and_smolvlm_have_the_larger_one(chat: Any) -> None:
    images = build_processor(chat, adds_bos=False).image_processor
    edge = images.size["longest_edge"]
    apply_limits(images, PixelLimits(max_pixels=(edge - 1) ** 2))
    assert images.size["longest_edge"] == edge - 1
    apply_limits(images, PixelLimits(max_pixels=10**8))
    assert images.size["longest_edge"] == edge - 1, "never more than its own"
    with pytest.raises(ValueError, match=r"min_pixels cannot.*have max_pixels; leave it out"):
        apply_limits(images, PixelLimits(min_pixels=784))


@pytest.mark.parametrize(
    "chat", [chat for chat in CHATS if "llava" in chat.family], ids=lambda chat: chat.family
)
def test_others_are_refused_in_a_sentence(chat: Any) -> None:
    images = build_processor(chat, adds_bos=False).image_processor
    with pytest.raises(ValueError, match=rf"is a {type(images).__name__}, which policy.max_pixels"):
        apply_limits(images, PixelLimits(max_pixels=1000))


def test_the_smaller_one_is_not_more_than_the_larger() -> None:
    with pytest.raises(ValueError, match="min_pixels 2000 is more than max_pixels 1000; lower it"):
        PolicyConfig(min_pixels=2000, max_pixels=1000)


def test_frames_are_those_of_the_images_that_the_policy_sees(tmp_path: Path) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    Qwen2VLImageProcessorPil().save_pretrained(tmp_path)
    limits = PixelLimits(max_pixels=50_000)
    images = Qwen2VLImageProcessorPil.from_pretrained(tmp_path)
    apply_limits(images, limits)
    build_frame = build_framer("pixels_resized", tmp_path, limits)
    for width, height in SIZES:
        _, rows, columns = images(Image.new("RGB", (width, height)))["image_grid_thw"][0]
        frame = build_frame(width, height)
        assert (frame.resized_width, frame.resized_height) == (columns * 14, rows * 14)


def test_doctor_counts_fewer_tokens_and_vllm_is_told_the_same(
    tmp_path: Path, measured_here: None
) -> None:
    template = "{% for part in messages[0].content %}{% if part.type == 'image' %}<image>"
    template += "{% else %}{{ part.text }}{% endif %}{% endfor %}"
    folder = write_character_policy(tmp_path / "policy", template)
    limits = PixelLimits(max_pixels=16**2)
    free, held = (
        measure(
            MeasureJob(
                folder=folder,
                prompts=[build_messages("Where?")],
                sizes=[(64, 64)],
                pixel_limits=each,
            )
        )
        for each in (NO_LIMITS, limits)
    )
    assert free.image_tokens[0] is not None and held.image_tokens[0] is not None
    assert held.image_tokens[0] < free.image_tokens[0]
    size = load_processor(folder, limits).image_processor.size
    assert find_size_override(folder, limits) == {"size": {"longest_edge": size["longest_edge"]}}
    assert find_size_override(folder, NO_LIMITS) is None
    refused = measure(
        MeasureJob(folder=folder, prompts=[], sizes=[], pixel_limits=PixelLimits(min_pixels=784))
    )
    assert refused.problem is not None and "policy.min_pixels" in refused.problem


def test_without_limits_no_key_says_anything_of_them() -> None:
    config = RefreshConfig()
    request = generate.build_request(config)
    for dumped in (request.model_dump(mode="json"), json.loads(request.model_dump_json())):
        assert "pixel_limits" not in dumped
    assert compute_sampling_digest(request, "0" * 64) == SAMPLING_DIGEST
    assert compute_scoring_digest(config, POLICY) == SCORING_DIGEST


def test_with_limits_every_key_that_depends_on_images_is_another(tmp_path: Path) -> None:
    context = build_context(tmp_path)
    samples = commit_samples(context.store, [build_sample_row(1, "counting", 1)])
    free, held = (
        RefreshConfig(policy=PolicyConfig(max_pixels=each, box_format="pixels_resized"))
        for each in (None, 100_000)
    )
    requests = [generate.build_request(config) for config in (free, held)]
    assert len({compute_sampling_digest(request, "0" * 64) for request in requests}) == 2
    assert len({compute_candidates_key(r, POLICY, samples) for r in requests}) == 2
    assert len({compute_scoring_digest(config, POLICY) for config in (free, held)}) == 2
    assert evaluate.build_request(held).pixel_limits.max_pixels == 100_000
    again = SamplingRequest.model_validate_json(requests[1].model_dump_json())
    assert again == requests[1]
