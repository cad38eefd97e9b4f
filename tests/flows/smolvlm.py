"""A policy folder with SmolVLM-256M's real shapes and random weights, made in seconds.

Shapes as in HuggingFaceTB/SmolVLM-256M-Instruct's config.json, image splitting off. The tokenizer
is the built-in policy's, its vocabulary filled up with numbers to SmolVLM's size, so that whatever
random weights sample is text. Random weights hardly ever end an answer (1 in 49,280 tokens): the
end token is made likely in the weights themselves, so that nothing but weights is special.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    PreTrainedTokenizerFast,
)
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

from perpo_core.bootstrap.model import CHAT_TEMPLATE, END, FAKE, GLOBAL, IMAGE, PAD, build_tokenizer

VOCABULARY_SIZE = 49_280
IMAGE_SIDE = 512  # pixels
IMAGE_SEQ_LEN = 64  # (512 / 16 / 4)^2
END_PROBABILITY = 0.2  # of each token, without an image before it; with one it comes out lower
COMMON_NORM = 8.0  # of what all embeddings share; their random part has a norm of 0.48
IMAGE_SCALE = 0.01  # random image features come out with a norm of 50 and drown every token


def write_smolvlm(folder: Path) -> int:
    """Write the policy folder; the number of parameters."""
    processor = build_processor()
    model = build_model(processor.tokenizer)
    make_end_likely(model, processor.tokenizer.eos_token_id)
    model.bfloat16().save_pretrained(folder)
    processor.save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


def build_processor() -> Idefics3Processor:
    """Images become one view of 512 pixels, 64 tokens."""
    image_processor = Idefics3ImageProcessorPil(
        do_image_splitting=False,
        size={"longest_edge": IMAGE_SIDE},
        max_image_size={"longest_edge": IMAGE_SIDE},
    )
    return Idefics3Processor(
        image_processor, fill_vocabulary(), image_seq_len=IMAGE_SEQ_LEN, chat_template=CHAT_TEMPLATE
    )


def fill_vocabulary() -> PreTrainedTokenizerFast:
    """The built-in tokenizer with a number as the text of every further id."""
    state = json.loads(build_tokenizer().backend_tokenizer.to_str())
    vocabulary = state["model"]["vocab"]
    vocabulary |= {str(number): number for number in range(len(vocabulary), VOCABULARY_SIZE)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        pad_token=PAD,
        eos_token=END,
        extra_special_tokens=[IMAGE, FAKE, GLOBAL],
        padding_side="left",
        model_max_length=8192,
    )


def build_model(tokenizer: PreTrainedTokenizerFast) -> Idefics3ForConditionalGeneration:
    text_config = {
        "model_type": "llama",
        "vocab_size": VOCABULARY_SIZE,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "max_position_embeddings": 8192,
        "rope_theta": 100_000.0,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "tie_word_embeddings": False,
    }
    vision_config = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": IMAGE_SIDE,
        "patch_size": 16,
    }
    torch.manual_seed(0)
    model = Idefics3ForConditionalGeneration(
        Idefics3Config(
            text_config=text_config,
            vision_config=vision_config,
            scale_factor=4,
            image_token_id=tokenizer.get_vocab()[IMAGE],
            pad_token_id=tokenizer.pad_token_id,
            tie_word_embeddings=False,
        )
    )
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


@torch.no_grad()
def make_end_likely(model: Idefics3ForConditionalGeneration, end_id: int) -> None:
    """Give all embeddings one direction in common, and the end token's output weights more of it.

    Hidden states then share the direction too, and it raises the end token's logit everywhere.
    """
    model.model.connector.modality_projection.proj.weight *= IMAGE_SCALE
    embeddings_VD, outputs_VD = model.get_input_embeddings().weight, model.lm_head.weight
    direction_D = torch.ones(embeddings_VD.shape[1]) / math.sqrt(embeddings_VD.shape[1])
    embeddings_VD += COMMON_NORM * direction_D
    ids_T = torch.randint(end_id + 1, VOCABULARY_SIZE, (1, 64))
    hidden_TD = model.model(input_ids=ids_T).last_hidden_state[0]
    odds = END_PROBABILITY / (1 - END_PROBABILITY) * VOCABULARY_SIZE
    outputs_VD[end_id] += math.log(odds) / (hidden_TD @ direction_D).mean() * direction_D
