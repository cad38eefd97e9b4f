"""A few steps seen by torch's profiler, for Perfetto (https://ui.perfetto.dev) or chrome://tracing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, schedule
from transformers import TrainerCallback

from perpo_core.stages.train.ranks import get_rank

SKIPPED_STEPS, STEPS = 2, 3  # the first ones compile and fill caches


class Profiler(TrainerCallback):
    """Writes FOLDER/rank-0.pt.trace.json.gz, and one more for each further process."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"rank-{get_rank()}.pt.trace.json.gz"
        activities = [ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(ProfilerActivity.CUDA)
        self._profile = profile(
            activities=activities,
            schedule=schedule(wait=SKIPPED_STEPS - 1, warmup=1, active=STEPS, repeat=1),
            on_trace_ready=self._write,
            profile_memory=True,
        )

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self._profile.start()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self._profile.step()

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        self._profile.stop()

    def _write(self, finished: Any) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        finished.export_chrome_trace(str(self._path))
