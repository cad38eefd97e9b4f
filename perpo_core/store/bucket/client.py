"""s3fs as a bucket is asked here: each request once by the library, again by us, with a deadline.

botocore and s3fs each have retries of their own, which multiply; both are off.
"""

from __future__ import annotations

import asyncio
import io
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from fsspec.asyn import sync_wrapper
from s3fs import S3FileSystem

from perpo_core.store.bucket.errors import NotS3, describe, find_code, is_passing
from perpo_core.store.bucket.patience import OutOfPatience, Patience, Progress, persist

T = TypeVar("T")
SLOTS = 8  # parts of large files that move at once; small requests never wait behind them
CONNECTIONS = 64
CHUNK_BYTES, PART_BYTES = 1 << 16, 64 << 20  # of what is fetched
LOST_S = 5.0  # the patience with a server that has used up all of it a moment ago
REQUIRED = {
    "list_objects_v2": ("Name",),
    "list_multipart_uploads": ("Bucket",),
    "put_object": ("ETag",),
    "upload_part": ("ETag",),
    "create_multipart_upload": ("UploadId",),
    "complete_multipart_upload": ("ETag",),
    "get_object": ("ETag", "LastModified"),
}
"""What every S3 server gives in its answer."""


class PatientS3(S3FileSystem):
    """One for each address, which names it when something is told."""

    retries = 1
    cachable = False

    def __init__(self, address: str, patience: Patience) -> None:
        super().__init__(
            use_listings_cache=False,
            config_kwargs={
                "retries": {"total_max_attempts": 1},
                "connect_timeout": min(5.0, patience.silence_s),
                "read_timeout": patience.silence_s,
                "max_pool_connections": CONNECTIONS,
            },
        )
        self._address, self._patience = address, patience
        self._told_until_s = self._lost_until_s = 0.0
        self._slots = asyncio.Semaphore(SLOTS)

    async def persist(self, ask: Callable[[Progress], Awaitable[T]]) -> T:
        """What `ask` returns; raises OutOfPatience, and at once what will not pass."""
        patience = self._patience
        if time.monotonic() < self._lost_until_s:
            patience = replace(patience, give_up_s=min(LOST_S, patience.give_up_s))
        try:
            answer = await persist(ask, patience, is_passing, self._tell)
        except OutOfPatience:
            self._lost_until_s = time.monotonic() + self._patience.give_up_s
            raise
        self._lost_until_s = 0.0
        return answer

    async def ask_once(self, method: str, *options: Any, **named: Any) -> Mapping[str, Any]:
        """One try of a request; raises NotS3 for an answer of something else."""
        try:
            said: Mapping[str, Any] = await super()._call_s3(method, *options, **named)
        except RecursionError as error:  # botocore follows a log-in page's redirection for ever
            raise NotS3(f"it answers {method} with a redirection") from error
        _require_s3(method, named.get("Key", ""), said)
        return said

    async def _call_s3(self, method: str, *options: Any, **named: Any) -> Mapping[str, Any]:
        body = named.pop("Body", None)

        async def ask(progress: Progress) -> Mapping[str, Any]:
            sent = {} if body is None else {"Body": _Sent(body, progress)}
            return await self.ask_once(method, *options, **named, **sent)

        if method != "upload_part":
            return await self.persist(ask)
        async with self.slots():
            return await self.persist(ask)

    call_s3 = sync_wrapper(_call_s3)

    async def _fetch(self, name: Mapping[str, str]) -> tuple[Mapping[str, Any], bytes]:
        """An object's answer and content."""

        async def ask(progress: Progress) -> tuple[Mapping[str, Any], bytes]:
            said, content = await self.ask_once("get_object", **name), bytearray()
            async with said["Body"] as stream:
                async for chunk in stream.iter_chunks(CHUNK_BYTES):
                    content += chunk
                    progress.note(len(content))
            return said, bytes(content)

        return await self.persist(ask)

    fetch = sync_wrapper(_fetch)

    async def _fetch_to(self, name: Mapping[str, str], path: Path, num_bytes: int) -> None:
        """An object, as long as it should be, into a file, several parts at a time."""
        starts = range(0, max(num_bytes, 1), PART_BYTES)
        with path.open("wb") as file:
            try:
                async with asyncio.TaskGroup() as group:
                    for start in starts:
                        end = None if len(starts) == 1 else min(start + PART_BYTES, num_bytes)
                        group.create_task(self._get_part(name, file, start, end))
            except ExceptionGroup as errors:
                first = errors.exceptions[0]
                raise first from first.__cause__

    fetch_to = sync_wrapper(_fetch_to)

    async def _get_part(
        self, name: Mapping[str, str], file: BinaryIO, start: int, end: int | None
    ) -> None:
        """Bytes [start, end) of an object to their place, None: to its end.

        A try goes on where the one before it was cut off.
        """
        done = start

        async def ask(progress: Progress) -> None:
            nonlocal done
            if done == end:
                return
            last = "" if end is None else end - 1
            part = {"Range": f"bytes={done}-{last}"} if done or end is not None else {}
            said = await self.ask_once("get_object", **name, **part)
            async with said["Body"] as stream:
                async for chunk in stream.iter_chunks(CHUNK_BYTES):
                    file.seek(done)
                    file.write(chunk)
                    done += len(chunk)
                    progress.note(done - start)

        if end is None:
            await self.persist(ask)
            return
        async with self.slots():
            await self.persist(ask)

    def slots(self) -> asyncio.Semaphore:
        """To be entered before a part of a large file moves; waiting there is not silence."""
        return self._slots

    def _tell(self, error: Exception | None, left_s: float) -> None:
        """One line for all requests that wait at once."""
        if time.monotonic() < self._told_until_s:
            return
        self._told_until_s = time.monotonic() + left_s
        does, until = (
            describe(find_code(error) if error else None),
            time.localtime(time.time() + left_s),
        )
        print(
            f"{self._address} {does} for {self._patience.tell_s:g} s; trying on until "
            f"{time.strftime('%H:%M:%S', until)}",
            file=sys.stderr, flush=True,
        )  # fmt: skip


class _Sent(io.BytesIO):
    """A body on its way. It is hashed first, in one turn of the loop, and rewound."""

    def __init__(self, content: bytes, progress: Progress) -> None:
        super().__init__(content)
        self._progress, self._loop = progress, asyncio.get_running_loop()

    def read(self, size: int | None = -1) -> bytes:
        self._loop.call_soon_threadsafe(self._note)
        return super().read(size)

    def _note(self) -> None:
        if not self.closed:
            self._progress.note(self.tell())


def _require_s3(method: str, key: str, said: Mapping[str, Any]) -> None:
    """A page of a proxy may well be what was asked for, by its status alone."""
    headers = said.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    kind = str(headers.get("content-type", "nothing")).partition(";")[0]
    is_page = method == "get_object" and kind == "text/html" and not key.endswith(".html")
    if is_page or "date" not in headers or any(n not in said for n in REQUIRED.get(method, ())):
        raise NotS3(f"it answers {method} with {kind}")
