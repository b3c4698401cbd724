"""The pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import orjson
from flask import Blueprint, Response, make_response, render_template, request

from app.api.requests import start_call, watching
from app.errors import Draining, InvalidInput, ModelNotFound
from app.lifecycle import Lifecycle
from app.serving.registry import TEXT_TASK, Registry
from app.serving.tasks.base import Payload
from app.settings import Settings
from app.web.forms import add_problems, text_form

if TYPE_CHECKING:
    from wtforms import Form

    from app.serving.text_model import TextModel


def blueprint(settings: Settings, registry: Registry, lifecycle: Lifecycle) -> Blueprint:
    """`/`, the list of models, and `/models/NAME` for those that write text."""
    routes = Blueprint("pages", __name__)

    @routes.get("/")
    def home() -> str:
        return render_template(
            "home.html", models=[e.summary() for e in registry.entries()], text_task=TEXT_TASK
        )

    @routes.get("/models/<name>")
    def model(name: str) -> str:
        found = _text_model(registry, name)
        return _page(found, text_form(found.card.text))

    @routes.post("/models/<name>")
    def write(name: str) -> Response:
        if lifecycle.refusing:
            raise Draining("this server is shutting down: send the request again")
        found = _text_model(registry, name)
        form = text_form(found.card.text, request.form)
        answer = None
        if form.validate():
            seed = None if form.data.get("random") else form.data["seed"]
            order = {**form.data, "seed": seed}
            order.pop("random", None)
            call = start_call(min(settings.request_timeout_s, found.card.runtime.timeout_s))
            try:
                with watching(request.environ, [call]):
                    payload = Payload("json", orjson.dumps(order))
                    (answer,) = found.predict(payload, call)
            except InvalidInput as error:
                add_problems(form, error.details)
        return make_response(_page(found, form, answer), 200 if answer else 422)

    return routes


def _text_model(registry: Registry, name: str) -> TextModel:
    model = registry.get(name)
    if model.card.task != TEXT_TASK:
        raise ModelNotFound(f"there is no page for the model {name!r} yet: ask it at /api/{name}")
    return cast("TextModel", model)


def _page(model: TextModel, form: Form, answer: dict[str, Any] | None = None) -> str:
    return render_template("text.html", model=model, form=form, answer=answer)
