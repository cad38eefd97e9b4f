"""Compose file, image and Kubernetes files name things that exist: programs, queues, settings."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from flows.serving.password import CLIENT_AUTH, SERVER_AUTH
from flows.serving.prefect_setup import PATIENT
from flows.serving.server import HOST, ORIGINS
from flows.serving.setup import HEARTBEAT_S, POOL
from flows.serving.shared_server import build_app
from flows.serving.supervised import supervised
from perpo_core.process.environment import DEFAULTS
from tests.flows.api import wait_until
from tests.flows.served import find_free_port
from tests.flows.whole import build_bare_env

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
COMPOSE: dict[str, Any] = yaml.safe_load((INFRA / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
KUBERNETES = [
    document
    for path in sorted((INFRA / "kubernetes").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
]
CONTAINERS = [
    document["spec"]["template"]["spec"]["containers"][0]
    for document in KUBERNETES
    if document["kind"] != "ConfigMap"
]
(CONFIG_MAP,) = [document["data"] for document in KUBERNETES if document["kind"] == "ConfigMap"]
CLIENTS = {"deploy", "worker-cpu", "worker-gpu", "worker-without-gpu"}
OURS = {name: one for name, one in SERVICES.items() if one["image"].startswith("perpo:")}
COMMANDS = [one["command"] for one in OURS.values()] + [one["command"] for one in CONTAINERS]
SECRETS = {CLIENT_AUTH, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
OTHERS = {"PERPO_STORE", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
DOCKERFILE = (INFRA / "Dockerfile").read_text()


def list_queues(commands: list[list[str]]) -> set[str]:
    return {each[each.index("--work-queue") + 1] for each in commands if "--work-queue" in each}


def list_settings() -> Iterator[str]:
    for service in OURS.values():
        yield from service["environment"]
    yield from CONFIG_MAP


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_is_one_of_this_environment(command: list[str]) -> None:
    assert Path(sys.executable).with_name(command[0]).is_file()
    if "worker" in command:
        assert command[command.index("--pool") + 1] == POOL


def test_workers_take_the_queues_that_deployments_use() -> None:
    deployments = yaml.safe_load((INFRA / "prefect.yaml").read_text())["deployments"]
    used = {one["work_pool"]["work_queue_name"] for one in deployments}
    assert list_queues([one["command"] for one in OURS.values()]) == used
    assert list_queues([one["command"] for one in CONTAINERS]) == used


def test_every_setting_is_one_that_is_read() -> None:
    import prefect.settings

    known = set(DEFAULTS) | OTHERS
    unknown = {name for name in set(list_settings()) - known if not hasattr(prefect.settings, name)}
    assert unknown == set()


def test_whoever_runs_a_flow_is_as_quiet_and_patient_as_the_command() -> None:
    offline = ("DO_NOT_TRACK", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "VLLM_NO_USAGE_STATS",
               "PREFECT_SERVER_ANALYTICS_ENABLED")  # fmt: skip
    wanted = {name: DEFAULTS[name] for name in offline} | PATIENT
    wanted["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] = str(HEARTBEAT_S)
    for environment in (*(SERVICES[name]["environment"] for name in CLIENTS), CONFIG_MAP):
        assert wanted.items() <= environment.items()
    assert set(CONFIG_MAP) == set(SERVICES["worker-gpu"]["environment"]) - SECRETS


def test_services_depend_on_services_and_mount_volumes_that_exist() -> None:
    for service in SERVICES.values():
        assert set(service.get("depends_on", [])) <= set(SERVICES)
        names = {volume.partition(":")[0] for volume in service.get("volumes", [])}
        assert names <= set(COMPOSE["volumes"])


def test_passwords_come_from_outside_and_nothing_else_is_open_to_the_network() -> None:
    example = (INFRA / "compose.env.example").read_text()
    asked = set(re.findall(r"\$\{(\w+):\?", (INFRA / "compose.yaml").read_text()))
    assert asked == set(re.findall(r"^(\w+)=$", example, re.MULTILINE)), "none that all know"
    environment = {key: str(value) for one in SERVICES.values()
                   for key, value in one.get("environment", {}).items()}  # fmt: skip
    secret = [key for key in environment if re.search("PASSWORD|SECRET|AUTH|CONNECTION_URL", key)]
    assert {CLIENT_AUTH, SERVER_AUTH} < set(secret)
    assert all(":?" in environment[key] for key in secret)
    ports = [port for one in SERVICES.values() for port in one.get("ports", [])]
    assert ports == ["127.0.0.1:4200:4200"]


def test_the_server_is_known_by_the_names_that_are_used_and_by_no_others() -> None:
    settings, client = (SERVICES[name]["environment"] for name in ("server", "worker-cpu"))
    public, *own = settings[ORIGINS].split(",")
    assert public == settings["PREFECT_UI_API_URL"].removesuffix("/api")
    assert client["PREFECT_API_URL"].removesuffix("/api") in own
    health = SERVICES["server"]["healthcheck"]["test"][-1]
    assert any(f"'{address}/api/health'" in health for address in own)


@pytest.mark.slow
def test_the_server_of_the_compose_file_lets_in_whom_it_should(tmp_path: Path) -> None:
    """Its command and settings, on SQLite and another port."""
    port, auth = find_free_port(), ("perpo", "secret")
    settings = SERVICES["server"]["environment"]
    own = {
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_UI_ENABLED": "false",
        SERVER_AUTH: ":".join(auth),
        ORIGINS: settings[ORIGINS].partition("},")[2].replace("4200", str(port)),
    }
    command = [word.replace("0.0.0.0", HOST).replace("4200", str(port))
               for word in SERVICES["server"]["command"]]  # fmt: skip
    log = tmp_path / "log"
    log, url = tmp_path / "log", f"http://{HOST}:{port}/api"
    with (
        supervised(["-m", *command], log_path=log, env=build_bare_env(**own)) as process,
        httpx.Client(trust_env=False, timeout=30) as client,
    ):
        wait_until(lambda: process.poll() is not None or answers(client, url), 90)
        assert process.poll() is None, log.read_text()
        for host in (f"server:{port}", f"{HOST}:{port}"):
            named = client.get(f"{url}/hello", auth=auth, headers={"Host": host})
            assert named.status_code == 200
        refused = client.get(f"{url}/hello", headers={"Host": "evil.example"}, auth=auth)
        assert refused.status_code == 400
        page = client.post(f"{url}/flows/filter", headers={"Origin": "http://a"}, auth=auth)
        assert page.status_code == 403
        assert client.get(f"{url}/hello").status_code == 401


def answers(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/health").is_success
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("lacks", [SERVER_AUTH, ORIGINS])
def test_a_shared_server_is_not_open_to_all(lacks: str) -> None:
    from prefect.settings import (
        PREFECT_SERVER_API_AUTH_STRING,
        PREFECT_SERVER_CORS_ALLOWED_ORIGINS,
        temporary_settings,
    )

    given = {
        SERVER_AUTH: (PREFECT_SERVER_API_AUTH_STRING, "perpo:secret"),
        ORIGINS: (PREFECT_SERVER_CORS_ALLOWED_ORIGINS, "http://a:4200"),
    }
    del given[lacks]
    with temporary_settings(dict(given.values())), pytest.raises(ValueError, match="is not set"):
        build_app()


def test_every_image_has_a_tag_that_says_what_it_is() -> None:
    bases = re.findall(r"^FROM (\S+:\S+)", DOCKERFILE, re.MULTILINE)
    images = [one["image"] for one in (*SERVICES.values(), *CONTAINERS)]
    assert bases
    assert all(re.search(r":[\w.-]+$", image) for image in (*bases, *images))
    assert not [image for image in (*bases, *images) if image.endswith(":latest")]
    targets = set(re.findall(r"^FROM base AS (\w+)", DOCKERFILE, re.MULTILINE))
    assert {one["build"]["target"] for one in OURS.values()} == targets == {"cpu", "gpu"}
    assert all(one["image"] == f"perpo:{one['build']['target']}" for one in OURS.values())


def test_images_hold_the_packages_and_no_user_is_root() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    wanted = {name.rstrip("*") for name in packages["packages"]["find"]["include"]}
    let_in = set(re.findall(r"^!(\S+)", (INFRA / "Dockerfile.dockerignore").read_text(), re.M))
    assert wanted | {"infra", "pyproject.toml", "README.md", "LICENSE"} == let_in
    for target in DOCKERFILE.split("FROM base AS ")[1:]:
        assert target.index("USER perpo") < target.index("COPY") < target.index("infra/setup.sh")
