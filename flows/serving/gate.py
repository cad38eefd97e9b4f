"""Who may speak to a server of ours at all, before anybody asks for a password.

A browser sends requests for whatever page it shows, and says for which: in Origin, and in Host the
name by which it found us. Pages of others have an Origin of their own, or a name of their own that
they have pointed at this machine (DNS rebinding). Programs send no Origin, and our address as Host.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class OwnOrigins:
    """Refuses the requests of pages that are not at one of our addresses."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self.app, self.origins = app, frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            origin = Headers(scope=scope).get("Origin")
            if origin is not None and origin not in self.origins:
                refusal = PlainTextResponse("requests of other pages are refused\n", 403)
                return await refusal(scope, receive, send)
        await self.app(scope, receive, send)


def guard(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """The app for those who come by these addresses, "http://HOST:PORT"; others get 400 or 403."""
    hosts = [urlsplit(origin).hostname or "" for origin in origins]
    return TrustedHostMiddleware(OwnOrigins(app, origins), hosts, www_redirect=False)
