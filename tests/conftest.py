"""Fixtures for every folder of tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from perpo_core.process.environment import build_direct_env
from tests.s3 import Machines, build_aws_env, make_bucket, serving_s3

os.environ.update(build_direct_env(os.environ))  # servers of the tests are on this machine, too
CACHE = TemporaryDirectory(prefix="perpo-tests-")  # what tests learn of files goes with them
os.environ["PERPO_CACHE"] = CACHE.name
if "PYTEST_XDIST_WORKER" in os.environ:  # the processes of a suite have a core each
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """One temporary Prefect server and database for the few tests that run flows."""
    from prefect.settings import (
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_SERVER_ANALYTICS_ENABLED,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness

    settings = {
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,  # a second a flow run
        PREFECT_SERVER_ANALYTICS_ENABLED: False,  # nothing is sent anywhere, from tests neither
    }
    with (
        temporary_settings(settings),
        prefect_test_harness(server_startup_timeout=90),
    ):
        yield


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """An S3 server for all tests of this process."""
    pytest.importorskip("s3fs", reason="a store on S3 needs perpo's extra s3")
    with serving_s3() as endpoint:
        yield endpoint


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server in the environment, with credentials that it takes."""
    for name, value in build_aws_env(s3_endpoint).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def machines(s3: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    """Machines that share an empty store in a bucket."""
    return Machines(make_bucket(), tmp_path / "machines", monkeypatch)
