"""Calls to an OpenAI-compatible server: bounded in number and at a time, patient where that helps.

Tried again are 429, 5xx and replies that did not come in time, and nothing else. The wait doubles;
Retry-After goes first. The key comes from the environment, goes into one header, and is taken out
of whatever a server says. Redirections are not followed, so that it goes to nobody else.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from weakref import WeakValueDictionary

import httpx

from perpo_core.perception.rewards import Fault
from perpo_core.perception.rewards.outside import JudgeOptions
from perpo_core.stages.outside.questions import Question

MAX_WAIT_S = 300.0  # a server that asks for more patience is not waited for
REFUSED = (401, 403, 404, 405)  # whatever is asked
SHOWN_CHARACTERS = 200


@dataclass(frozen=True)
class Reply:
    """What the server said, or why it said nothing."""

    text: str | None
    error: str | None = None
    fault: Fault = "server"


class Allowance:
    """What may be asked of a server, by all shares of a stage together."""

    def __init__(self, options: JudgeOptions) -> None:
        self.in_flight = threading.Semaphore(options.max_concurrency)
        self._num_left, self._lock = options.max_calls, threading.Lock()

    def take(self) -> bool:
        """Whether one more call is allowed."""
        with self._lock:
            if self._num_left is None:
                return True
            self._num_left = max(-1, self._num_left - 1)
            return self._num_left >= 0


_allowances: WeakValueDictionary[tuple[str, str], Allowance] = WeakValueDictionary()
_lock = threading.Lock()


def share_allowance(options: JudgeOptions, place: str) -> Allowance:
    """The one that others in this process use now, or a new one."""
    with _lock:
        key = place, options.model_dump_json()
        found = _allowances.get(key)
        if found is None:
            found = _allowances[key] = Allowance(options)
        return found


class Server:
    """Asks questions, many at a time.

    `again` is what errors advise; with an `allowance` it asks no more than that leaves, instead of
    what its own options say.
    """

    def __init__(
        self,
        options: JudgeOptions,
        place: str,
        again: str = "score again",
        allowance: Allowance | None = None,
    ) -> None:
        self._options, self._again = options, again
        self._url = f"{options.base_url}/chat/completions"
        self.allowance = allowance or share_allowance(options, place)

    def ask_all(
        self, questions: Sequence[Question], keep: Callable[[str, str], None]
    ) -> dict[str, Reply]:
        """Digest -> reply; `keep` gets every reply as it comes.

        Raises ValueError where nobody is at the address, it lets nobody in, or the key is missing.
        """
        if not questions:
            return {}
        key = self._read_key()
        stopped = threading.Event()
        with httpx.Client(timeout=self._options.timeout_s, headers=_write_headers(key)) as client:
            caller = Caller(
                self._options, self._url, client, self.allowance, stopped, key, self._again
            )
            with ThreadPoolExecutor(min(self._options.max_concurrency, len(questions))) as pool:
                futures = {pool.submit(caller.ask, each, keep): each.digest for each in questions}
                try:
                    return {futures[done]: done.result() for done in as_completed(futures)}
                except BaseException:
                    stopped.set()
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise

    def _read_key(self) -> str | None:
        name = self._options.api_key_env
        if name is None:
            return None
        key = os.environ.get(name, "").strip()
        if not key:
            raise ValueError(f"the judge's key is to be in {name}, which is not set; export it")
        return key


def _write_headers(key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


@dataclass(frozen=True)
class Caller:
    """One question after another, in as many threads as there are."""

    options: JudgeOptions
    url: str
    client: httpx.Client
    allowance: Allowance
    stopped: threading.Event
    key: str | None
    again: str

    def ask(self, question: Question, keep: Callable[[str, str], None]) -> Reply:
        """The final reply, which `keep` gets where there is one."""
        reply = self._call(question.build_body())
        if reply.text is not None:
            keep(question.digest, reply.text)
        return reply

    def _call(self, body: dict[str, Any]) -> Reply:
        why = "it was not asked"
        for attempt in range(self.options.retries + 1):
            with self.allowance.in_flight:
                if self.stopped.is_set():
                    return Reply(None, why)
                if not self.allowance.take():
                    said = f"all {self.options.max_calls} calls of max_calls are used up"
                    return Reply(None, f"{said}; raise it and {self.again}")
                outcome, wait_s = self._try(body)
            if isinstance(outcome, Reply):
                return outcome
            why = outcome
            wait_s = self.options.backoff_s * 2**attempt if wait_s is None else wait_s
            if wait_s > MAX_WAIT_S or attempt == self.options.retries:
                break
            self.stopped.wait(wait_s)
        return Reply(None, f"{self.url}: {why}, {attempt + 1} calls in all; {self.again}")

    def _try(self, body: dict[str, Any]) -> tuple[Reply | str, float | None]:
        """A reply that is final, or why to ask again and how long the server wants to wait."""
        try:
            response = self.client.post(self.url, json=body)
        except httpx.TimeoutException:
            return f"no reply within {self.options.timeout_s:g} s", None
        except httpx.ConnectError as error:
            raise ValueError(
                f"no server is at {self.url} ({self._clean(str(error))}); start it, or correct "
                "base_url, and give the same command again"
            ) from None
        except httpx.HTTPError as error:
            return Reply(
                None, f"{self.url}: {type(error).__name__}: {self._clean(str(error))}"
            ), None
        if response.status_code == 429 or response.status_code >= 500:
            return f"status {response.status_code}", _read_wait(response)
        if response.status_code in REFUSED:
            raise ValueError(self._describe(response) + "; correct base_url, model or api_key_env")
        if not response.is_success:
            return Reply(None, self._describe(response), "reward"), None
        return self._read(response), None

    def _read(self, response: httpx.Response) -> Reply:
        try:
            choice = response.json()["choices"][0]
            text, reason = choice["message"]["content"], choice.get("finish_reason")
        except (ValueError, LookupError, TypeError, AttributeError):
            said = self._clean(response.text)
            return Reply(None, f"{self.url} sent no chat completion: {said!r}")
        if isinstance(text, str) and text.strip():
            return Reply(text)
        cut = f", cut off at max_tokens = {self.options.max_tokens}" if reason == "length" else ""
        return Reply(None, f"the judge's reply is empty{cut}", "reward")

    def _describe(self, response: httpx.Response) -> str:
        said = self._clean(response.text)
        return f"{self.url} refused: status {response.status_code}{f', {said!r}' if said else ''}"

    def _clean(self, text: str) -> str:
        """On one line, short, and without the key, which some servers repeat."""
        plain = text.replace(self.key, "***") if self.key else text
        return " ".join(plain.split())[:SHOWN_CHARACTERS]


def _read_wait(response: httpx.Response) -> float | None:
    """Seconds of Retry-After, which is a number or a date; None where it says nothing."""
    said = response.headers.get("retry-after", "")
    try:
        return max(0.0, float(said))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(said)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())
