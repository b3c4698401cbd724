"""The routes of the native API: models and predictions."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, cast

from flask import Blueprint, Response, request
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.routing import BaseConverter

from app.api.http.access import ModelAccess
from app.api.http.answers import explained_answer, json_response, prediction_answer, request_id
from app.api.http.current import current_request
from app.api.http.disconnect import cancel_on_disconnect
from app.api.http.draining import refuse_while_draining
from app.api.http.errors import describe
from app.api.http.requests import query_value, read_payload, start_call_to
from app.api.native.all_images import ask_image_models
from app.api.native.describe import model_details, model_summary
from app.api.native.drawings import drawing_of, file_response
from app.api.native.events import event_stream, wants_events
from app.api.native.examples import example_body
from app.api.native.explain import check_without_explanation, wants_explanation
from app.api.native.extra import with_extra
from app.api.native.scale import check_without_scale, scale_of
from app.errors import Detail, InvalidInput, KeraportError
from app.lifecycle import Lifecycle
from app.serving.cards.card import RESERVED_NAMES, TEXT_TASK
from app.serving.cards.versions import is_alias, version_number
from app.serving.tasks.inputs.picture import Picture
from app.serving.tasks.predictions import Predictions
from app.settings import Settings

if TYPE_CHECKING:
    from app.serving.models.text_model import TextModel


class ModelName(BaseConverter):
    """`<model:name>`: a name that a model may have. Without it `/api/models` would take POST."""

    regex = rf"(?!(?:{'|'.join(RESERVED_NAMES)})/?$)[^/]+"
    part_isolating = True


def wanted_version() -> int | str | None:
    """Return the number or alias after `?version=`, if there is one. Raises InvalidInput for what
    can be neither."""
    text = query_value(current_request(), "version")
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
    refuse_while_draining(routes, lifecycle)

    @routes.before_app_request
    def _unknown_model_is_404_not_405() -> None:
        """Answer 404 for a model that does not exist, whatever the method."""
        if isinstance(request.routing_exception, MethodNotAllowed):
            name = request.path.removeprefix("/api/").rstrip("/")
            if request.path.startswith("/api/") and "/" not in name and name not in RESERVED_NAMES:
                access.entry(name)

    @routes.get("/api/models")
    def models() -> Response:
        return json_response(
            {"id": request_id(), "models": [model_summary(entry) for entry in access.entries()]}
        )

    @routes.get("/api/models/<name>")
    def model(name: str) -> Response:
        entry = access.entry(name, wanted_version())
        return json_response({"id": request_id(), **model_details(entry)})

    @routes.get("/api/models/<name>/example")
    def example(name: str) -> Response:
        """Answer a body that can be sent to `/api/NAME` as it is."""
        with access.leased(name, wanted_version(), canary=False) as lease:
            return json_response(example_body(lease.model, request.args.get("n")))

    @routes.post("/api/<model:name>")
    def predict(name: str) -> Response:
        request = current_request()
        with access.leased(name, wanted_version()) as lease:
            model = lease.model
            call = start_call_to(model, settings.request_timeout_s)
            task = model.task
            scale, drawing = scale_of(request, model), drawing_of(request, model)
            explained = wants_explanation(request, model)
            payload = read_payload(request, task.accepts, call, task.hint, task.uploads)
            payload = with_extra(request, payload.at(scale).drawn(drawing))
            if model.card.task == TEXT_TASK and wants_events(request):
                stream = event_stream(cast("TextModel", model), payload, call, request)
                # The model is in use until the last word.
                stream.call_on_close(lease.prolonged())
                return stream
            with closing(payload), cancel_on_disconnect(request.environ, [call]):
                if explained:
                    return json_response(explained_answer(model, payload, call, request_id()))
                answer = prediction_answer(model, payload, call, request_id())
                if drawing.as_files:
                    return file_response(request, model, answer["predictions"], payload, call)
                found = answer["predictions"]
                response = json_response(answer, part=found)
                if not isinstance(found, list) and isinstance(found, Predictions):
                    found.free()
                return response

    @routes.post("/predict")
    def predict_all() -> Response:
        """Ask every image model about one picture: `{NAME: answer or error}`."""
        check_without_scale(request)
        check_without_explanation(request)
        answers = ask_image_models(request, settings, access, Picture.accepts)
        return json_response(
            {
                entry.name: {"error": describe(a)} if isinstance(a, KeraportError) else a
                for entry, a in answers
            }
        )

    return routes
