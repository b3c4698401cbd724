"""The statuses of gRPC in which errors are answered."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from grpc import StatusCode

from app.api.http.errors import STATUS, describe, in_one_line
from app.api.telemetry.record import Record
from app.errors import BadRequest, KeraportError, TooManyRequests, Unavailable
from app.logs import kind, trace

log = logging.getLogger(__name__)

# As TensorFlow Serving and Triton choose them.
_CODES = {
    "bad_request": StatusCode.INVALID_ARGUMENT,
    "invalid_input": StatusCode.INVALID_ARGUMENT,
    "unsupported_media_type": StatusCode.INVALID_ARGUMENT,
    "unauthorized": StatusCode.UNAUTHENTICATED,
    "forbidden": StatusCode.PERMISSION_DENIED,
    "model_not_found": StatusCode.NOT_FOUND,
    "not_found": StatusCode.NOT_FOUND,
    "too_large": StatusCode.RESOURCE_EXHAUSTED,
    "too_many_requests": StatusCode.RESOURCE_EXHAUSTED,
    "client_disconnected": StatusCode.CANCELLED,
    "overloaded": StatusCode.UNAVAILABLE,
    "model_unavailable": StatusCode.UNAVAILABLE,
    "draining": StatusCode.UNAVAILABLE,
    "deadline_exceeded": StatusCode.DEADLINE_EXCEEDED,
    "internal": StatusCode.INTERNAL,
    "non_finite_output": StatusCode.INTERNAL,
}
# Characters that a message is sent with as they are.
_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
# Bytes of a message as it is sent: clients refuse metadata of more than 8 kB.
MAX_MESSAGE = 4000
# How long clients that retry by themselves have to wait (gRPC's proposal A6).
PUSHBACK = "grpc-retry-pushback-ms"
REQUEST_ID = "x-request-id"
# Where nginx sends a call, instead of answering it: to a location of nginx/conf.d/grpc.conf.
ELSEWHERE = "x-accel-redirect"


class Unsupported(BadRequest):
    """A method, or a part of it, that this server does not have."""


class NoSignature(BadRequest):
    """A model has no signature of the name in a request for a prediction."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a call. message: encoded. trailers: the metadata at its end."""

    message: bytes = b""
    code: StatusCode = StatusCode.OK
    details: str = ""
    trailers: tuple[tuple[str, str], ...] = ()


def http_status(error: Exception) -> int:
    """Return the status that stands for an error in the log and the metrics: that of v1 and v2."""
    if not isinstance(error, KeraportError):
        return 500
    status = STATUS[error.code]
    return 400 if status == 422 else status


def error_reply(error: Exception, record: Record) -> Reply:
    """Return the answer to an exception, and write unexpected ones to the log."""
    trailers: list[tuple[str, str]] = []
    if not isinstance(error, KeraportError):
        context = _context(record) | {"exception": trace(error)}
        log.error("a request failed: %s", kind(error), extra=context)
        details = "the server failed on this request; its log says why, under this id"
        return Reply(code=StatusCode.INTERNAL, details=details)
    code = _CODES[error.code]
    if isinstance(error, Unsupported):
        code = StatusCode.UNIMPLEMENTED
    elif isinstance(error, NoSignature):
        code = StatusCode.FAILED_PRECONDITION
    if code is StatusCode.INTERNAL:
        # Its message may quote the request; only the answer contains it.
        cause = error.__context__
        problem = kind(error) if cause is None else f"{kind(error)} ({kind(cause)})"
        log.error("a request failed: %s", problem, extra=_context(record))
    if isinstance(error, Unavailable | TooManyRequests):
        trailers.append((PUSHBACK, str(error.retry_after * 1000)))
    return Reply(code=code, details=_shortened(in_one_line(describe(error))), trailers=(*trailers,))


def _shortened(message: str) -> str:
    """Return as much of a message as metadata may hold."""
    if _length(message) <= MAX_MESSAGE:
        return message
    while (length := _length(message)) > MAX_MESSAGE:
        message = message[: len(message) * MAX_MESSAGE // length]
    return message + "…"


def _length(message: str) -> int:
    """Return the bytes of a message as it is sent: all but printable ASCII as `%E2`."""
    return len(quote(message, safe=_PLAIN))


def _context(record: Record) -> dict[str, Any]:
    """Return the keys that link a log line to that of its request."""
    model = {"model": record.entries[-1].name} if record.entries else {}
    return {"id": record.id, **model}
