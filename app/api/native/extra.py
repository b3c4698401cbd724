"""Columns of a CSV that a model does not have: refused, or kept beside the answers."""

from __future__ import annotations

from flask import Request

from app.api.http.requests import query_value
from app.errors import Detail, InvalidInput
from app.serving.tasks.base import Payload

EXTRA = "extra"
KEEP = "keep"


def with_extra(request: Request, payload: Payload) -> Payload:
    """Return the payload as `?extra=` wants a CSV read. Raises InvalidInput for any value but
    `keep`."""
    value = query_value(request, EXTRA)
    if value is None:
        return payload
    if value != KEEP:
        detail = Detail(EXTRA, "no such value", value[:100], f"'{KEEP}', or no such parameter")
        raise InvalidInput(f"{EXTRA}: {detail.problem}, expected {detail.expected}", [detail])
    return payload.keeping_extra()
