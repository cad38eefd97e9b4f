"""A small S3 server that misbehaves as asked: refuses, hangs, trickles, or is no S3 at all."""

from __future__ import annotations

import itertools
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PAGE = b"<html><head><title>Log in</title></head><body><p>Welcome<br/></p></body></html>"
ETAG = '"0123456789abcdef"'
STEP_BYTES = 1 << 16


class Misbehaving(ThreadingHTTPServer):
    """Does `faults` one after the other, one a request, and then works as S3 does."""

    daemon_threads = True

    def __init__(self, faults: Iterator[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STEP_BYTES)  # of who connects
        self.faults = faults
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.pause_s = 0.0
        """Between two steps of a body, in both directions."""
        self.ended = threading.Event()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that give up are what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Misbehaving

    def do(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        fault = next(self.server.faults, "")
        if fault == "silent":
            self.server.ended.wait()
        self.body = self._read_body()
        name = f"_do_{fault.partition(' ')[0]}"
        getattr(self, name)(*fault.split(" ")[1:])

    do_GET = do_PUT = do_DELETE = do_POST = do_HEAD = do

    def _read_body(self) -> bytes:
        left, body = int(self.headers.get("Content-Length") or 0), b""
        while left > len(body) and (step := self.rfile.read(min(STEP_BYTES, left - len(body)))):
            body += step
            time.sleep(self.server.pause_s)
        return body

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self._start(status, len(body), **headers)
        if self.command == "HEAD":
            return
        for start in range(0, len(body), STEP_BYTES):
            self.wfile.write(body[start : start + STEP_BYTES])
            time.sleep(self.server.pause_s)

    def _start(self, status: int, num_bytes: int, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(num_bytes))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def _do_503(self) -> None:
        self._answer(503, b"<Error><Code>SlowDown</Code><Message>no</Message></Error>")

    def _do_reset(self) -> None:
        self.close_connection = True
        self.connection.close()

    def _do_cut(self, num_bytes: str = "40") -> None:
        """So many bytes of what would be right, then nothing; a later part is whole."""
        body = self._get_object() or b"<ListBucketResult><Name>bucket</Name>" + 999 * b" "
        self._start(206 if "Range" in self.headers else 200, len(body), ETag=ETAG, **STAMP)
        self.wfile.write(body[: int(num_bytes)])
        self.close_connection = True

    def _do_drip(self) -> None:
        self._start(200, 1 << 20, ETag=ETAG, **STAMP)
        while not self.server.ended.wait(0.05):
            self.wfile.write(b"x")

    def _do_page(self, status: str = "200") -> None:
        self._answer(int(status), PAGE, Content_Type="text/html", ETag=ETAG, **STAMP)

    def _do_rough(self) -> None:
        """HTML as people write it, which is no XML."""
        self._answer(200, b"<!doctype html><p>Log in<br>", Content_Type="text/html")

    def _do_nothing(self) -> None:
        """200 and not a word."""
        self._answer(200)

    def _do_(self) -> None:
        path, _, query = self.path.partition("?")
        if self.command == "PUT":
            self.server.objects[self.path.removesuffix("?x-id=PutObject")] = self.body
            self._answer(200, ETag=ETAG)
        elif self.command == "POST":
            self._do_upload(path, query)
        elif "list-type" in query:
            self._answer(200, b"<ListBucketResult><Name>bucket</Name></ListBucketResult>")
        elif self.command == "GET" and (body := self._get_object()) is not None:
            status = 206 if "Range" in self.headers else 200
            self._answer(status, body, ETag=ETAG, **STAMP)
        else:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def _do_upload(self, path: str, query: str) -> None:
        """Of a file in parts: its start, and its end."""
        if "uploads" in query:
            self._answer(200, b"<Result><UploadId>1</UploadId></Result>")
            return
        parts = [name for name in self.server.objects if name.startswith(f"{path}?")]
        parts.sort(key=lambda name: int(re.findall(r"partNumber=(\d+)", name)[0]))
        self.server.objects[path] = b"".join(self.server.objects.pop(name) for name in parts)
        self._answer(200, b"<Result><ETag>1</ETag></Result>")

    def _get_object(self) -> bytes | None:
        body = self.server.objects.get(self.path.partition("?")[0])
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if body is None or part is None:
            return body
        return body[int(part[1]) : int(part[2]) + 1 if part[2] else None]

    def log_message(self, *args: object) -> None:
        """Nobody reads a line a request."""


STAMP = {"Last_Modified": formatdate(usegmt=True)}


@contextmanager
def misbehaving(*faults: str, forever: bool = False) -> Iterator[Misbehaving]:
    """A server with these faults; forever: the only one, over and over."""
    server = Misbehaving(itertools.cycle(faults) if forever else iter(faults))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
