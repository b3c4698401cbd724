"""How answers are written: JSON, and the id of the request in each."""

from __future__ import annotations

import re
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from flask import Response, request

from app.api.json_writer import chunks, dumps, json_pieces, weight
from app.api.record import record_of
from app.serving.call import Call
from app.serving.rounds import VALUES, spread
from app.serving.tasks.base import Payload

if TYPE_CHECKING:  # it needs TensorFlow, which takes seconds to import
    from app.serving.model import Model

REQUEST_ID_HEADER = "X-Request-ID"
# What a proxy may hand us as an id; anything else could forge lines in a log.
_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def request_id() -> str:
    """The id of the current request: the proxy's `X-Request-ID`, else one of our own."""
    return environ_id(request.environ)


def environ_id(environ: dict[str, Any]) -> str:
    """As `request_id`, of the request with this WSGI environment."""
    record = record_of(environ)
    if record.id is None:
        given = environ.get("HTTP_X_REQUEST_ID", "")
        record.id = given if _ID.fullmatch(given) else uuid.uuid4().hex
    return record.id


def prediction_answer(model: Model, payload: Payload, call: Call, id: str) -> dict[str, Any]:
    """What the API answers. id: of the request, which other greenlets than its own do not know.
    Raises what `Model.predict` does."""
    return {
        "id": id,
        "model": model.name,
        "version": model.version,
        "predictions": model.predict(payload, call),
    }


def json_response(value: Any, status: int = 200) -> Response:
    """`value` as a JSON response; NumPy arrays and scalars become lists and numbers. Blocks the
    greenlet where it is large."""
    if (values := weight(value)) <= VALUES:
        return Response(dumps(value) + b"\n", status, mimetype="application/json")
    return piecewise(chain(json_pieces(value), [b"\n"]), values, status)


def piecewise(
    pieces: Iterable[bytes], values: int, status: int = 200, mimetype: str = "application/json"
) -> Response:
    """A response of `pieces`: where they are large, others have their turns while they are made and
    sent, and each is freed once it is sent. Blocks the greenlet. values: how many they hold."""
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
    """Every answer says the id that the logs know it by."""
    response.headers[REQUEST_ID_HEADER] = request_id()
    return response
