"""The child process of one benchmark: a whole model folder, then the command, without a shell.

The command inherits what the child itself writes to, its log. It ends with the child, whatever it
started (perpo_core/process/supervisor.py). Of a policy that is an adapter on its base the two are
merged first, as `perpo export` does; merged weights of 16 bits are rounded, which sampling here
avoids, so that what is measured is the exported model.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perpo_core.process.child import emit, load_job
from perpo_core.store.atomic import write_atomic
from perpo_core.store.base import POLICY_FILE
from schemas.benchmark_config import MODEL, OUTPUT, SETTINGS
from schemas.run import BenchmarkJob, PolicyRef

# Set for our own children. A harness that is started from its own folder finds itself by it.
NOT_HANDED_ON = ("PYTHONSAFEPATH",)


def run_command(job: BenchmarkJob) -> dict[str, Any]:
    """The command's exit status; None where it was ended for taking too long."""
    if job.policy.base is not None:
        emit("log", message="merging the policy's adapter into what it goes onto")
    model = find_model(job.policy, job.dtype, job.scratch)
    words = {MODEL: str(model), OUTPUT: str(job.output)}
    if job.settings:
        words[SETTINGS] = str(job.scratch / "settings.json")
        text = json.dumps(replace_words(job.settings, words), indent=2)
        write_atomic(Path(words[SETTINGS]), text.encode())
    env = {name: value for name, value in os.environ.items() if name not in NOT_HANDED_ON}
    process = subprocess.Popen(
        replace_words(job.command, words), cwd=job.folder, env=env | job.env,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        return {"returncode": process.wait(job.timeout_s)}
    except subprocess.TimeoutExpired:
        return {"returncode": None}


def replace_words(value: Any, words: Mapping[str, str]) -> Any:
    """A JSON value with the words replaced in every text of it.

    >>> replace_words(["--model", "x={model}"], {"{model}": "/m"})
    ['--model', 'x=/m']
    """
    if isinstance(value, dict):
        return {name: replace_words(inner, words) for name, inner in value.items()}
    if isinstance(value, list):
        return [replace_words(inner, words) for inner in value]
    if isinstance(value, str):
        for word, meaning in words.items():
            value = value.replace(word, meaning)
    return value


def find_model(policy: PolicyRef, dtype: str, scratch: Path) -> Path:
    """A folder with whole weights, configuration and processor of a policy."""
    if policy.base is None:
        return policy.folder
    merged = scratch / "model"
    if not merged.is_dir():  # else it was made before the command was killed
        _merge(policy, dtype, merged)
    return merged


def _merge(policy: PolicyRef, dtype: str, folder: Path) -> None:
    from perpo_core.policy.loading import save_merged  # torch, which no other policy needs

    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    others = (path for path in policy.folder.iterdir() if path.is_file())
    for path in (path for path in others if path.name != POLICY_FILE):
        shutil.copyfile(path, unfinished / path.name)
    save_merged(policy, dtype, unfinished)
    unfinished.rename(folder)


if __name__ == "__main__":
    job = load_job(BenchmarkJob)
    emit("result", **run_command(job))
