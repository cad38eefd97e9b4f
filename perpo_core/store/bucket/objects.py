"""What the store asks of an S3 bucket: whole objects, writes on a condition, listings.

Thin over s3fs. Credentials, region and endpoint are what botocore finds in the environment
(AWS_ACCESS_KEY_ID, AWS_PROFILE, AWS_ENDPOINT_URL, ...); nothing of them is kept or said.
Left out: other object stores, since fsspec has no common word for a write on a condition.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from perpo_core.store.bucket.errors import LOST, MISSING, RemoteError, explain_remote, find_code
from perpo_core.store.bucket.patience import Patience

__all__ = ["Body", "Listed", "Remote", "RemoteError", "open_remote"]

ADDRESS = re.compile(
    r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>[\w./=-]+))?"
)
TRANSFERS = 8  # at a time; each is a connection
SENT_BYTES, SENT_AT_ONCE = 8 << 20, 4  # parts of a file; a part that fails is sent from its start
PATIENCE = Patience()


@dataclass(frozen=True)
class Body:
    """An object as it was read."""

    content: bytes
    version: str
    """Its ETag: what `swap` compares."""
    age_s: float
    """Since it was written, by the server's own clock."""


@dataclass(frozen=True)
class Listed:
    """An object as a listing shows it."""

    num_bytes: int
    modified_s: float
    """Unix time."""
    version: str = ""
    """Its ETag."""


@dataclass(frozen=True)
class Upload:
    """An upload in parts that is going on, or was cut off: unlisted and paid for."""

    name: str
    number: str
    begun_s: float
    """Unix time."""


