"""The routes of TensorFlow Serving's REST API (`/v1`).

Its documentation is tensorflow_serving/g3doc/api_rest.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

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
from app.api.v1.request import (
    WORDING,
    V1Request,
    read_examples,
    read_predict,
)
from app.api.v1.response import write_classes, write_predictions, write_values
from app.errors import BadRequest, ModelNotFound
from app.lifecycle import Lifecycle
from app.serving.arrays import Array
from app.serving.hub_rounds import free_texts
from app.serving.large_bodies import run_large
from app.serving.models.model import Model
from app.serving.registry.entry import Entry, ModelLease
from app.serving.signature import CLASSIFY_METHOD, REGRESS_METHOD, SignatureDef, TensorSpec
from app.serving.tasks.base import Limits
from app.settings import Settings

# tensorflow_serving/apis/get_model_status.proto
STATES = {"loading": "LOADING", "ready": "AVAILABLE", "failed": "END"}
# tensorflow/core/framework/types.proto, where a dtype's own name is not in it.
_TYPES = {"float16": "DT_HALF", "float32": "DT_FLOAT", "float64": "DT_DOUBLE"}


Read = Callable[[bytes, Mapping[str, SignatureDef], str, Limits], V1Request]
Write = Callable[[Mapping[str, Array], V1Request], Iterator[bytes]]
# The reader of the request and the writer of the answer, by the verb of the address.
_VERBS: dict[str, tuple[Read, Write]] = {
    "predict": (read_predict, write_predictions),
    "classify": (partial(read_examples, method=CLASSIFY_METHOD), write_classes),
    "regress": (partial(read_examples, method=REGRESS_METHOD), write_values),
}


@dataclass(frozen=True, slots=True)
class Servable:
    """The model and version in an address. version: a number, a label, or None for the default."""

    name: str
    version: int | str | None = None

    def __str__(self) -> str:
        version = self.version
        return f"Latest({self.name})" if version is None else f"Specific({self.name}, {version})"


class ServableConverter(BaseConverter):
    """`<servable:…>`: NAME, NAME/versions/N or NAME/labels/L."""

    # A number that fits in 64 bits.
    regex = r"[^/:]+(?:/versions/[0-9]{1,18}|/labels/[^/:]+)?"
    part_isolating = False

    def to_python(self, value: str) -> Servable:
        """Return the parts of the address."""
        return servable_of(value)


def servable_of(text: str) -> Servable:
    """Return the parts of NAME, NAME/versions/N or NAME/labels/L."""
    name, _, rest = text.partition("/")
    kind, _, version = rest.partition("/")
    return Servable(name, int(version) if kind == "versions" else version or None)


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
        try:
            entries = _versions(access, servable)
        except ModelNotFound:
            what = "any versions" if servable.version is None else f"version {servable.version}"
            raise _not_found(
                servable, f"Could not find {what} of model {servable.name[:100]}"
            ) from None
        return json_response({"model_version_status": [_status(entry) for entry in entries]})

    @routes.get("/v1/models/<servable:servable>/metadata")
    def metadata(servable: Servable) -> Response:
        with _leased(access, servable, canary=False) as lease:
            return json_response(_metadata(lease.model))

    @routes.post("/v1/models/<servable:servable>:<any(predict, classify, regress):verb>")
    def ask(servable: Servable, verb: str) -> Response:
        request = current_request()
        read, write = _VERBS[verb]
        with _leased(access, servable) as lease:
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


def _versions(access: ModelAccess, servable: Servable) -> Sequence[Entry]:
    """Return the versions that an address names, the latest first. Raises ModelNotFound."""
    entry = access.entry(servable.name, servable.version)
    if servable.version is not None:
        return [entry]
    return list(entry.group.versions.values())[::-1]


def _leased(access: ModelAccess, servable: Servable, *, canary: bool = True) -> ModelLease:
    """Lease the model of an address. canary: whether the canary may answer if no version is named.

    Raises ModelNotFound, BadRequest for an unknown label, or ModelUnavailable.
    """
    try:
        return access.leased(servable.name, servable.version, canary=canary)
    except ModelNotFound:
        message = f"Servable not found for request: {servable}"
        raise _not_found(servable, message) from None


def _not_found(servable: Servable, message: str) -> BadRequest | ModelNotFound:
    if isinstance(servable.version, str):
        return BadRequest(f"Unrecognized servable version label: {servable.version[:100]}")
    return ModelNotFound(message)


def _status(entry: Entry) -> dict[str, Any]:
    """tensorflow_serving/apis/get_model_status.proto as JSON, where int64 is a text."""
    failed = entry.state == "failed"
    return {
        "version": str(entry.version),
        "state": STATES[entry.state],
        "status": {
            "error_code": "UNKNOWN" if failed else "OK",
            "error_message": (entry.reason or "") if failed else "",
        },
    }


def _metadata(model: Model) -> dict[str, Any]:
    """tensorflow_serving/apis/get_model_metadata.proto as JSON."""
    definitions = {
        name: {
            "inputs": {t.name: _tensor_info(t) for t in signature.inputs},
            "outputs": {t.name: _tensor_info(t) for t in signature.outputs},
            "method_name": signature.method,
            "defaults": {},
        }
        for name, signature in model.signatures.items()
    }
    return {
        "model_spec": {"name": model.name, "signature_name": "", "version": str(model.version)},
        "metadata": {"signature_def": {"signature_def": definitions}},
    }


def _tensor_info(spec: TensorSpec) -> dict[str, Any]:
    sizes = spec.shape or ()
    return {
        "dtype": _TYPES.get(spec.dtype, f"DT_{spec.dtype.upper()}"),
        "tensor_shape": {
            "dim": [{"size": str(-1 if size is None else size), "name": ""} for size in sizes],
            "unknown_rank": spec.shape is None,
        },
        "name": spec.node,
    }
