"""The native API: the models, and predictions."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import gevent
from flask import Blueprint, Response, request
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.routing import BaseConverter

from app.api.answers import json_response, request_id
from app.api.errors import describe
from app.api.events import event_stream, wants_events
from app.api.requests import copies, read_payload, start_call, watching
from app.errors import Draining, KeraportError, ModelNotFound, ModelUnavailable, RequestError
from app.lifecycle import Lifecycle
from app.serving.batching import Call
from app.serving.card import RESERVED_NAMES
from app.serving.registry import LOADING_RETRY_S, TEXT_TASK, Registry
from app.serving.tasks.base import Payload
from app.settings import Settings

if TYPE_CHECKING:
    from app.serving.model import Model
    from app.serving.text_model import TextModel

IMAGE_TASK = "image-classification"


class ModelName(BaseConverter):
    """`<model:name>`: what may be a model's name. Without it `/api/models` would take POST."""

    regex = rf"(?!(?:{'|'.join(RESERVED_NAMES)})/?$)[^/]+"
    part_isolating = True


def blueprint(settings: Settings, registry: Registry, lifecycle: Lifecycle) -> Blueprint:
    """`/api/models`, `/api/NAME` and `/predict`."""
    routes = Blueprint("native", __name__)

    @routes.before_request
    def _refuse() -> None:
        if lifecycle.refusing:
            raise Draining("this server is shutting down: send the request again")

    @routes.before_app_request
    def _know() -> None:
        """A model that is not there is not found, whatever the method."""
        if isinstance(request.routing_exception, MethodNotAllowed):
            name = request.path.removeprefix("/api/").rstrip("/")
            if request.path.startswith("/api/") and "/" not in name and name not in RESERVED_NAMES:
                registry.entry(name)

    @routes.get("/api/models")
    def models() -> Response:
        return json_response(
            {"id": request_id(), "models": [entry.summary() for entry in registry.entries()]}
        )

    @routes.get("/api/models/<name>")
    def model(name: str) -> Response:
        return json_response({"id": request_id(), **registry.entry(name).describe()})

    @routes.post("/api/<model:name>")
    def predict(name: str) -> Response:
        model = registry.get(name)
        call = start_call(min(settings.request_timeout_s, model.card.runtime.timeout_s))
        payload = read_payload(request, model.task.accepts, call, model.task.hint)
        if model.card.task == TEXT_TASK and wants_events(request):
            return event_stream(cast("TextModel", model), payload, call, request)
        with closing(payload), watching(request.environ, [call]):
            return json_response(_answer(model, payload, call, request_id()))

    @routes.post("/predict")
    def predict_all() -> Response:
        """One picture to every image model at once. A model that cannot answer gives its error in
        place of the answer; a picture that none can read is an error of the whole."""
        if not registry.loaded:
            # Which of those that are left take pictures, their cards have yet to say.
            raise ModelUnavailable("the models are still loading", retry_after=LOADING_RETRY_S)
        found = [e for e in registry.entries() if e.card is not None and e.card.task == IMAGE_TASK]
        if not found:
            raise ModelNotFound("there is no image model here")
        call = start_call(settings.request_timeout_s)
        payload = read_payload(request, frozenset({"files"}), call)
        with closing(payload):
            parts = copies(payload, len(found))
        calls = [Call(call.deadline) for _ in found]
        with watching(request.environ, calls):
            tasks = [
                gevent.spawn(_try, registry, entry.name, part, each, request_id())
                for entry, each, part in zip(found, calls, parts, strict=True)
            ]
            gevent.joinall(tasks)
        results = [task.get() for task in tasks]
        mistakes = [r for r in results if isinstance(r, RequestError)]
        if mistakes and all(isinstance(r, KeraportError) for r in results):
            raise mistakes[0]
        answers = {
            entry.name: {"error": describe(r)} if isinstance(r, KeraportError) else r
            for entry, r in zip(found, results, strict=True)
        }
        return json_response(answers)

    return routes


def _answer(model: Model, payload: Payload, call: Call, id: str) -> dict[str, Any]:
    return {
        "id": id,
        "model": model.name,
        "version": model.version,
        "predictions": model.predict(payload, call),
    }


def _try(
    registry: Registry, name: str, payload: Payload, call: Call, id: str
) -> dict[str, Any] | KeraportError:
    try:
        return _answer(registry.get(name), payload, call, id)
    except KeraportError as error:
        return error
