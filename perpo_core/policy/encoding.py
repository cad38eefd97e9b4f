"""From a chat to what a model is given: the one place where a prompt's token ids are made.

They are those of transformers' own `processor.apply_chat_template(..., tokenize=True)`: where the
chat template prints the beginning-of-sequence token (Llama-3 style), the tokenizer, which adds it
by itself, adds no second one. Training, references, selection and the engines all encode here.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from perpo_core.policy.prompts import Prompt
from perpo_core.policy.refusals import TOO_LONG, UNREADABLE, Refusal

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

EncodedPrompt = tuple[list[int], "dict[str, Tensor]"]  # token ids, what the vision tower takes
Messages = list[dict[str, Any]]
NOT_VISION = ("input_ids", "attention_mask")  # of what a processor returns
MAX_SHOWN_CHARACTERS = 200  # of a library's own words


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


def encode_or_refuse(processor: Any, prompt: Prompt, max_model_len: int) -> EncodedPrompt | Refusal:
    """What encode_prompt gives, or why the policy cannot answer: it leaves room for no token."""
    images = prompt.open_images()
    try:
        ids, vision = encode_messages(processor, prompt.messages, images)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # an image processor raises whatever its arithmetic meets
        return Refusal(UNREADABLE, describe_refusal(error, [image.size for image in images]))
    if len(ids) >= max_model_len:
        return Refusal(TOO_LONG, describe_length(len(ids), max_model_len))
    return ids, vision


def describe_length(num_tokens: int, max_model_len: int) -> str:
    """Of a prompt that leaves room for no answer."""
    return f"prompt and image take {num_tokens} tokens, policy.max_model_len is {max_model_len}"


def describe_refusal(error: Exception, sizes: Sequence[tuple[int, int]]) -> str:
    """A processor's own words about images of these sizes, in pixels."""
    shown = " and ".join(f"{width}x{height}" for width, height in sizes)
    return f"the policy's processor refuses an image of {shown} pixels ({shorten(error)})"


def shorten(error: Exception) -> str:
    """A library's own words on one line, their beginning where they are many."""
    words = textwrap.shorten(str(error), MAX_SHOWN_CHARACTERS, placeholder=" ...")
    return words or type(error).__name__


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
