"""Which tokens an answer must not hold, by family of tokenizers."""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerFast

from perpo_core.policy.banned import find_banned_ids


def test_image_structure_and_padding_of_the_builtin_tokenizer_are_banned(processor):
    banned = processor.tokenizer.convert_ids_to_tokens(find_banned_ids(processor.tokenizer))
    assert set(banned) == {"<pad>", "<image>", "<fake_token_around_image>", "<global-img>"}


@pytest.mark.parametrize(
    ("family", "end", "pad", "banned", "allowed"),
    [
        (
            "Qwen2-VL", "<|im_end|>", "<|endoftext|>",
            ["<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>",
             "<|video_pad|>", "<|endoftext|>"],
            ["<|im_start|>", "<|im_end|>", "<|box_start|>", "<|box_end|>", "<|object_ref_start|>"],
        ),
        (
            "SmolVLM", "<end_of_utterance>", "<|im_end|>",
            ["<image>", "<fake_token_around_image>", "<global-img>", "<row_1_col_1>",
             "<row_6_col_6>", "<|im_end|>"],
            ["<end_of_utterance>", "<|im_start|>", "<jupyter_text>"],
        ),
        ("LLaVA", "</s>", "<pad>", ["<image>", "<pad>"], ["<s>", "</s>", "<unk>"]),
        ("pad is the end token", "</s>", "</s>", ["<image>"], ["<s>", "</s>"]),
    ],
)  # fmt: skip
def test_banned_tokens_of_other_families(processor, family, end, pad, banned, allowed):
    del family
    inner = processor.tokenizer.backend_tokenizer.__class__.from_str(
        processor.tokenizer.backend_tokenizer.to_str()
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=end, pad_token=pad)
    tokenizer.add_tokens([*banned, *allowed], special_tokens=True)
    ids = find_banned_ids(tokenizer)
    assert ids == sorted(set(ids))
    found = set(tokenizer.convert_ids_to_tokens(ids))
    own = {"<image>", "<fake_token_around_image>", "<global-img>"}  # of the tokenizer beneath
    assert found - own == set(banned) - own
    assert not found & set(allowed)
