"""How answers are written: JSON, and the id of the request in each."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

import orjson
from flask import Response, request

from app.api.record import record_of
from app.serving.call import Call
from app.serving.tasks.base import Payload

if TYPE_CHECKING:  # it needs TensorFlow, which takes seconds to import
    from app.serving.model import Model

REQUEST_ID_HEADER = "X-Request-ID"
# What a proxy may hand us as an id; anything else could forge lines in a log.
_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS


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
    """`value` as a JSON response; NumPy arrays and scalars become lists and numbers."""
    body = orjson.dumps(value, default=_default, option=_OPTIONS)
    return Response(body, status, mimetype="application/json")


def add_request_id(response: Response) -> Response:
    """Every answer says the id that the logs know it by."""
    response.headers[REQUEST_ID_HEADER] = request_id()
    return response


def _default(value: Any) -> Any:
    """Arrays that orjson does not take by itself, such as views with gaps."""
    return value.tolist()
