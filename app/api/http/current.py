"""The request that the current greenlet answers."""

from __future__ import annotations

from contextvars import ContextVar

import flask
from flask import Request

# Of requests that do not pass through Flask's dispatch; each greenlet has its own.
_request: ContextVar[Request | None] = ContextVar("keraport_request", default=None)


def current_request() -> Request:
    """Return the request that is answered. Raises RuntimeError outside of one."""
    return _request.get() or flask.request


def set_current_request(request: Request | None) -> None:
    """Answer `request`, without Flask's contexts; None for the end of it."""
    _request.set(request)
