"""Answers as JSON, each with the id of its request."""

from __future__ import annotations

import re
import secrets
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from flask import Response

from app.api.http.current import current_request
from app.api.http.json_writer import chunks, dumps, json_pieces, value_count
from app.api.telemetry.record import record_of
from app.serving.call import Call
from app.serving.hub_rounds import VALUES, spread
from app.serving.models.explanation import explain
from app.serving.models.model import Model
from app.serving.tasks.base import Payload

REQUEST_ID_HEADER = "X-Request-ID"
# The form of ids accepted from a proxy; anything else could forge lines in a log.
_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def request_id() -> str:
    """Return the id of the current request: the proxy's `X-Request-ID`, or a new one."""
    return environ_id(current_request().environ)


def environ_id(environ: dict[str, Any]) -> str:
    """Return the id of the request with this WSGI environment."""
    record = record_of(environ)
    if record.id is None:
        given = environ.get("HTTP_X_REQUEST_ID", "")
        record.id = given if _ID.fullmatch(given) else secrets.token_hex(16)
    return record.id


def prediction_answer(model: Model, payload: Payload, call: Call, id: str) -> dict[str, Any]:
    """Return the native API's answer to a prediction. Raises what `Model.predict` raises.

    id: the request id, passed in because only the request's own greenlet can look it up.
    """
    return {
        "id": id,
        "model": model.name,
        "version": model.version,
        "predictions": model.predict(payload, call),
    }


def explained_answer(model: Model, payload: Payload, call: Call, id: str) -> dict[str, Any]:
    """Return the same for one row, with what explains the answer. Raises what `explain` raises."""
    found = explain(model, payload, call)
    return {"id": id, "model": model.name, "version": model.version, **found}


def json_response(value: Any, status: int = 200, part: Any = None) -> Response:
    """Return a response with `value` as JSON; NumPy arrays and scalars become lists and numbers.

    part: what is large in it, if anything is. Blocks the greenlet if it is large.
    """
    if (values := value_count(value if part is None else part)) <= VALUES:
        return Response(dumps(value) + b"\n", status, mimetype="application/json")
    return piecewise_response(chain(json_pieces(value), [b"\n"]), values, status)


def piecewise_response(
    pieces: Iterable[bytes], values: int, status: int = 200, mimetype: str = "application/json"
) -> Response:
    """Return a response made of `pieces`. Blocks the greenlet.

    values: the number of values in all pieces. If there are many, other greenlets get turns while
    the pieces are made and sent, and each piece is freed once it is sent.
    """
    if values <= VALUES:
        return Response(b"".join(pieces), status, mimetype=mimetype)
    made = deque(chunk for chunk in spread(chunks(pieces)) if chunk)
    size = sum(map(len, made))
    response = Response(spread(_taken(made)), status, mimetype=mimetype)
    response.content_length = size
    return response


def _taken(made: deque[bytes]) -> Iterator[bytes]:
    while made:
        yield made.popleft()


def add_request_id(response: Response) -> Response:
    """Add the request's id, which its log lines have too."""
    response.headers[REQUEST_ID_HEADER] = request_id()
    return response
