"""What the tests share: a small real policy with random weights, and ranked lists to train on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from perpo_core.policy.stamps import refer_to
from perpo_core.stages import collect
from perpo_core.stages.stage import find_or_make
from schemas.run import PolicyRef
from tests.perpo_core import scripted
from tests.perpo_core.small_store import build_context
from tests.perpo_core.stages.train.small_lists import commit_lists
from tests.perpo_core.stages.train.training import NUM_LISTS, SOURCE, TRAIN


@pytest.fixture(scope="session")
def processor() -> Any:
    from perpo_core.bootstrap.model import build_processor

    return build_processor()


@pytest.fixture(scope="session")
def policy(processor, tmp_path_factory) -> PolicyRef:
    """A policy folder whose answers differ between prompts and samples.

    Fresh weights give every token the same probability to within a few percent; larger ones make
    likely and unlikely answers, and greedy decoding free of ties.
    """
    from perpo_core.bootstrap.model import build_model

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
    return refer_to(folder)


@pytest.fixture(scope="session")
def other_policy(processor, tmp_path_factory) -> PolicyRef:
    """Another model of the same family and tokenizer."""
    from perpo_core.bootstrap.model import build_model

    folder = tmp_path_factory.mktemp("other")
    build_model(processor, seed=2).save_pretrained(folder)
    processor.save_pretrained(folder)
    return refer_to(folder)


@pytest.fixture(scope="session")
def trainable(tmp_path_factory, policy, processor):
    """(context, samples, preferences) in a store."""
    context = build_context(tmp_path_factory.mktemp("train"), source=SOURCE, train=TRAIN)
    context = replace(context, policy=policy)
    samples = find_or_make(context, collect).artifact
    return context, samples, commit_lists(context, samples, processor.tokenizer, NUM_LISTS)


@pytest.fixture
def training_events(monkeypatch) -> list[dict[str, Any]]:
    """What the training child would tell its parent; threads as in the child."""
    from perpo_core.stages.train import child, degree_telling, history, references, versions

    told: list[dict[str, Any]] = []
    for module in (child, degree_telling, history, references, versions):
        monkeypatch.setattr(module, "emit", lambda event, **fields: told.append({event: fields}))
    torch.set_num_threads(1)
    return told


@pytest.fixture
def measured_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Doctor asks a policy's processor in this process, which has torch already."""
    from perpo_core.doctor import lengths, measuring

    monkeypatch.setattr(measuring, "emit", lambda event, **fields: None)
    monkeypatch.setattr(lengths, "measure", measuring.measure)


@pytest.fixture
def asked() -> Iterator[list[list[str]]]:
    """The prompts that engines are asked, by call."""
    with pytest.MonkeyPatch.context() as patch:
        yield scripted.sample_here(patch)
