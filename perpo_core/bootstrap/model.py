"""The built-in policy, from nothing: a small Idefics3 with a byte-level tokenizer.

Idefics3 is SmolVLM's architecture and needs no torchvision, so everything proved on the built-in
policy (sampling in vLLM, packed lists, LoRA names) holds for SmolVLM-256M with one config line.
The tokenizer is byte-level BPE: any text is readable input, the few words our prompts use are one
token each, and decimal digits stay single tokens so that a coordinate is two coarse-to-fine steps.
The weights beside this file were made by `perpo bootstrap`; docs/bootstrap.md has the recipe.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    PreTrainedTokenizerFast,
)
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

from perpo_core.stages.collect.sources import digits

VOCABULARY_SIZE = 448
IMAGE_SIDE, PATCH_SIDE, SHUFFLE = 64, 8, 1  # pixels, pixels, patches merged along each axis
IMAGE_SEQ_LEN = (IMAGE_SIDE // PATCH_SIDE // SHUFFLE) ** 2  # 64 image tokens

PAD, IMAGE, FAKE, GLOBAL, END = (
    "<pad>",
    "<image>",
    "<fake_token_around_image>",
    "<global-img>",
    "<end_of_utterance>",
)
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ message['role'] | capitalize }}:"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<end_of_utterance>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
# "[0." and ", 0." are one token each; decimals are single digits; a word takes its leading space.
PRE_TOKEN = r"[\[,] ?[01]\.|\d| ?\p{L}+|\n| ?[^\s\p{L}\d]|\s"


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on our own prompts; every text round-trips."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRE_TOKEN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=[PAD, IMAGE, FAKE, GLOBAL, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_tokenizer_corpus(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        extra_special_tokens=[IMAGE, FAKE, GLOBAL],
        padding_side="left",
        model_max_length=1024,
    )


def _tokenizer_corpus() -> Iterable[str]:
    for task in ("grounding", "ocr", "counting"):
        for scene in digits.compose_scenes("train", task, 400, seed=0, questions_per_scene=8):
            yield from (f"User:{q.prompt}\nAssistant:" for q in scene.questions)
    yield from ["[0.25, 0.50, 0.75, 1.00]", "[1.00, 0.99"] * 50


def build_processor() -> Idefics3Processor:
    """Tokenizer, image processor (one 64 px view, stretched to a square) and chat template."""
    image_processor = Idefics3ImageProcessorPil(
        do_image_splitting=False,
        size={"longest_edge": IMAGE_SIDE},
        max_image_size={"longest_edge": IMAGE_SIDE},
    )
    return Idefics3Processor(
        image_processor,
        build_tokenizer(),
        image_seq_len=IMAGE_SEQ_LEN,
        chat_template=CHAT_TEMPLATE,
    )


def build_model(processor: Idefics3Processor, seed: int = 0) -> Idefics3ForConditionalGeneration:
    """The policy with random weights: 2.6 million parameters, float32."""
    tokenizer = processor.tokenizer
    text_config = {
        "model_type": "llama",
        "vocab_size": len(tokenizer),
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "initializer_range": 0.06,  # the stock 0.02 suits widths of thousands, not 128
        "max_position_embeddings": 1024,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "tie_word_embeddings": True,
    }
    vision_config = {
        "hidden_size": 192,
        "intermediate_size": 512,
        "num_hidden_layers": 5,
        "num_attention_heads": 6,
        "image_size": IMAGE_SIDE,
        "patch_size": PATCH_SIDE,
    }
    config = Idefics3Config(
        text_config=text_config,
        vision_config=vision_config,
        scale_factor=SHUFFLE,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = Idefics3ForConditionalGeneration(config)
    _place_patches(model.model.vision_model.embeddings.position_embedding)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def _place_patches(position_embedding: torch.nn.Embedding) -> None:
    """Start the learned patch positions as 2D sines and cosines (MoCo v3, arXiv 2104.02057).

    The stock start is noise of 0.02, a tenth of what a patch's content brings: a small model then
    spends most of its training on finding out where a patch lies.
    """
    num_positions, width = position_embedding.weight.shape
    side = int(num_positions**0.5)
    steps = torch.arange(side, dtype=torch.float32)
    frequencies = torch.exp(-torch.arange(width // 4) * (math.log(100.0) / (width // 4)))
    phases = steps[:, None] * frequencies
    waves = torch.cat([torch.sin(phases), torch.cos(phases)], 1)
    rows = waves[:, None].expand(side, side, -1)
    columns = waves[None, :].expand(side, side, -1)
    table = 0.3 * torch.cat([rows, columns], 2).reshape(num_positions, width)
    position_embedding.weight.data.copy_(table)
