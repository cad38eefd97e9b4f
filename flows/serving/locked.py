"""Pages behind a key in the address, or the password of the API: what lets in and what is answered.

They load and run nothing but what is here, and no other page may frame them.
"""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows.serving.report_route import is_allowed

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the address has the key
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}


class Locked:
    """Lets in who has the key or the password, and puts HEADERS on every answer."""

    def __init__(self, app: ASGIApp, key: str | None, auth: str | None) -> None:
        self._app, self._key, self._auth = app, key, auth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        inner, scope = self._choose(scope)
        await inner(scope, receive, send_guarded)

    def _choose(self, scope: Scope) -> tuple[ASGIApp, Scope]:
        """The pages, where the request may see them, or a refusal."""
        root = scope.get("root_path", "")
        given = scope["path"].removeprefix(root).lstrip("/").partition("/")[0]
        if self._key is not None and hmac.compare_digest(given.encode(), self._key.encode()):
            return self._app, {**scope, "root_path": f"{root}/{given}"}
        if self._auth is None:
            return refuse(404, "there is nothing here"), scope
        if is_allowed(Headers(scope=scope).get("Authorization"), self._auth):
            return self._app, scope
        asking = {"WWW-Authenticate": 'Basic realm="perpo"'}
        return PlainTextResponse("user and password, please\n", 401, asking), scope


def refuse(status: int, sentence: str) -> Response:
    """A sentence for who asked for what is not to be had."""
    return PlainTextResponse(f"{sentence}\n", status)
