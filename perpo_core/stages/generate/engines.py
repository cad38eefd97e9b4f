"""Engines by name. A new one is a file beside these, a line here, and its name in
GenerateConfig."""

from __future__ import annotations

from perpo_core.stages.generate.engine import Engine
from schemas.run import SamplingJob


def build_engine(job: SamplingJob) -> Engine:
    """The engine the job names; imports only that one."""
    if job.request.engine == "vllm":
        from perpo_core.stages.generate.vllm_engine import VllmEngine

        return VllmEngine(job)
    from perpo_core.stages.generate.transformers_engine import TransformersEngine

    return TransformersEngine(job)
