"""Environment variables for quiet, offline, telemetry-free runs: all of them, in this one place.

They are defaults: what the user has set stays, and NO_PROXY is only added to. Libraries read them
when they are imported, so the command line and every child process call apply_defaults() first.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from perpo_core.process.troubles import find_write_obstacle

DEFAULTS: dict[str, str] = {
    # Nothing is fetched behind the user's back: a hub id must lie in the local cache already.
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # huggingface_hub and transformers draw bars on stderr, which is the child's log.
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    # Phones home with model and hardware otherwise; vLLM reads both.
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    # The Prefect server sends usage events otherwise.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # The V2 page of newer servers contacts an analytics host even with analytics off.
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
    # Ray, where it is installed to score across hosts.
    "RAY_USAGE_STATS_ENABLED": "0",
    # The tokenizer's own threads deadlock after a fork, and warn about it at every fork.
    "TOKENIZERS_PARALLELISM": "false",
}

# glibc gives freed blocks back to the system at every training step and faults them in again at
# the next; keeping them measured 12% faster on a CPU. It reads these at process start only, so
# they are for run_child(env=...). Other C libraries ignore them.
CPU_TRAINING_ENV: dict[str, str] = {
    "MALLOC_TOP_PAD_": "268435456",  # bytes taken from the system at a time: 256 MiB
    "MALLOC_MMAP_THRESHOLD_": "1073741824",  # bytes from which a block is mapped alone: 1 GiB
    "MALLOC_TRIM_THRESHOLD_": "4294967296",  # free bytes at the top before any go back: 4 GiB
}


# Servers of this machine, which no proxy has a way to; as every library reads them: exact names.
LOOPBACK = ("127.0.0.1", "localhost", "::1")
NO_PROXY, ANY = ("no_proxy", "NO_PROXY"), "*"


# Where libraries keep their own files: below a home that nobody can write to they warn at length.
HOMES = {"MPLCONFIGDIR": "~/.config/matplotlib", "PREFECT_HOME": "~/.prefect"}


def apply_defaults() -> None:
    """Set every default that the environment does not have yet."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    for name, usual in HOMES.items():
        if name not in os.environ and find_write_obstacle(Path(usual).expanduser()):
            os.environ[name] = _make_passing_folder()
    os.environ.update(build_direct_env(os.environ))


def build_direct_env(env: Mapping[str, str]) -> dict[str, str]:
    """NO_PROXY in both spellings, with what `env` has in them and this machine's own addresses.

    Where both are set urllib and httpx read the small one, others the large one first: each keeps
    its own hosts. "*" has no company, since urllib takes it alone for everything.
    """
    found = [env[name] for name in NO_PROXY if name in env] or [""]
    own = {name: env.get(name, found[0]) for name in NO_PROXY}
    return {name: _add_loopback(hosts) for name, hosts in own.items()}


def _add_loopback(hosts: str) -> str:
    named = [host for word in hosts.split(",") if (host := word.strip())]
    if ANY in named:
        return ANY
    return ",".join([*named, *(host for host in LOOPBACK if host not in named)])


def _make_passing_folder() -> str:
    """A temporary folder that goes with this process; its children inherit it."""
    folder = tempfile.mkdtemp(prefix="perpo-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def build_child_env(threads: int, devices: Sequence[int | str] | None = None) -> dict[str, str]:
    """What a compute child gets on top: its CPU threads and, for one of several, its GPUs."""
    env = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    if devices is not None:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(str(device) for device in devices)
    return env
