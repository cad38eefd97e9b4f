"""A prompt's token ids: transformers' own, of every family, with one beginning of the sequence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from perpo_core.doctor.policy import FAMILIES
from perpo_core.policy.encoding import encode_messages, encode_unexpanded
from perpo_core.stages.generate.preparing import require_same_ids
from tests.perpo_core.tiny_families import IMAGE_SIZES, make_image
from tests.perpo_core.tiny_processors import CHATS, Chat, build_processor

QUESTION = "  Where is\nthe 7? "
SIZES = [size for sizes in IMAGE_SIZES for size in sizes]

chats = pytest.mark.parametrize("chat", CHATS, ids=lambda chat: f"{chat.family}-{chat.template}")
tokenizers = pytest.mark.parametrize("adds_bos", [True, False], ids=["adds bos", "adds none"])


def build_messages(**image: Any) -> list[dict[str, Any]]:
    parts = [{"type": "image", **image}, {"type": "text", "text": QUESTION}]
    return [{"role": "user", "content": parts}]


def test_every_family_is_covered():
    assert {chat.family for chat in CHATS} == set(FAMILIES)


@chats
@tokenizers
def test_ids_and_pixels_are_those_of_transformers(chat: Chat, adds_bos: bool):
    processor = build_processor(chat, adds_bos)
    image = make_image(SIZES[0], np.random.default_rng(1))
    theirs = processor.apply_chat_template(
        build_messages(image=image), add_generation_prompt=True, tokenize=True, return_dict=True,
        return_tensors="pt",
    )  # fmt: skip
    ids, vision = encode_messages(processor, build_messages(), [image])
    assert ids == theirs["input_ids"][0].tolist()
    assert vision.keys() == theirs.keys() - {"input_ids", "attention_mask"}
    assert all((vision[name] == theirs[name]).all() for name in vision)
    text = processor.tokenizer.decode(ids)
    assert QUESTION.strip() in text


@chats
@tokenizers
def test_a_prompt_begins_once(chat: Chat, adds_bos: bool):
    processor = build_processor(chat, adds_bos)
    image = make_image(SIZES[0], np.random.default_rng(1))
    bos_id = processor.tokenizer.bos_token_id
    for ids in (
        encode_messages(processor, build_messages(), [image])[0],
        encode_unexpanded(processor, build_messages()),
    ):
        assert ids.count(bos_id) == (adds_bos or chat.prints_bos)
        assert (ids[0] == bos_id) == (adds_bos or chat.prints_bos)


@chats
@tokenizers
def test_what_an_engine_expands_is_what_the_processor_expands(chat: Chat, adds_bos: bool):
    """Around the image the ids are the same, and the image's own do not depend on the question."""
    processor = build_processor(chat, adds_bos)
    unexpanded = encode_unexpanded(processor, build_messages())
    assert unexpanded.count(processor.image_token_id) == 1
    place = unexpanded.index(processor.image_token_id)
    before, after = unexpanded[:place], unexpanded[place + 1 :]
    for size in SIZES:
        image = make_image(size, np.random.default_rng(1))
        ids, _ = encode_messages(processor, build_messages(), [image])
        assert ids[:place] == before
        assert ids[-len(after) :] == after
        assert processor.image_token_id in ids[place : -len(after)]


def test_an_engine_that_made_other_ids_is_refused():
    require_same_ids((1, 2, 3), [1, 2, 3])
    with pytest.raises(ValueError, match=r"made 4 tokens .* makes 3; they differ from token 1"):
        require_same_ids([1, 1, 2, 3], [1, 2, 3])
    with pytest.raises(ValueError, match=r"made 2 tokens .* makes 3; they differ from token 2"):
        require_same_ids([1, 2], [1, 2, 3])
