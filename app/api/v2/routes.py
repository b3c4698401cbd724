"""The routes of the Open Inference Protocol (`/v2`), which Triton, KServe and others speak.

The protocol: github.com/kserve/open-inference-protocol. Its extensions for binary tensors,
classification, model configuration and statistics are Triton's (docs/protocol in
triton-inference-server/server). Errors are `{"error": message}`: see app.api.http.errors.
"""

from __future__ import annotations

import time
from functools import partial

from flask import Blueprint, Request, Response, request

from app import __version__
from app.api.http.access import ModelAccess
from app.api.http.answers import json_response, piecewise_response
from app.api.http.current import current_request
from app.api.http.disconnect import cancel_on_disconnect
from app.api.http.draining import refuse_while_draining
from app.api.http.json_writer import array_value_count
from app.api.http.requests import read_body, start_call, start_call_to
from app.api.v2 import metadata
from app.api.v2.request import HEADER_LENGTH, read_request
from app.api.v2.response import CODINGS, write_answer
from app.api.v2.tensors import BINARY, JSON
from app.errors import BadRequest
from app.lifecycle import Lifecycle
from app.serving.cards.versions import version_number
from app.serving.hub_rounds import free_texts, spread
from app.serving.large_bodies import run_large
from app.serving.models.model import Model
from app.serving.registry.entry import Entry, ModelLease
from app.serving.tasks.base import Limits, parse_json
from app.settings import Settings

EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "statistics"]
# What Triton has besides, and why it is not supported.
NO_LOADING = "models are loaded from the models folder: add or remove them there"
NO_SHARED_MEMORY = "shared memory is not supported: send tensors in the body, as binary data"
NO_TRACING = "tracing is not supported"
NO_LOGGING = "what is logged is set when the server starts: KERAPORT_LOG_LEVEL"
UNSUPPORTED = {
    "/repository/models/<name>/load": NO_LOADING,
    "/repository/models/<name>/unload": NO_LOADING,
    "/systemsharedmemory/<path:rest>": NO_SHARED_MEMORY,
    "/cudasharedmemory/<path:rest>": NO_SHARED_MEMORY,
    "/trace/setting": NO_TRACING,
    "/models/<name>/trace/setting": NO_TRACING,
    "/logging": NO_LOGGING,
}


def blueprint(settings: Settings, access: ModelAccess, lifecycle: Lifecycle) -> Blueprint:
    """Return the routes below `/v2`."""
    routes = Blueprint("v2", __name__, url_prefix="/v2")
    limits = Limits.of(settings)
    refuse_while_draining(routes, lifecycle, "/v2/health/")

    @routes.get("")
    def server() -> Response:
        return json_response({"name": "keraport", "version": __version__, "extensions": EXTENSIONS})

    @routes.get("/health/live")
    def live() -> Response:
        alive = lifecycle.hung is None
        return json_response({"live": alive}, 200 if alive else 503)

    @routes.get("/health/ready")
    def ready() -> Response:
        is_ready = access.loaded and not lifecycle.draining
        return json_response({"ready": is_ready}, 200 if is_ready else 503)

    @routes.get("/models")
    def models() -> Response:
        """List the models as KServe does; Triton has `/v2/repository/index`."""
        return json_response({"models": [entry.name for entry in access.entries()]})

    @routes.get("/models/<name>")
    @routes.get("/models/<name>/versions/<version>")
    def model_metadata(name: str, version: str | None = None) -> Response:
        with _shown(access, name, version) as lease:
            return json_response(metadata.metadata(lease.model, all_versions(access, name)))

    @routes.get("/models/<name>/ready")
    @routes.get("/models/<name>/versions/<version>/ready")
    def model_ready(name: str, version: str | None = None) -> Response:
        with _shown(access, name, version):
            return json_response({"name": name, "ready": True})

    @routes.get("/models/<name>/config")
    @routes.get("/models/<name>/versions/<version>/config")
    def model_config(name: str, version: str | None = None) -> Response:
        with _shown(access, name, version) as lease:
            return json_response(metadata.config(lease.model))

    @routes.get("/models/<name>/stats")
    def statistics(name: str) -> Response:
        return _statistics([e.model for e in all_versions(access, name)])

    @routes.get("/models/<name>/versions/<version>/stats")
    def version_statistics(name: str, version: str) -> Response:
        with _shown(access, name, version) as lease:
            return _statistics([lease.model])

    @routes.get("/models/stats")
    def all_statistics() -> Response:
        names = [entry.name for entry in access.entries()]
        return _statistics([e.model for name in names for e in all_versions(access, name)])

    @routes.post("/repository/index")
    def repository_index() -> Response:
        call = start_call(settings.request_timeout_s)
        body = read_body(request, call)
        wanted = run_large(len(body), partial(parse_json, body, limits), call) if body else {}
        only_ready = wanted.get("ready", False) if isinstance(wanted, dict) else None
        if not isinstance(only_ready, bool):
            raise BadRequest("the body: expected nothing, or an object with ready: true or false")
        names = [entry.name for entry in access.entries()]
        entries = [entry for name in names for entry in all_versions(access, name)]
        return json_response(metadata.index(entries, only_ready))

    @routes.post("/models/<name>/infer")
    @routes.post("/models/<name>/versions/<version>/infer")
    def infer(name: str, version: str | None = None) -> Response:
        with access.leased(name, version_of(version)) as lease:
            return _infer(lease.model, current_request(), settings.request_timeout_s, limits)

    def unsupported(**parts: str) -> Response:
        assert request.url_rule is not None, "a view has a rule"
        raise BadRequest(UNSUPPORTED[request.url_rule.rule.removeprefix("/v2")])

    for rule in UNSUPPORTED:
        routes.add_url_rule(rule, view_func=unsupported, methods=["GET", "POST"])
    return routes


