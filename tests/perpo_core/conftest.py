"""A policy with random weights, built once a session: small, real, and sampled by both engines."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from perpo_core.keys import hash_folder
from schemas.run import PolicyRef


@pytest.fixture(scope="session")
def processor() -> Any:
    from perpo_core.policy.builtin import build_processor

    return build_processor()


@pytest.fixture(scope="session")
def policy(processor, tmp_path_factory) -> PolicyRef:
    """A policy folder whose answers differ between prompts and samples.

    Fresh weights give every token the same probability to within a few percent; larger ones make
    likely and unlikely answers, and greedy decoding free of ties.
    """
    from perpo_core.policy.builtin import build_model

    model = build_model(processor, seed=1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "text_model" in name and ("o_proj" in name or "down_proj" in name):
                weight.mul_(3.3)
            elif "embed_tokens" in name:
                weight.mul_(2.7)
                weight[processor.tokenizer.eos_token_id].mul_(2)  # some answers end
    folder = tmp_path_factory.mktemp("policy")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return PolicyRef(digest=hash_folder(folder), folder=folder)
