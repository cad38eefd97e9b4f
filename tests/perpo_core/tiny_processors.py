"""Processors of every family with a byte tokenizer and the families' own chat templates.

What transformers builds only where torchvision is installed is left away: the video processors (a
picture needs none), and SmolVLM's processor class, which imports a package for videos besides; its
template goes with Idefics3's class, which expands an image in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    Idefics3Processor,
    LlavaNextProcessor,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.llava_onevision.processing_llava_onevision import LlavaOnevisionProcessor
from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.processing_qwen2_vl import Qwen2VLProcessor
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor

from tests.perpo_core.tiny_families import FAMILIES, PATCH, SIDE

TEMPLATES = Path(__file__).parents[1] / "data" / "chat_templates"
PAD, END = "<pad>", "<end>"
TOKENS = [
    PAD, END, "<s>", "</s>", "<|endoftext|>", "<|begin_of_text|>", "<|eot_id|>",
    "<|start_header_id|>", "<|end_header_id|>", "<|im_start|>", "<|im_end|>", "<end_of_utterance>",
    "<image>", "<video>", "<fake_token_around_image>", "<global-img>", "<|vision_start|>",
    "<|vision_end|>", "<|image_pad|>", "<|video_pad|>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
]  # fmt: skip
CHARACTER_IMAGE_TOKENS = 4  # of a tile
NUM_LLAVA_TOKENS = (SIDE // PATCH) ** 2  # of a tile


@dataclass(frozen=True)
class Chat:
    """A family's processor, its template and the token a prompt begins with."""

    family: str
    template: str
    bos: str
    prints_bos: bool
    build: Callable[[Any, Any, str], Any]
    """(image processor, tokenizer, template) -> processor."""


def build_tokenizer(bos: str, adds_bos: bool) -> PreTrainedTokenizerFast:
    """Every byte a token, and the families' special tokens; with or without a bos of its own."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(TOKENS)
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=bos, eos_token=END, pad_token=PAD
    )


def write_character_policy(folder: Path, template: str) -> Path:
    """An Idefics3 folder without weights: every character a token, an image as many as it takes."""
    folder.mkdir(parents=True)
    vocabulary = {chr(code): code - 32 for code in range(32, 127)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.add_special_tokens(["<patch>", "<eot>", *TOKENS])
    tokenizer.save(str(folder / "tokenizer.json"))
    files: dict[str, Any] = {
        "config.json": {"model_type": "idefics3"},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "pad_token": PAD,
        },
        "processor_config.json": {
            "processor_class": "Idefics3Processor",
            "image_seq_len": CHARACTER_IMAGE_TOKENS,
            "image_processor": {
                "image_processor_type": "Idefics3ImageProcessor",
                "do_image_splitting": True,
                "size": {"longest_edge": 2 * SIDE},
                "max_image_size": {"longest_edge": SIDE},
            },
        },
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    (folder / "chat_template.jinja").write_text(template)
    return folder


def build_processor(chat: Chat, adds_bos: bool) -> Any:
    """The family's processor with that tokenizer and template."""
    template = (TEMPLATES / f"{chat.template}.jinja").read_text()
    tokenizer = build_tokenizer(chat.bos, adds_bos)
    return chat.build(FAMILIES[chat.family].processor(), tokenizer, template)


def _without_videos(processor: type) -> type:
    """The class, content with None for a video processor."""
    return type(
        processor.__name__,
        (processor,),
        {"check_argument_for_proper_class": lambda self, name, argument: None},
    )


def _build_idefics(images: Any, tokenizer: Any, template: str) -> Any:
    return Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=template)


def _build_llava(kind: type, **settings: Any) -> Callable[[Any, Any, str], Any]:
    return lambda images, tokenizer, template: kind(
        image_processor=images, tokenizer=tokenizer, chat_template=template, patch_size=PATCH,
        vision_feature_select_strategy="full", **settings,
    )  # fmt: skip


def _build_onevision(images: Any, tokenizer: Any, template: str) -> Any:
    return _without_videos(LlavaOnevisionProcessor)(
        image_processor=images, tokenizer=tokenizer, video_processor=None, chat_template=template,
        num_image_tokens=NUM_LLAVA_TOKENS, vision_feature_select_strategy="full",
    )  # fmt: skip


def _build_qwen(kind: type) -> Callable[[Any, Any, str], Any]:
    return lambda images, tokenizer, template: _without_videos(kind)(
        image_processor=images, tokenizer=tokenizer, video_processor=None, chat_template=template
    )


LLAVA, LLAVA_NEXT = _build_llava(LlavaProcessor), _build_llava(LlavaNextProcessor)
CHATS = [
    Chat("idefics3", "idefics3-llama3", "<|begin_of_text|>", True, _build_idefics),
    Chat("smolvlm", "smolvlm", "<|im_start|>", True, _build_idefics),
    Chat("llava", "llava-vicuna", "<s>", False, LLAVA),
    Chat("llava_next", "llava-vicuna", "<s>", False, LLAVA_NEXT),
    Chat("llava_next", "llava-next-mistral", "<s>", False, LLAVA_NEXT),
    Chat("llava_next", "llava-next-llama3", "<|begin_of_text|>", False, LLAVA_NEXT),
    Chat("llava_onevision", "llava-onevision", "<|endoftext|>", False, _build_onevision),
    Chat("qwen2_vl", "qwen2-vl", "<|endoftext|>", False, _build_qwen(Qwen2VLProcessor)),
    Chat("qwen2_5_vl", "qwen2-vl", "<|endoftext|>", False, _build_qwen(Qwen2_5_VLProcessor)),
    Chat("qwen3_vl", "qwen3-vl", "<|endoftext|>", False, _build_qwen(Qwen3VLProcessor)),
]
