"""The stages of a small refresh one after the other, without Prefect: what two parts share."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import AutoProcessor

from perpo_core.policy.builtin_folder import BUILTIN_FOLDER
from perpo_core.process.child import emit
from perpo_core.stages.stage import StageContext
from perpo_core.store.keys import hash_folder
from perpo_core.store.store import Store
from schemas.config import RefreshConfig
from schemas.run import PolicyRef
from tests.gpu_check.plan import PartJob

# Prompts by task: "transformers" answers one prompt after the other.
SOURCE: dict[str, Any] = {
    "train": {"grounding": 64, "ocr": 16, "counting": 16},
    "selection": {"grounding": 16, "ocr": 8, "counting": 8},
    "validation": {"grounding": 16, "ocr": 8, "counting": 8},
    "test": {"grounding": 24, "ocr": 8, "counting": 8},
}
SMALL_SOURCE: dict[str, Any] = {
    "train": {"grounding": 8, "ocr": 4, "counting": 4},
    "selection": {"grounding": 2, "ocr": 2, "counting": 2},
    "validation": {"grounding": 2, "ocr": 2, "counting": 2},
    "test": {"grounding": 2, "ocr": 2, "counting": 2},
}


def find_obstacle() -> str:
    """Why the built-in policy cannot be loaded here, one sentence; empty when it can.

    transformers 5.17 finds no image processor for it where torchvision is missing, although it has
    one that needs none; later versions find it.
    """
    try:
        AutoProcessor.from_pretrained(BUILTIN_FOLDER)
    except (ImportError, ValueError) as error:
        reason = str(error).strip().partition(". ")[0].partition("\n")[0].rstrip(".")
        return (
            f"transformers {version('transformers')} cannot load the built-in policy ({reason}); "
            "with torchvision, or as of the locked version, it can."
        )
    return ""


def skip_if_unloadable() -> bool:
    """Whether the part ends here, with find_obstacle's sentence as the reason."""
    reason = find_obstacle()
    if reason:
        emit("skip", reason=reason)
        emit("result")
    return bool(reason)


def build_context(job: PartJob, **changes: Any) -> StageContext:
    """The built-in policy in a new store; in bfloat16 on a GPU."""
    source = SMALL_SOURCE if job.miniature else SOURCE
    config = RefreshConfig.model_validate(
        {
            "name": "gpu-check",
            "store": job.folder / "store",
            "source": {"kind": "digits", **source},
            "policy": {"dtype": "float32" if job.miniature else "bfloat16"},
            "generate": {
                "engine": job.engine, "num_candidates": 8, "temperature": 0.7, "processes": 1,
                "shard_prompts": 32, "gpu_memory_utilization": 0.4,
                "progress_timeout_s": job.budget_s,
            },
            "lists": {"min_gap": {"grounding": 0.05, "ocr": 0.01, "counting": 0.01}},
            "train": {
                "adapter": "full", "learning_rate": 5e-5, "beta": 1.0, "nll_weight": 1.0,
                "batch_lists": 8, "eval_every_steps": 4, "eval_prompts": 32, "trackers": [],
                "progress_timeout_s": job.budget_s,
            },
            "evaluate": {"num_samples": 2, "bootstrap_resamples": 200},
        }
        | changes
    )  # fmt: skip
    policy = PolicyRef(digest=hash_folder(BUILTIN_FOLDER), folder=BUILTIN_FOLDER)
    store = Store(Path(config.store))
    return StageContext(store, config, policy, log=lambda message: emit("log", message=message))
