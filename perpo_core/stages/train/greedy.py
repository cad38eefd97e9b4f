"""Greedy answers from a transformers model, in batches of prompts of equal length.

Equal lengths need no padding, so a batch gives what its prompts would give alone, on any model
family and whatever side its tokenizer pads.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from perpo_core.policy.encoding import EncodedPrompt
from perpo_core.vision.inputs import join_vision

BATCH_PROMPTS = 64


@torch.inference_mode()
def generate_greedily(
    model: nn.Module,
    tokenizer: Any,
    prompts: Sequence[EncodedPrompt],
    max_tokens: int,
    max_model_len: int,
    banned_ids: Sequence[int],
) -> list[str]:
    """The greedy answer of each encoded prompt, as text, in order.

    Every prompt leaves room for a token in `max_model_len`; none is answered beyond it.
    """
    by_length: dict[int, list[int]] = defaultdict(list)
    for number, (ids, _) in enumerate(prompts):
        by_length[len(ids)].append(number)
    texts = [""] * len(prompts)
    for length, numbers in by_length.items():
        room = min(max_tokens, max_model_len - length)
        for start in range(0, len(numbers), BATCH_PROMPTS):
            batch = numbers[start : start + BATCH_PROMPTS]
            answers = _generate_batch(model, [prompts[n] for n in batch], room, banned_ids)
            decoded = tokenizer.batch_decode(answers, skip_special_tokens=True)
            for number, text in zip(batch, decoded, strict=True):
                texts[number] = text
    return texts


def _generate_batch(
    model: Any, prompts: Sequence[EncodedPrompt], max_tokens: int, banned_ids: Sequence[int]
) -> Tensor:
    ids_PT = torch.tensor([ids for ids, _ in prompts], device=model.device)
    vision = join_vision([vision for _, vision in prompts])
    output = model.generate(
        input_ids=ids_PT,
        attention_mask=torch.ones_like(ids_PT),
        **{name: value.to(model.device) for name, value in vision.items()},
        do_sample=False,
        max_new_tokens=max_tokens,
        bad_words_ids=[[token] for token in banned_ids] or None,
    )
    return output[:, ids_PT.shape[1] :]
