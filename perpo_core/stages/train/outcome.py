"""Which of the two a training leaves, an adapter or whole weights; asked before it, without torch.

The answer is in the checkpoint's key where it is an adapter, since that is another artifact.
"""

from __future__ import annotations

from perpo_core.policy.adapters import load_rank, takes_adapters
from schemas.run import PolicyRef
from schemas.train_config import TrainConfig


def leaves_adapter(config: TrainConfig, policy: PolicyRef) -> bool:
    """Whether adapters are all that is trained from this policy, and an engine takes them joined.

    Projector and vision tower train whole, if at all; rank past train.max_chain_rank is merged.
    """
    whole = config.projector_learning_rate or config.vision_learning_rate
    if config.save == "merged" or config.adapter != "lora" or whole:
        return False
    fits = load_rank(policy) + config.lora_rank <= config.max_chain_rank
    return fits and takes_adapters(policy.folder)
