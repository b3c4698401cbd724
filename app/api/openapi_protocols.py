"""The standard protocols in the OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.api import openapi_oip, openapi_tfserving
from app.api.openapi_errors import errors, protocol_errors
from app.api.openapi_parts import PROTOCOL_ERROR, obj

if TYPE_CHECKING:
    from app.serving.model import Model
    from app.settings import Settings

TAGS = (
    {"name": openapi_tfserving.TAG, "description": "What clients of TensorFlow Serving ask."},
    {"name": openapi_oip.TAG, "description": "What clients of KServe and Triton ask."},
)
_ERROR = "ProtocolError"
_MEANINGS = {
    400: "The request cannot be read, or the model cannot take it.",
    401: "A key is needed, and none that is known here was sent.",
    403: "The key is not for this model.",
    404: "There is no such model or version.",
    413: "The body is larger than this server takes.",
    415: "Bodies of this encoding are not taken.",
    429: "Too many requests from this address (said by nginx) or with this key.",
    500: "The server or the model failed.",
    503: "Not now: the model is not ready or has a full queue, or the server stops.",
    504: "No answer within the time allowed.",
}


def paths(models: list[Model]) -> dict[str, Any]:
    """Every address of both protocols."""
    return {**openapi_tfserving.paths(models), **openapi_oip.paths(models)}


def components(models: list[Model], settings: Settings) -> dict[str, Any]:
    """Schemas and responses that the paths refer to."""
    return {
        "schemas": {
            _ERROR: obj({"error": {"type": "string"}}),
            **openapi_tfserving.schemas(settings.max_rows),
            **openapi_oip.SCHEMAS,
        },
        "responses": {
            name: response
            for protocol, examples in protocol_errors(settings).items()
            for name, response in errors(
                _MEANINGS, _ERROR, examples, protocol + PROTOCOL_ERROR
            ).items()
        },
    }
