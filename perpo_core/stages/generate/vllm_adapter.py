"""How vLLM is told of the adapter that a policy is made of: one a request, onto the base's weights.

vLLM computes it beside the weights, as training does, and takes ranks up to 512.
"""

from __future__ import annotations

from typing import Any

from perpo_core.policy.adapters import find_size, load_rank
from schemas.run import PolicyRef


def build_adapter_switches(policy: PolicyRef) -> dict[str, Any]:
    """Room for the adapter, in the smallest of the sizes that vLLM has; {} without one."""
    if policy.adapter_folder is None:
        return {}
    size = find_size(load_rank(policy))
    return {"enable_lora": True, "max_loras": 1, "max_lora_rank": size}


def build_adapter_request(policy: PolicyRef) -> Any:
    """What goes onto the weights for every prompt; None for nothing."""
    if policy.adapter_folder is None:
        return None
    from vllm.lora.request import LoRARequest

    return LoRARequest(policy.digest, 1, str(policy.adapter_folder))
