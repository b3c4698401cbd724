"""The routes of TensorFlow Serving's REST API (`/v1`).

Its documentation is tensorflow_serving/g3doc/api_rest.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound
from werkzeug.routing import BaseConverter

from app.api.http.access import ModelAccess
from app.api.http.answers import json_response, piecewise_response
from app.api.http.current import current_request
from app.api.http.disconnect import cancel_on_disconnect
from app.api.http.draining import refuse_while_draining
from app.api.http.json_writer import array_value_count
from app.api.http.requests import read_body, start_call_to
from app.api.v1.metadata import metadata_of, status_of
from app.api.v1.request import WORDING, V1Request, read_examples, read_predict
from app.api.v1.response import write_classes, write_predictions, write_values
from app.api.v1.servables import Servable, leased, servable_of, versions
from app.errors import BadRequest
from app.lifecycle import Lifecycle
from app.serving.arrays import Array
from app.serving.hub_rounds import free_texts
from app.serving.large_bodies import run_large
from app.serving.signature import CLASSIFY_METHOD, REGRESS_METHOD, SignatureDef
from app.serving.tasks.base import Limits
from app.settings import Settings

Read = Callable[[bytes, Mapping[str, SignatureDef], str, Limits], V1Request]
Write = Callable[[Mapping[str, Array], V1Request], Iterator[bytes]]
# The reader of the request and the writer of the answer, by the verb of the address.
_VERBS: dict[str, tuple[Read, Write]] = {
    "predict": (read_predict, write_predictions),
    "classify": (partial(read_examples, method=CLASSIFY_METHOD), write_classes),
    "regress": (partial(read_examples, method=REGRESS_METHOD), write_values),
}


class ServableConverter(BaseConverter):
    """`<servable:…>`: NAME, NAME/versions/N or NAME/labels/L."""

    # A number that fits in 64 bits.
    regex = r"[^/:]+(?:/versions/[0-9]{1,18}|/labels/[^/:]+)?"
    part_isolating = False

    def to_python(self, value: str) -> Servable:
        """Return the parts of the address."""
        return servable_of(value)


def blueprint(settings: Settings, access: ModelAccess, lifecycle: Lifecycle) -> Blueprint:
    """`/v1/models…`: status, metadata, `:predict`, `:classify` and `:regress`."""
    routes = Blueprint("v1", __name__)
    limits = Limits.of(settings)
    refuse_while_draining(routes, lifecycle)

    @routes.before_app_request
    def _unknown_address_is_400() -> None:
        """Answer 400 for an unknown address, as TensorFlow Serving does."""
        unknown = isinstance(request.routing_exception, NotFound)
        if unknown and f"{request.path}/".startswith("/v1/"):
            raise BadRequest(f"Malformed request: {request.method} {request.path[:200]}")

    @routes.get("/v1/models")
    def models() -> Response:
        """List the models as KServe does; TensorFlow Serving has no list."""
        return json_response({"models": [entry.name for entry in access.entries()]})

    @routes.get("/v1/models/<servable:servable>")
    def status(servable: Servable) -> Response:
        return json_response(status_of(versions(access, servable)))

    @routes.get("/v1/models/<servable:servable>/metadata")
    def metadata(servable: Servable) -> Response:
        with leased(access, servable, canary=False) as lease:
            return json_response(metadata_of(lease.model))

    @routes.post("/v1/models/<servable:servable>:<any(predict, classify, regress):verb>")
    def ask(servable: Servable, verb: str) -> Response:
        request = current_request()
        read, write = _VERBS[verb]
        with leased(access, servable) as lease:
            model = lease.model
            call = start_call_to(model, settings.request_timeout_s)
            body = read_body(request, call)
            with model.admission(call) as admission:
                with cancel_on_disconnect(request.environ, [call]):
                    with call.stages.decoding():
                        work = partial(
                            read, body, model.signatures, model.default_signature, limits
                        )
                        asked = run_large(len(body), work, call)
                    outputs = model.infer(
                        asked.inputs,
                        call,
                        admission,
                        signature=asked.signature,
                        wording=WORDING,
                    )
                values = sum(map(array_value_count, outputs.values()))
                response = piecewise_response(write(outputs, asked), values)
                free_texts([*outputs.values(), *asked.inputs.values()])
                return response

    return routes
