"""How many floating-point operations a training step on a list takes at least.

What a step with LoRA has to compute, by weights and tokens: of a frozen matrix the forward and the
gradient of its inputs (4 per weight and token), of an adapter its own gradient besides (6), of
attention 12 per visible pair and number of a head, forward and backward, and the vision tower
forward alone. What checkpointing computes a second time does not count, nor what a kernel computes
of pairs that do not see each other: the share of a card's peak is of useful work.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from perpo_core.stages.train.list_policy import ListPolicy
from perpo_core.stages.train.parts import name_part
from tests.benchmarks.llava import PREFIX_TOKENS, PROMPT_WORDS, Shape

IMAGE_TOKENS = PREFIX_TOKENS - PROMPT_WORDS
# Dense bfloat16 with float32 sums, FLOP/s, as the makers' data sheets say; the first name that
# fits. A card that is not here has no share of peak.
PEAKS: dict[str, float] = {
    "B200": 2250e12, "H200": 989e12, "H100 PCIe": 756e12, "H100 NVL": 835e12, "H100": 989e12,
    "A100": 312e12, "L40S": 362e12, "L4": 121e12, "A10G": 70e12, "A10": 125e12, "A40": 150e12,
    "RTX 4090": 165e12, "RTX 3090": 71e12,
}  # fmt: skip


def find_peak(card: str) -> float | None:
    """Peak of a card by its name, FLOP/s; None where it is not in the table."""
    words = card.split()
    found = (peak for name, peak in PEAKS.items() if _is_in(name.split(), words))
    return next(found, None)


def _is_in(name: list[str], words: list[str]) -> bool:
    """Whether a card's words hold the name's: "NVIDIA A100-SXM4-80GB" is an A100, no A10."""
    return all(any(word.split("-")[0] == part for word in words) for part in name)


def count_flops(policy: ListPolicy, shape: Shape, packed: bool) -> float:
    """Of one list's training step."""
    group, prefix, answer = shape.group_size, PREFIX_TOKENS, shape.answer_tokens
    tokens = shape.packed_tokens if packed else group * shape.sequence_tokens
    scored = group * answer if packed else tokens
    images = 1 if packed else group
    pairs = count_pairs(prefix) + group * (count_pairs(prefix + answer) - count_pairs(prefix))
    if not packed:
        pairs = group * count_pairs(prefix + answer)
    weights = count_weights(policy)
    text, vision = policy.base.get_decoder().config, policy.base.config.vision_config
    width = text.num_hidden_layers * text.num_attention_heads * find_head_width(text)
    tower = 4 * vision.hidden_size * vision.num_hidden_layers * (IMAGE_TOKENS + 1) ** 2
    return (
        4.0 * weights["frozen"] * tokens
        + 6.0 * weights["adapter"] * tokens
        + 12.0 * width * pairs
        + 4.0 * weights["head"] * scored
        + (2.0 * weights["vision"] * (IMAGE_TOKENS + 1) + tower) * images
    )


def count_pairs(tokens: int) -> int:
    """Pairs that see each other in a causal sequence."""
    return tokens * (tokens + 1) // 2


def find_head_width(text: Any) -> int:
    return int(getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)


def count_weights(policy: ListPolicy) -> dict[str, int]:
    """Weights of matrix products: frozen language model, its adapters, output head, vision."""
    counts = {"frozen": 0, "adapter": 0, "head": 0, "vision": 0}
    head = policy.base.get_output_embeddings()
    for name, module in policy.policy.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            part = "vision" if name_part(f"{name}.weight") != "language" else "frozen"
            part = "adapter" if ".lora_" in name else "head" if module is head else part
            counts[part] += module.weight.numel()
    return counts
