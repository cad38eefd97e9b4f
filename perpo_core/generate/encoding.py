"""From a chat to what a model is given: the one place where a prompt's token ids are made.

They are those of transformers' own `processor.apply_chat_template(..., tokenize=True)`: where the
chat template prints the beginning-of-sequence token (Llama-3 style), the tokenizer, which adds it
by itself, adds no second one. Training, references, selection and the engines all encode here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from perpo_core.generate.prompts import Prompt

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

EncodedPrompt = tuple[list[int], "dict[str, Tensor]"]  # token ids, what the vision tower takes
Messages = list[dict[str, Any]]
NOT_VISION = ("input_ids", "attention_mask")  # of what a processor returns


def encode_prompt(processor: Any, prompt: Prompt) -> EncodedPrompt:
    """(token ids with every image token in place, what the vision tower takes)."""
    return encode_messages(processor, prompt.messages, prompt.open_images())


def encode_messages(
    processor: Any, messages: Messages, images: Sequence[Image.Image]
) -> EncodedPrompt:
    """What encode_prompt gives, of decoded images; raises what the processor raises."""
    encoded = processor.apply_chat_template(
        _put_in(messages, images),
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    vision = {name: value for name, value in encoded.items() if name not in NOT_VISION}
    return encoded["input_ids"][0].tolist(), vision


def encode_unexpanded(processor: Any, messages: Messages) -> list[int]:
    """Token ids with one placeholder an image, for an engine that puts the image tokens in itself.

    With these in its place they are those of encode_messages.
    """
    text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    tokenizer = processor.tokenizer
    # The rule of ProcessorMixin.apply_chat_template in transformers/processing_utils.py.
    is_begun = tokenizer.bos_token is not None and text.startswith(tokenizer.bos_token)
    ids: list[int] = tokenizer(text, add_special_tokens=not is_begun)["input_ids"]
    return ids


def _put_in(messages: Messages, images: Sequence[Image.Image]) -> Messages:
    """The messages with each image in the part that stands for it."""
    parts = [part for message in messages for part in message["content"]]
    assert sum(part["type"] == "image" for part in parts) == len(images)
    waiting = iter(images)
    return [
        {
            **message,
            "content": [
                {**part, "image": next(waiting)} if part["type"] == "image" else part
                for part in message["content"]
            ],
        }
        for message in messages
    ]
