"""A real S3 server on this machine, and working copies of several machines on one bucket."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from perpo_core.store.bucket import store as remote_store
from perpo_core.store.bucket.objects import open_remote
from perpo_core.store.bucket.store import RemoteStore
from perpo_core.store.place import CACHE

_NUMBERS = itertools.count()
REQUESTS: list[str] = []
"""All that the server was asked, such as "GET /bucket-0/team/perpo/runs/a.json"."""


@contextmanager
def serving_s3() -> Iterator[str]:
    """moto's server, one request at a time: what it decides on a condition it decides alone."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            REQUESTS.append(f"{self.command} {self.path}")

    app = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, app, threaded=False, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def build_aws_env(endpoint: str) -> dict[str, str]:
    """What botocore reads; no file of the user's."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "a-secret-that-nothing-may-show",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def make_bucket() -> str:
    """The address of an empty store in a new bucket of the server in the environment."""
    import s3fs

    name = f"bucket-{next(_NUMBERS)}"
    s3fs.S3FileSystem(use_listings_cache=False).call_s3("create_bucket", Bucket=name)
    return f"s3://{name}/team/perpo"


class Machines:
    """Machines that share a store: each with a working copy of its own, and no memory."""

    def __init__(self, address: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.address, self._folder, self._monkeypatch = address, folder, monkeypatch
        self.remote = open_remote(address)

    def open(self, name: str) -> RemoteStore:
        """The store as a process that starts on this machine sees it."""
        self._monkeypatch.setenv(CACHE, str(self._folder / name))
        self._monkeypatch.setattr(remote_store, "_BUCKETS", {})
        return RemoteStore(self.address)
