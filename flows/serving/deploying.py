"""`perpo deploy`: what `perpo serve` gives its own server, for a server that others run.

Work pool, GPU slot, watches over dead runs and the deployments of infra/prefect.yaml, created or
brought up to date. Workers are started by whoever runs the machines (docs/deploy.md).
"""

from __future__ import annotations

import os
from pathlib import Path

from flows.serving.prefect_setup import check_access
from flows.serving.serve import PREFECT_FILE, ROOT, Say
from flows.serving.setup import set_up
from flows.serving.supervised import build_python_path
from perpo_core.process.environment import DEFAULTS

STORE = "PERPO_STORE"


def deploy_all(say: Say, prefect_file: Path = PREFECT_FILE) -> None:
    """Deploy to the server of PREFECT_API_URL, for the store of PERPO_STORE.

    Raises ValueError, one sentence, if one of them is not set, the server refuses us, or Prefect
    refuses a deployment.
    """
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME

    address = PREFECT_API_URL.value()
    if not address:
        raise ValueError("PREFECT_API_URL is not set: name the server, http://HOST:4200/api")
    if not os.environ.get(STORE):
        raise ValueError(f"{STORE} is not set: name the store that all workers reach")
    if not prefect_file.is_file():
        raise ValueError(f"{prefect_file} is missing; run from a checkout of the repository")
    check_access(address)
    home: Path = PREFECT_HOME.value()
    home.mkdir(parents=True, exist_ok=True)
    env = {**DEFAULTS, **os.environ, "PYTHONPATH": build_python_path()}
    set_up(address, prefect_file, home, ROOT, env)
    say(f"deployed {prefect_file} to {address} (store: {os.environ[STORE]})")
