"""What goes wrong with a bucket: which of it may pass, and one sentence that says what to do."""

from __future__ import annotations

from typing import Any

from perpo_core.store.bucket.patience import OutOfPatience

MISSING = ("NoSuchKey",)
LOST = ("PreconditionFailed", "412", "ConditionalRequestConflict", "OperationAborted", "409",
        *MISSING)  # fmt: skip
REFUSED = ("403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken",
           "InvalidToken", "NoCredentialsError", "PartialCredentialsError", "ProfileNotFound",
           "TokenRetrievalError", "SSOTokenLoadError", "UnauthorizedSSOTokenError")  # fmt: skip
SILENT = ("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError",
          "AioReadTimeoutError", "ConnectionClosedError", "ProxyConnectionError",
          "HTTPClientError", "ClientConnectorError", "ConnectionResetError")  # fmt: skip
CUT = ("ClientPayloadError", "IncompleteReadError", "ResponseStreamingError",
       "FlexibleChecksumError")  # fmt: skip
SLOW = ("TimeoutError", "FSTimeoutError", "OutOfPatience")
BUSY = ("SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "TooManyRequests",
        "RequestLimitExceeded", "InternalError", "ServiceUnavailable")  # fmt: skip
LIBRARIES = ("botocore", "aiobotocore", "aiohttp")
ELSEWHERE = "check the network (a log-in page, a proxy) and AWS_ENDPOINT_URL"
NETWORK = "check the network and, for a server other than Amazon's, AWS_ENDPOINT_URL"


class RemoteError(ValueError):
    """The bucket could not do what was asked; one sentence says what to do."""


class NotS3(Exception):
    """An answer that no S3 server gives, such as a log-in page's."""


def find_code(error: BaseException) -> str | None:
    """The server's or the client's word for an error; None for a bug or a full disk."""
    cause: BaseException | None = error
    while cause is not None:
        if (code := _get_code(cause)) is not None:
            return code
        cause = cause.__cause__
    return "OutOfPatience" if isinstance(error, OutOfPatience) else None


def _get_code(error: BaseException) -> str | None:
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", "unknown"))
    name = type(error).__name__
    if type(error).__module__.partition(".")[0] in LIBRARIES:
        reason = getattr(error, "kwargs", {}).get("error")  # botocore calls all of them closed
        return type(reason).__name__ if type(reason).__name__ in CUT else name
    is_network = isinstance(error, TimeoutError | ConnectionError)
    return name if is_network or name == "FSTimeoutError" else None


def is_passing(error: Exception) -> bool:
    """Whether the same request may succeed a moment later."""
    code = find_code(error)
    if code is None or _is_wordless(error, code):
        return False
    return code in (*SILENT, *CUT, *SLOW, *BUSY) or _find_status(error) in (
        429,
        500,
        *range(502, 600),
    )


def _find_status(error: Exception) -> int | None:
    return _find_answer(error).get("HTTPStatusCode")


def _find_answer(error: BaseException | None) -> dict[str, Any]:
    """Status and headers of an error that the server told."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            return dict(response.get("ResponseMetadata", {}))
        error = error.__cause__
    return {}


def _is_wordless(error: Exception, code: str) -> bool:
    """S3 has a word for whatever it refuses; botocore makes a 500 of a page that is no XML."""
    kind = str(_find_answer(error).get("HTTPHeaders", {}).get("content-type", ""))
    if code == "500":
        return kind.startswith("text/html")
    return code in ("", *(str(n) for n in range(300, 500))) and code not in REFUSED


def describe(code: str | None) -> str:
    """What the server does, such as "does not answer (ReadTimeoutError)"."""
    if code is None or code in SLOW:
        return "gives no whole answer"
    if code in SILENT:
        return f"does not answer ({code})"
    return f"cuts its answers short ({code})" if code in CUT else f"fails ({code})"


def explain_remote(error: Exception, bucket: str) -> str | None:
    """One sentence without credentials; None for a bug or a full disk."""
    if isinstance(error, NotS3):
        return f"what answers is not S3: {error}; {ELSEWHERE}"
    code = find_code(error)
    if code is None:
        return None
    if code == "ResponseParserError" or _is_wordless(error, code):
        return f"what answers is not S3 ({code or 'an error without a code'}); {ELSEWHERE}"
    if code == "NoSuchBucket":
        return f"there is no bucket {bucket}; create it, or correct the address"
    if code in REFUSED:
        return (
            f"access was refused ({code}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AWS_PROFILE, to somebody who may read, list, write and delete there"
        )
    last = f" for {error.seconds:g} s" if isinstance(error, OutOfPatience) else ""
    advice = NETWORK if code in (*SILENT, *CUT, *SLOW) else "try again, or ask who runs it"
    return f"the server {describe(code)}{last}; {advice}"
