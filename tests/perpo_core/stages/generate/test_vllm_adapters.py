"""vLLM samples from a policy that is an adapter on its base as from its merged weights."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pyarrow.parquet as pq
import pytest
import torch

from perpo_core.doctor.policy import FAMILIES
from perpo_core.policy.adapters import SIZES, WITH_ADAPTERS, find_size
from perpo_core.policy.loading import load_policy
from perpo_core.policy.resolve import locate_policy
from perpo_core.policy.stamps import refer_to
from perpo_core.stages import collect
from perpo_core.stages.generate import (
    build_sampling_request,
    compute_candidates_key,
    make_candidates,
)
from perpo_core.stages.generate.vllm_adapter import build_adapter_switches
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.stages.train.model import choose_trained
from perpo_core.stages.train.saving import save_on_base, save_policy
from schemas.run import PolicyRef
from schemas.train_config import TrainConfig
from tests.perpo_core.small_store import build_context

SOURCE = {
    "kind": "digits", "train": {"grounding": 8, "ocr": 4, "counting": 4}, "selection": {},
    "validation": {}, "test": {},
}  # fmt: skip
GENERATE = {"num_candidates": 3, "max_tokens": 12, "processes": 1}
RANK = 9  # none of vLLM's own sizes


def change(policy: PolicyRef, context: StageContext, root: Path) -> tuple[PolicyRef, PolicyRef]:
    """Another policy, as an adapter on this one and as merged weights."""
    model, _ = load_policy(policy.folder, "float32")
    config = TrainConfig(lora_rank=RANK, lora_alpha=2 * RANK)
    torch.manual_seed(0)
    wrapped = choose_trained(model, config)
    with torch.no_grad():
        for name, weight in wrapped.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.05)
    save_on_base(wrapped, policy, "float32", root / "adapted")
    save_policy(wrapped, policy, "float32", root / "merged", root / "new")
    known = [policy]
    adapted = locate_policy(root / "adapted", context.config.policy, context.store, known=known)
    return adapted, refer_to(root / "merged")


def sample(context: StageContext, policy: PolicyRef, samples: Any) -> dict[Any, dict[str, Any]]:
    """(prompt, index) -> row."""
    request = build_sampling_request(context.config, ["train"], 3, seed=0)
    key = compute_candidates_key(request, policy, samples)
    candidates = make_candidates(context, key, request, policy, samples)
    rows = [
        row
        for file in candidates.files
        for row in pq.read_table(context.store.folder("candidates", key) / file.path).to_pylist()
    ]
    return {(row["prompt_id"], row["index"]): row for row in rows}


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("engine", ["vllm", "transformers"])
def test_an_adapter_answers_as_merged_weights(tmp_path, policy, engine):
    """Greedy and sampled answers, their log-probabilities to 1e-4 nats, float32."""
    context = build_context(tmp_path, source=SOURCE, generate=GENERATE | {"engine": engine})
    context = replace(context, policy=policy)
    samples = find_or_make(context, collect).artifact
    adapted, merged = (sample(context, each, samples) for each in change(policy, context, tmp_path))
    before = sample(context, policy, samples)
    assert adapted.keys() == merged.keys() == before.keys()
    greedy = [which for which in adapted if which[1] == -1]
    assert all(adapted[g]["token_ids"] == merged[g]["token_ids"] for g in greedy)
    assert any(adapted[g]["token_ids"] != before[g]["token_ids"] for g in greedy)
    same = [w for w in adapted if adapted[w]["token_ids"] == merged[w]["token_ids"]]
    assert len(same) > 0.9 * len(adapted)  # a draw may fall on either side of a last digit
    for which in same:
        logps = merged[which]["token_logps"]
        assert adapted[which]["token_logps"] == pytest.approx(logps, abs=1e-4)


def test_a_policy_with_its_own_weights_starts_an_engine_as_before(policy):
    assert build_adapter_switches(policy) == {}


@pytest.mark.slow
def test_vllm_has_the_sizes_that_are_named():
    from vllm.config.lora import MaxLoRARanks

    assert get_args(MaxLoRARanks) == SIZES
    assert [find_size(rank) for rank in (1, 9, 320, 321, 512)] == [1, 16, 320, 512, 512]


@pytest.mark.slow
def test_vllm_takes_adapters_of_the_families_that_are_named():
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    from vllm.model_executor.models.interfaces import supports_lora
    from vllm.model_executor.models.registry import ModelRegistry

    known = []
    for family in FAMILIES:
        name = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES[family]
        with suppress(ImportError):  # of a family that needs torchvision, which a CPU does without
            model = ModelRegistry.models[name].load_model_cls()
            assert supports_lora(model) == (family in WITH_ADAPTERS), family
            known.append(family)
    assert known, "those of the tests, at least"
