"""What a server needs to be of use: work pool, GPU slot, watches over dead runs, deployments.

Everything is created or brought up to date, so that it may be called again and again.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from flows.serving.supervised import supervised

POOL = "perpo"
NUM_GPU_SLOTS = 1
HEARTBEAT_S = 30  # the least that Prefect 3.7 takes
DEPLOY_LOG = "deploy.log"
DEPLOY_TIMEOUT_S = 300.0
TAIL_LINES = 12


def set_up(address: str, prefect_file: Path, home: Path, root: Path, env: dict[str, str]) -> None:
    """Give the server at an address all of it; the log of the deployments lies in `home`.

    `env` holds what the file's placeholders name. Raises ValueError if Prefect refuses one.
    """
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.serving.alerts import create_alerts
    from flows.serving.watches import create_watches

    with temporary_settings({PREFECT_API_URL: address}):
        create_pool(root)
        create_gpu_slot()
        create_watches()
        create_alerts()
    deploy(prefect_file, home, root, {**env, "PREFECT_API_URL": address})


def create_pool(root: Path) -> None:
    """A pool of plain processes, which all start the same way.

    Who may start a run may not thereby choose what it runs: a run's job variables are refused.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.workers.process import ProcessWorker

    template = build_job_template(root)
    pool = WorkPoolCreate(name=POOL, type=ProcessWorker.type, base_job_template=template)
    with get_client(sync_client=True) as client:
        client.create_work_pool(pool, overwrite=True)


def build_job_template(root: Path) -> dict[str, Any]:
    """What every run's process is started with: Prefect's own command, in the repository's folder.

    It has no variables, so that no run and no deployment changes command, folder or environment:
    the server refuses what the schema does not have, and the worker has no place to put it. Even
    an empty `env` here would be one, since the worker adds a run's to it.

    Left to itself the worker starts a run in a temporary folder, and removes that too early when a
    run is resumed within the seconds that its suspended process takes to end.
    """
    return {
        "job_configuration": {"working_dir": str(root)},
        "variables": {"type": "object", "properties": {}, "additionalProperties": False},
    }


def create_gpu_slot() -> None:
    """The slot that stages on the GPU wait for; a limit that someone has changed stays."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

    from tasks.slots import GPU_SLOT, slot_exists

    if slot_exists(GPU_SLOT):
        return
    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(
            GlobalConcurrencyLimitCreate(name=GPU_SLOT, limit=NUM_GPU_SLOTS)
        )


def deploy(prefect_file: Path, home: Path, root: Path, env: Mapping[str, str]) -> None:
    """Create or update every deployment of a file; raises ValueError if Prefect refuses one."""
    command = ["-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file"]
    log_path = home / DEPLOY_LOG
    with (
        supervised([*command, str(prefect_file)], log_path=log_path, env=env, cwd=root) as process,
        suppress(subprocess.TimeoutExpired),
    ):
        process.wait(DEPLOY_TIMEOUT_S)
    *said, end = log_path.read_text(encoding="utf-8", errors="replace").splitlines()
    if json.loads(end)["returncode"] != 0:
        tail = "\n".join(said[-TAIL_LINES:])
        raise ValueError(f"{prefect_file} could not be deployed (log: {log_path}):\n{tail}")