class Remote:
    """The objects below one address, by names such as runs/a.json."""

    def __init__(self, address: str, patience: Patience | None = None) -> None:
        match = ADDRESS.fullmatch(address)
        if match is None:
            raise RemoteError(
                f"store = {address} is not supported; give a folder or s3://bucket/prefix"
            )
        self.address = address
        self._bucket, prefix = match["bucket"], (match["prefix"] or "").strip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        try:
            from perpo_core.store.bucket.client import PatientS3
        except ModuleNotFoundError as error:
            raise RemoteError(
                f"store = {address} needs the package s3fs; install it with pip install 'perpo[s3]'"
            ) from error
        self._fs = PatientS3(address, patience or PATIENCE)

    def read(self, name: str) -> Body | None:
        """An object; None if there is none."""
        with self._explaining(), _none_if(MISSING) as found:
            said, content = self._fs.fetch(self._name(name))
            now = parsedate_to_datetime(said["ResponseMetadata"]["HTTPHeaders"]["date"])
            age_s = (now - said["LastModified"]).total_seconds()
            found += [Body(content, said["ETag"], age_s)]
        return found[0] if found else None

    def read_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """Those of some objects that there are."""
        listed = list(names)
        found = zip(listed, self.map(self.read, listed), strict=True)
        return {name: body.content for name, body in found if body is not None}

    def write(self, name: str, content: bytes) -> None:
        """Write an object, whatever was there."""
        with self._explaining():
            self._fs.call_s3("put_object", **self._name(name), Body=content)

    def swap(self, name: str, content: bytes, version: str | None) -> str | None:
        """Write an object if it is still of this version (None: if there is none).

        Returns its new version; None if somebody else was faster.
        """
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        with self._explaining(), _none_if(LOST) as written:
            said = self._fs.call_s3("put_object", **self._name(name), Body=content, **condition)
            written += [said["ETag"]]
        return written[0] if written else None

    def upload(self, path: Path, name: str) -> None:
        """Write a file of any size as an object."""
        with self._explaining():
            self._fs.put_file(
                str(path), f"{self._bucket}/{self._prefix}{name}",
                chunksize=SENT_BYTES, max_concurrency=SENT_AT_ONCE,
            )  # fmt: skip

    def download(self, name: str, path: Path, num_bytes: int) -> bool:
        """Write an object, as long as it should be, to a file; False if there is none."""
        with self._explaining(), _none_if(MISSING) as done:
            self._fs.fetch_to(self._name(name), path, num_bytes)
            done += [True]
        return bool(done)

    def list_objects(self, folder: str = "") -> dict[str, Listed]:
        """Every object below a folder such as "runs/", by name."""
        found: dict[str, Listed] = {}
        asked: dict[str, Any] = {"Bucket": self._bucket, "Prefix": self._prefix + folder}
        while True:
            with self._explaining():
                said = self._fs.call_s3("list_objects_v2", **asked)
            for each in said.get("Contents", ()):
                modified_s = each["LastModified"].timestamp()
                listed = Listed(each["Size"], modified_s, each["ETag"])
                found[each["Key"].removeprefix(self._prefix)] = listed
            if not said.get("IsTruncated"):
                return found
            asked["ContinuationToken"] = said["NextContinuationToken"]

    def list_folders(self, folder: str) -> list[str]:
        """The names right below a folder that have objects below them."""
        asked = {"Bucket": self._bucket, "Prefix": self._prefix + folder, "Delimiter": "/"}
        found: list[str] = []
        while True:
            with self._explaining():
                said = self._fs.call_s3("list_objects_v2", **asked)
            for each in said.get("CommonPrefixes", ()):
                found.append(each["Prefix"].rstrip("/").rpartition("/")[2])
            if not said.get("IsTruncated"):
                return found
            asked["ContinuationToken"] = said["NextContinuationToken"]

    def list_uploads(self) -> list[Upload]:
        """Every upload in parts that was neither finished nor ended."""
        asked: dict[str, Any] = {"Bucket": self._bucket, "Prefix": self._prefix}
        found: list[Upload] = []
        while True:
            with self._explaining():
                said = self._fs.call_s3("list_multipart_uploads", **asked)
            for each in said.get("Uploads", ()):
                name, begun_s = each["Key"].removeprefix(self._prefix), each["Initiated"]
                found.append(Upload(name, each["UploadId"], begun_s.timestamp()))
            if not said.get("IsTruncated"):
                return found
            asked["KeyMarker"] = said["NextKeyMarker"]
            asked["UploadIdMarker"] = said["NextUploadIdMarker"]

    def end_upload(self, upload: Upload) -> None:
        """Let its parts go; nothing if it has ended."""
        with self._explaining(), _none_if(("NoSuchUpload",)):
            self._fs.call_s3(
                "abort_multipart_upload", **self._name(upload.name), UploadId=upload.number
            )

    def check(self) -> None:
        """Raise RemoteError unless all that the store does is possible here.

        Some servers take a condition and pay it no heed, and two machines would overwrite each
        other.
        """
        name = f".check-{uuid.uuid4().hex}"
        version = self.swap(name, b"1", None)
        try:
            again, late = self.swap(name, b"2", None), self.swap(name, b"3", '"0"')
            body, listed = self.read(name), self.list_objects(name)
        finally:
            self.delete(name)
        if version is None or again or late or body is None or body.content != b"1":
            raise RemoteError(
                f"store = {self.address}: the server does not keep to conditional writes "
                "(If-None-Match, If-Match), without which machines would overwrite each other; "
                "use one that does"
            )
        if list(listed) != [name]:
            raise RemoteError(f"store = {self.address}: a new object is not listed; try again")

    def delete(self, name: str) -> None:
        """Remove an object; nothing if there is none."""
        with self._explaining():
            self._fs.call_s3("delete_object", **self._name(name))

    def map(self, function: Any, values: Sequence[Any]) -> list[Any]:
        """The function's results, several transfers at a time; raises what the first raised."""
        with ThreadPoolExecutor(TRANSFERS) as pool:
            return list(pool.map(function, values))

    def _name(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + name}

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """What goes wrong is one sentence, and names no credentials."""
        try:
            yield
        except Exception as error:
            sentence = explain_remote(error, self._bucket)
            if sentence is None:
                raise
            raise RemoteError(f"store = {self.address}: {sentence}") from error


@lru_cache
def open_remote(address: str) -> Remote:
    """One for each address in a process; nothing is asked of the server yet."""
    return Remote(address)


@contextmanager
def _none_if(codes: Sequence[str]) -> Iterator[list[Any]]:
    """A list that stays empty if the block ends with one of these errors."""
    found: list[Any] = []
    try:
        yield found
    except Exception as error:
        if find_code(error) not in codes:
            raise