def _infer(model: Model, request: Request, timeout_s: float, limits: Limits) -> Response:
    arrived = time.monotonic()
    call = start_call_to(model, timeout_s)
    body = read_body(request, call)
    # Most libraries list every coding that they could read, without a need. Clients that name one
    # alone, as Triton's do, have so slow a line that compressing is worth its time.
    coding = request.headers.get("Accept-Encoding", "").strip().lower()
    with model.admission(call) as counted, cancel_on_disconnect(request.environ, [call]):
        length = request.headers.get(HEADER_LENGTH)
        batchable = model.signatures[model.default_signature].batchable
        with call.stages.decoding():
            read = partial(read_request, body, length, limits, batchable=batchable)
            asked = run_large(len(body), read, call)
        if asked.timeout_s is not None:
            call.deadline = min(call.deadline, arrived + asked.timeout_s)
        names = None if asked.outputs is None else [want.name for want in asked.outputs]
        wording = JSON if length is None else BINARY
        not_json = asked.binary_outputs(model.signatures[model.default_signature])
        outputs = model.infer(
            asked.inputs, call, counted, outputs=names, binary=not_json, wording=wording
        )
        head = {"model_name": model.name, "model_version": str(model.version)}
        if asked.id is not None:
            head = {"id": asked.id, **head}
        labels = model.task.labels()
        used = coding if coding in CODINGS else None
        answer = write_answer(head, outputs, asked, labels, used, limits)
        free_texts([*outputs.values(), *asked.inputs.values()])
        binary = answer.json_size is not None
        response = piecewise_response(
            answer.pieces,
            sum(map(array_value_count, outputs.values())),
            mimetype="application/octet-stream" if binary else "application/json",
        )
    if binary:
        response.headers[HEADER_LENGTH] = str(answer.json_size)
    if used is not None:
        response.headers["Content-Encoding"] = used
    return response


def _statistics(models: list[Model | None]) -> Response:
    found = [metadata.statistics(model) for model in spread(models) if model is not None]
    return json_response({"model_stats": found})


def _shown(access: ModelAccess, name: str, version: str | None) -> ModelLease:
    """Lease a model to show it: its default version unless the address names another."""
    return access.leased(name, version_of(version), canary=False)


def all_versions(access: ModelAccess, name: str) -> list[Entry]:
    """Return all versions of the model, in any state. Raises ModelNotFound."""
    return list(access.entry(name).group.versions.values())


def version_of(version: str | None) -> int | str | None:
    """Return a number, or an alias of the card."""
    number = None if version is None else version_number(version)
    return version if number is None else number
