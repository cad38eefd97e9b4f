"""`perpo deploy` says in one sentence what it lacks; that it works is in test_postgres.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.serving.deploying import STORE, deploy_all
from flows.serving.server import HOST
from tests.flows.served import find_free_port


def refuse(match: str, prefect_file: Path | None = None) -> None:
    from flows.serving.serve import PREFECT_FILE

    with pytest.raises(ValueError, match=match):
        deploy_all(print, prefect_file or PREFECT_FILE)


def test_deploy_wants_a_server_a_store_and_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    monkeypatch.delenv(STORE, raising=False)
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        refuse("PREFECT_API_URL is not set: name the server")
    with temporary_settings({PREFECT_API_URL: f"http://{HOST}:{find_free_port()}/api"}):
        refuse(f"{STORE} is not set: name the store")
        monkeypatch.setenv(STORE, str(tmp_path))
        refuse("nothing.yaml is missing", tmp_path / "nothing.yaml")
