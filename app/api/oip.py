"""The Open Inference Protocol (v2) over HTTP: what Triton, KServe and others speak.

The protocol: github.com/kserve/open-inference-protocol. Its extensions for binary tensors,
classification, model configuration and statistics are Triton's (docs/protocol in
triton-inference-server/server). Errors are `{"error": message}`: see app.api.errors.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from flask import Blueprint, Request, Response, request

from app import __version__
from app.api import oip_models
from app.api.access import ModelAccess
from app.api.answers import json_response, piecewise
from app.api.hangup import watching
from app.api.json_writer import array_weight
from app.api.oip_answer import CODINGS, write_answer
from app.api.oip_request import HEADER_LENGTH, read_request
from app.api.oip_tensors import BINARY, JSON
from app.api.requests import read_body, start_call, start_call_to
from app.errors import BadRequest, Draining
from app.lifecycle import Lifecycle
from app.serving.entry import Entry
from app.serving.large import run_large
from app.serving.rounds import free_texts, spread
from app.serving.tasks.base import Limits, parse_json
from app.serving.versions import version_number
from app.settings import Settings

if TYPE_CHECKING:  # it needs TensorFlow, which takes seconds to import
    from app.serving.model import Model

EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "statistics"]
# What Triton has besides, and why it is not here.
_NO_LOADING = "models are what the folder of models holds: add or remove them there"
_NO_SHARED_MEMORY = "there is no shared memory here: send tensors in the body, as binary data"
_NO_TRACING = "requests are not traced here"
NOT_HERE = {
    "/repository/models/<name>/load": _NO_LOADING,
    "/repository/models/<name>/unload": _NO_LOADING,
    "/systemsharedmemory/<path:rest>": _NO_SHARED_MEMORY,
    "/cudasharedmemory/<path:rest>": _NO_SHARED_MEMORY,
    "/trace/setting": _NO_TRACING,
    "/models/<name>/trace/setting": _NO_TRACING,
    "/logging": "what is logged is set when the server starts: KERAPORT_LOG_LEVEL",
}


def blueprint(settings: Settings, access: ModelAccess, lifecycle: Lifecycle) -> Blueprint:
    """`/v2`."""
    routes = Blueprint("oip", __name__, url_prefix="/v2")
    limits = Limits.of(settings)

    @routes.before_request
    def _refuse() -> None:
        if lifecycle.refusing and not request.path.startswith("/v2/health/"):
            raise Draining("this server is shutting down: send the request again")

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

    @routes.get("/models/<name>")
    @routes.get("/models/<name>/versions/<version>")
    def metadata(name: str, version: str | None = None) -> Response:
        with _showing(access, name, version) as model:
            return json_response(oip_models.metadata(model, _versions(access, name)))

    @routes.get("/models/<name>/ready")
    @routes.get("/models/<name>/versions/<version>/ready")
    def model_ready(name: str, version: str | None = None) -> Response:
        with _showing(access, name, version):
            return json_response({"name": name, "ready": True})

    @routes.get("/models/<name>/config")
    @routes.get("/models/<name>/versions/<version>/config")
    def config(name: str, version: str | None = None) -> Response:
        with _showing(access, name, version) as model:
            return json_response(oip_models.config(model))

    @routes.get("/models/<name>/stats")
    def statistics(name: str) -> Response:
        return _statistics([e.model for e in _versions(access, name)])

    @routes.get("/models/<name>/versions/<version>/stats")
    def version_statistics(name: str, version: str) -> Response:
        with _showing(access, name, version) as model:
            return _statistics([model])

    @routes.get("/models/stats")
    def all_statistics() -> Response:
        names = [entry.name for entry in access.entries()]
        return _statistics([e.model for name in names for e in _versions(access, name)])

    @routes.post("/repository/index")
    def index() -> Response:
        call = start_call(settings.request_timeout_s)
        body = read_body(request, call)
        wanted = run_large(len(body), partial(parse_json, body, limits), call) if body else {}
        only_ready = wanted.get("ready", False) if isinstance(wanted, dict) else None
        if not isinstance(only_ready, bool):
            raise BadRequest("the body: expected nothing, or an object with ready: true or false")
        names = [entry.name for entry in access.entries()]
        entries = [entry for name in names for entry in _versions(access, name)]
        return json_response(oip_models.index(entries, only_ready))

    @routes.post("/models/<name>/infer")
    @routes.post("/models/<name>/versions/<version>/infer")
    def infer(name: str, version: str | None = None) -> Response:
        with _using(access, name, version) as model:
            return _infer(model, request, settings.request_timeout_s, limits)

    def not_here(**parts: str) -> Response:
        assert request.url_rule is not None, "or nobody would be here"
        raise BadRequest(NOT_HERE[request.url_rule.rule.removeprefix("/v2")])

    for rule in NOT_HERE:
        routes.add_url_rule(rule, view_func=not_here, methods=["GET", "POST"])
    return routes


def _infer(model: Model, request: Request, timeout_s: float, limits: Limits) -> Response:
    arrived = time.monotonic()
    call = start_call_to(model, timeout_s)
    body = read_body(request, call)
    # Who lists all that it could read, as most libraries do, did not ask for it: only who names
    # one alone, as Triton's clients do, has so slow a line that it is worth its time.
    coding = request.headers.get("Accept-Encoding", "").strip().lower()
    with model.admission(call) as counted, watching(request.environ, [call]):
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
        labels = model.card.labels if isinstance(model.card.labels, list) else None
        used = coding if coding in CODINGS else None
        answer = write_answer(head, outputs, asked, labels, used)
        free_texts([*outputs.values(), *asked.inputs.values()])
        binary = answer.json_size is not None
        response = piecewise(
            answer.pieces,
            sum(map(array_weight, outputs.values())),
            mimetype="application/octet-stream" if binary else "application/json",
        )
    if binary:
        response.headers[HEADER_LENGTH] = str(answer.json_size)
    if used is not None:
        response.headers["Content-Encoding"] = used
    return response


def _statistics(models: list[Model | None]) -> Response:
    told = [oip_models.statistics(model) for model in spread(models) if model is not None]
    return json_response({"model_stats": told})


@contextmanager
def _showing(access: ModelAccess, name: str, version: str | None) -> Iterator[Model]:
    """The model that is spoken of: its default version unless the address names another."""
    with access.leased(name, _asked(version), canary=False) as entry:
        yield entry.ready_model()


def _using(access: ModelAccess, name: str, version: str | None) -> AbstractContextManager[Model]:
    """The model, ready; version: as the address has it. Raises ModelNotFound, ModelUnavailable."""
    return access.using(name, _asked(version))


def _versions(access: ModelAccess, name: str) -> list[Entry]:
    """All versions of the model, in whatever state. Raises ModelNotFound."""
    return list(access.entry(name).group.versions.values())


def _asked(version: str | None) -> int | str | None:
    """A number, or an alias of the card."""
    number = None if version is None else version_number(version)
    return version if number is None else number
