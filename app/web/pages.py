"""The pages."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import orjson
from flask import Blueprint, Response, make_response, render_template, request
from wtforms import Form

from app.api.requests import start_call, watching
from app.errors import BadRequest, Draining, InvalidInput
from app.lifecycle import Lifecycle
from app.serving.registry import TEXT_TASK, Registry
from app.settings import Settings
from app.web.compare import add_compare
from app.web.image import ImagePage
from app.web.model_page import ModelPage, add_problems
from app.web.tabular import TabularPage
from app.web.tensor import TensorPage
from app.web.text import TextPage

PAGES: dict[str, type[ModelPage]] = {
    "image-classification": ImagePage,
    "tabular-regression": TabularPage,
    "tabular-classification": TabularPage,
    TEXT_TASK: TextPage,
    "tensor": TensorPage,
}


def blueprint(settings: Settings, registry: Registry, lifecycle: Lifecycle) -> Blueprint:
    """`/`, the list of models; `/models/NAME`; `/compare` and `/status`."""
    routes = Blueprint("pages", __name__)
    routes.add_app_template_filter(_json, "json")

    @routes.before_request
    def _refuse() -> None:
        if lifecycle.refusing:
            raise Draining("this server is shutting down: send the request again")

    @routes.get("/")
    def home() -> str:
        return render_template("home.html", models=[e.summary() for e in registry.entries()])

    @routes.get("/models/<name>")
    def model(name: str) -> str:
        page = _page(registry, name)
        return _render(page, page.form())

    @routes.post("/models/<name>")
    def answer(name: str) -> Response:
        page = _page(registry, name)
        call = start_call(min(settings.request_timeout_s, page.model.card.runtime.timeout_s))
        form, predictions = page.form(), None
        error: BadRequest | InvalidInput | None = None
        try:
            form, payload = page.read(request, call)
            if payload is not None:
                with closing(payload), watching(request.environ, [call]):
                    predictions = page.predict(payload, call)
        except InvalidInput as invalid:
            if details := add_problems(page, form, invalid.details):
                error = InvalidInput(invalid.message, details)
        except BadRequest as bad:
            error = bad
        status = 200 if predictions is not None else 422
        return make_response(_render(page, form, predictions, error), status)

    add_compare(routes, settings, registry)

    @routes.get("/status")
    def status() -> str:
        return render_template("status.html")

    def _render(
        page: ModelPage,
        form: Form,
        predictions: list[Any] | None = None,
        error: BadRequest | InvalidInput | None = None,
    ) -> str:
        return render_template(
            page.template,
            model=page.model,
            about=registry.entry(page.model.name).describe(),
            form=form,
            predictions=predictions,
            error=error,
            settings=settings,
            **page.context(),
        )

    return routes


def _page(registry: Registry, name: str) -> ModelPage:
    """Raises ModelNotFound, or ModelUnavailable unless the model is ready."""
    model = registry.get(name)
    return PAGES[model.card.task](model)


def _json(value: Any) -> str:
    options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    return orjson.dumps(value, default=lambda array: array.tolist(), option=options).decode()
