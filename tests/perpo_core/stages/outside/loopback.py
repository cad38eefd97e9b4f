"""An OpenAI-compatible server on loopback that says and does what a test wants."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answered:
    """What it sends: a completion, or another status."""

    text: str = "Score: 5"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    wait_s: float = 0.0
    body: bytes | None = None


class Loopback:
    """Counts what it is asked."""

    def __init__(self, answer: Callable[[int, dict[str, Any]], Answered]) -> None:
        self._answer, self._lock = answer, threading.Lock()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times_s: list[float] = []
        self.num_at_once = self.most_at_once = 0
        self.url = ""

    def take(self, body: dict[str, Any], headers: dict[str, str]) -> Answered:
        with self._lock:
            self.num_at_once += 1
            self.most_at_once = max(self.most_at_once, self.num_at_once)
            self.bodies.append(body)
            self.headers.append(headers)
            self.times_s.append(time.monotonic())
            number = len(self.bodies) - 1
        answered = self._answer(number, body)
        time.sleep(answered.wait_s)
        with self._lock:
            self.num_at_once -= 1
        return answered


def read_question(body: dict[str, Any]) -> str:
    """The text of what is asked."""
    text: str = body["messages"][1]["content"][-1]["text"]
    return text


@contextmanager
def serve(answer: Callable[[int, dict[str, Any]], Answered]) -> Iterator[Loopback]:
    """Ask `answer` of every call, by its number and body."""
    server = Loopback(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            body = json.loads(self.rfile.read(length))
            answered = server.take(body, dict(self.headers))
            message = {"message": {"role": "assistant", "content": answered.text}}
            sent = answered.body or json.dumps({"choices": [message]}).encode()
            try:
                self.send_response(answered.status)
                for name, value in answered.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)
            except OSError:
                return  # the caller did not wait

        def log_message(self, *given: Any) -> None:
            """Not into the tests' output."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    thread = threading.Thread(target=http.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
