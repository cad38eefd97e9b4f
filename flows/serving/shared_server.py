"""Prefect's server for several machines, behind the same gate as that of `perpo serve`.

    uvicorn --factory flows.serving.shared_server:build_app --host 0.0.0.0 --port 4200

is `prefect server start` for those alone who come by one of its addresses, and never without a
password. Settings are Prefect's own, from the environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.serving.alerts import hide_addresses
from flows.serving.password import SERVER_AUTH
from flows.serving.server import ORIGINS

if TYPE_CHECKING:
    from starlette.types import ASGIApp


def build_app() -> ASGIApp:
    """The server; raises ValueError, one sentence, where it would be open to all."""
    from prefect.server.api.server import create_app
    from prefect.settings import PREFECT_SERVER_API_AUTH_STRING, PREFECT_SERVER_CORS_ALLOWED_ORIGINS

    from flows.serving.gate import guard

    if not PREFECT_SERVER_API_AUTH_STRING.value():
        raise ValueError(f"{SERVER_AUTH} is not set: choose the server's user:password")
    origins = PREFECT_SERVER_CORS_ALLOWED_ORIGINS.value().split(",")
    if "*" in origins:
        raise ValueError(
            f"{ORIGINS} is not set: name the addresses of the server, http://HOST:4200,..., those "
            "that workers use among them"
        )
    hide_addresses()
    return guard(create_app(final=True), origins)
