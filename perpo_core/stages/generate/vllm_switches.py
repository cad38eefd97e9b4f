"""Every switch of vLLM, with its reason; nothing else in the project configures it."""

from __future__ import annotations

import os
from typing import Any

from perpo_core.policy.processor import find_size_override
from perpo_core.stages.generate.vllm_adapter import build_adapter_switches
from schemas.run import SamplingJob


def build_engine_args(job: SamplingJob) -> Any:
    """vLLM's EngineArgs for a job; sets what vLLM reads from the environment at its import."""
    # The engine in this process: starts in 2 s instead of 11-20, and dies with the child.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    import torch
    from vllm.engine.arg_utils import EngineArgs

    on_cpu = not torch.cuda.is_available()
    if on_cpu:
        os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(max(1, round(job.kv_cache_gb)))
    request = job.request
    return EngineArgs(
        model=str(job.policy.weights_folder),
        trust_remote_code=False,
        dtype=request.dtype,
        max_model_len=request.max_model_len,
        seed=request.seed,
        logprobs_mode="raw_logprobs",  # the policy's own, before bans and temperature
        enforce_eager=on_cpu,  # compiling gained nothing on CPU
        tensor_parallel_size=job.tensor_parallel,
        disable_log_stats=True,
        limit_mm_per_prompt={"image": job.most_images},
        # Images arrive prepared, each once for all answers about it.
        mm_processor_cache_gb=0,
        mm_processor_kwargs=find_size_override(job.policy.folder, request.pixel_limits),
        **build_adapter_switches(job.policy),
        **_profile_switches(job),
        **(_cpu_switches(job) if on_cpu else _gpu_switches(job)),
    )


def _cpu_switches(job: SamplingJob) -> dict[str, Any]:
    return {
        # A per-request seed and a split prefill together kill the engine on CPU.
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(4096, job.request.max_model_len),
        "block_size": 32,  # short prompts: larger blocks waste cache
        "max_num_seqs": 256,
    }


def _profile_switches(job: SamplingJob) -> dict[str, Any]:
    """vLLM's torch profiler, in the worker: its operators, kernels and copies."""
    if job.profile is None:
        return {}
    from vllm.config import ProfilerConfig

    # Stacks of every operator make a step many times slower.
    profiler = ProfilerConfig(
        profiler="torch", torch_profiler_dir=str(job.profile), torch_profiler_with_stack=False,
        ignore_frontend=True,
    )  # fmt: skip
    return {"profiler_config": profiler}


def _gpu_switches(job: SamplingJob) -> dict[str, Any]:
    return {"gpu_memory_utilization": job.gpu_memory_utilization}
