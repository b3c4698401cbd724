"""The native API: the models, and predictions."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, cast

from flask import Blueprint, Response, request
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.routing import BaseConverter

from app.api.access import ModelAccess
from app.api.answers import json_response, prediction_answer, request_id
from app.api.errors import describe
from app.api.events import event_stream, wants_events
from app.api.hangup import watching
from app.api.image_models import ask_image_models
from app.api.requests import read_payload, start_call_to
from app.errors import Detail, Draining, InvalidInput, KeraportError
from app.lifecycle import Lifecycle
from app.serving.card import RESERVED_NAMES, TEXT_TASK
from app.serving.tasks.predictions import Predictions
from app.serving.versions import is_alias, version_number
from app.settings import Settings

if TYPE_CHECKING:
    from app.serving.text_model import TextModel


class ModelName(BaseConverter):
    """`<model:name>`: what may be a model's name. Without it `/api/models` would take POST."""

    regex = rf"(?!(?:{'|'.join(RESERVED_NAMES)})/?$)[^/]+"
    part_isolating = True


def wanted_version() -> int | str | None:
    """The number or the alias after `?version=`, if there is one. Raises InvalidInput for what can
    be neither."""
    text = request.args.get("version")
    if text is None:
        return None
    number = version_number(text)
    if number is None and not is_alias(text):
        detail = Detail("version", "not a version", text[:100], "a whole number, or an alias")
        raise InvalidInput("version: expected a whole number, or an alias of the card", [detail])
    return text if number is None else number


def blueprint(settings: Settings, access: ModelAccess, lifecycle: Lifecycle) -> Blueprint:
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
                access.entry(name)

    @routes.get("/api/models")
    def models() -> Response:
        return json_response(
            {"id": request_id(), "models": [entry.summary() for entry in access.entries()]}
        )

    @routes.get("/api/models/<name>")
    def model(name: str) -> Response:
        entry = access.entry(name, wanted_version())
        return json_response({"id": request_id(), **entry.describe()})

    @routes.post("/api/<model:name>")
    def predict(name: str) -> Response:
        with ExitStack() as lease:
            model = lease.enter_context(access.using(name, wanted_version()))
            call = start_call_to(model, settings.request_timeout_s)
            payload = read_payload(request, model.task.accepts, call, model.task.hint)
            if model.card.task == TEXT_TASK and wants_events(request):
                stream = event_stream(cast("TextModel", model), payload, call, request)
                # The model is in use until the last word.
                stream.call_on_close(lease.pop_all().close)
                return stream
            with closing(payload), watching(request.environ, [call]):
                answer = prediction_answer(model, payload, call, request_id())
                response = json_response(answer)
                if isinstance(answer["predictions"], Predictions):
                    answer["predictions"].free()
                return response

    @routes.post("/predict")
    def predict_all() -> Response:
        """One picture to every image model at once: `{NAME: answer or error}`."""
        answers = ask_image_models(request, settings, access)
        return json_response(
            {
                entry.name: {"error": describe(a)} if isinstance(a, KeraportError) else a
                for entry, a in answers
            }
        )

    return routes
