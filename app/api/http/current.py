"""The request that the current greenlet answers."""

from __future__ import annotations

from contextvars import ContextVar

import flask
from flask import Request

from app.api.telemetry.record import Record, record_of

# Of requests that do not pass through Flask's dispatch; each greenlet has its own.
_request: ContextVar[Request | None] = ContextVar("keraport_request", default=None)
# Of requests that do not come over HTTP.
_record: ContextVar[Record | None] = ContextVar("keraport_record", default=None)


def current_request() -> Request:
    """Return the request that is answered. Raises RuntimeError outside of one."""
    return _request.get() or flask.request


def current_record() -> Record:
    """Return the record of the request that is answered. Raises RuntimeError outside of one."""
    return _record.get() or record_of(current_request().environ)


def set_current_record(record: Record | None) -> None:
    """Answer a request that did not come over HTTP; None for the end of it."""
    _record.set(record)


def set_current_request(request: Request | None) -> None:
    """Answer `request`, without Flask's contexts; None for the end of it."""
    _request.set(request)
