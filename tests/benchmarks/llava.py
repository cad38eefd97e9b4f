"""A small LLaVA and ranked lists of a given shape: what every engine of the benchmark trains on.

6.5 million parameters, 336 px images of 576 tokens, prompts of 30 tokens more, all weights trained.
Images, words and rewards are random: speed does not depend on what they say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.utils.data import Dataset
from transformers import (
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from perpo_core.policy.encoding import NOT_VISION
from perpo_core.stages.train.data import RankedList
from perpo_core.stages.train.packing import Branch, PackableList

IMAGE_SIDE, PATCH_SIDE = 336, 14
PROMPT_WORDS = 30
PREFIX_TOKENS = (IMAGE_SIDE // PATCH_SIDE) ** 2 + PROMPT_WORDS
VOCABULARY_SIZE = 2000
SPECIAL = ["<pad>", "<s>", "</s>", "<image>"]
PAD, START, END, IMAGE = range(len(SPECIAL))


@dataclass(frozen=True)
class Shape:
    """G answers of R tokens each to a list."""

    group_size: int
    answer_tokens: int

    @property
    def name(self) -> str:
        return f"G{self.group_size}-R{self.answer_tokens}"

    @property
    def packed_tokens(self) -> int:
        return PREFIX_TOKENS + self.group_size * self.answer_tokens

    @property
    def sequence_tokens(self) -> int:
        return PREFIX_TOKENS + self.answer_tokens


@dataclass(frozen=True)
class Example:
    """One list as text and image."""

    image: Image.Image
    prompt: str
    answers: list[str]
    rewards: list[float]


def make_example(number: int, shape: Shape) -> Example:
    """List `number`, the same in every process; rewards fall from the first answer to the last."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 256, (IMAGE_SIDE, IMAGE_SIDE, 3), dtype=np.uint8)
    answers = [_write(rng, shape.answer_tokens) for _ in range(shape.group_size)]
    rewards = sorted(rng.random(shape.group_size).tolist(), reverse=True)
    return Example(
        Image.fromarray(pixels), f"<image> {_write(rng, PROMPT_WORDS)}", answers, rewards
    )


def _write(rng: np.random.Generator, num_words: int) -> str:
    numbers = rng.integers(len(SPECIAL), VOCABULARY_SIZE, num_words)
    return " ".join(f"w{number}" for number in numbers)


def build_processor() -> LlavaProcessor:
    """A word is a token."""
    words = SPECIAL + [f"w{number}" for number in range(len(SPECIAL), VOCABULARY_SIZE)]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    size = {"height": IMAGE_SIDE, "width": IMAGE_SIDE}
    return LlavaProcessor(
        CLIPImageProcessorPil(size=size, crop_size=size),
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
            extra_special_tokens=["<image>"],
        ),
        patch_size=PATCH_SIDE,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )  # fmt: skip


def build_model() -> LlavaForConditionalGeneration:
    """Random weights, the same in every process, float32."""
    torch.manual_seed(0)
    text: dict[str, Any] = {
        "model_type": "llama", "vocab_size": VOCABULARY_SIZE, "hidden_size": 256,
        "intermediate_size": 688, "num_hidden_layers": 6, "num_attention_heads": 8,
        "num_key_value_heads": 8, "pad_token_id": PAD, "bos_token_id": START, "eos_token_id": END,
    }  # fmt: skip
    vision: dict[str, Any] = {
        "model_type": "clip_vision_model", "hidden_size": 128, "intermediate_size": 512,
        "num_hidden_layers": 4, "num_attention_heads": 4, "image_size": IMAGE_SIDE,
        "patch_size": PATCH_SIDE,
    }  # fmt: skip
    config = LlavaConfig(text_config=text, vision_config=vision, image_token_index=IMAGE)
    return LlavaForConditionalGeneration(config)


class Lists(Dataset[RankedList]):
    """The lists as the trainer takes them, images processed when a list is asked for."""

    def __init__(self, num_lists: int, shape: Shape, processor: Any) -> None:
        self._num_lists, self._shape, self._processor = num_lists, shape, processor

    def __len__(self) -> int:
        return self._num_lists

    def __getitem__(self, index: int) -> RankedList:
        example = make_example(index, self._shape)
        encoded = self._processor(
            text=[example.prompt], images=[example.image], return_tensors="pt"
        )
        vision = {name: value for name, value in encoded.items() if name not in NOT_VISION}
        branches = [Branch(ids) for ids in self._processor.tokenizer(example.answers)["input_ids"]]
        packable = PackableList(encoded["input_ids"][0].tolist(), branches, vision)
        return RankedList(str(index), packable, example.rewards)
