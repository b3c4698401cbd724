"""The pages."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

from flask import Blueprint, Response, make_response, request
from wtforms import Form

from app.api.access import ModelAccess
from app.api.hangup import watching
from app.api.record import record_of
from app.api.requests import start_call_to
from app.errors import BadRequest, Draining, InvalidInput
from app.lifecycle import Lifecycle
from app.serving.card import TEXT_TASK
from app.serving.entry import LOADING_RETRY_S, Entry
from app.settings import Settings
from app.status.board import StatusBoard
from app.web.about import facts, moment
from app.web.compare import add_compare
from app.web.docs import add_docs
from app.web.image import ImagePage
from app.web.layout import first_lines, readable_json
from app.web.model_page import ModelPage, add_problems
from app.web.rendering import render
from app.web.snippets import languages
from app.web.status import status_context
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

# More models than fit on a screen.
SEARCHABLE_ABOVE = 8


def blueprint(
    settings: Settings, access: ModelAccess, lifecycle: Lifecycle, board: StatusBoard
) -> Blueprint:
    """`/`, the list of models; `/models/NAME`; `/compare`, `/status` and `/docs`."""
    routes = Blueprint("pages", __name__)
    routes.add_app_template_filter(readable_json, "json")
    routes.add_app_template_filter(first_lines)
    routes.add_app_template_filter(moment)

    @routes.before_request
    def _refuse() -> None:
        if lifecycle.refusing:
            raise Draining("this server is shutting down: send the request again")

    @routes.get("/")
    def home() -> str:
        query = request.args.get("q", "")
        models = [entry.summary() for entry in access.entries()]
        return render(
            "home.html",
            models=[model for model in models if _matches(model, query)],
            total=len(models),
            query=query,
            searchable_above=SEARCHABLE_ABOVE,
        )

    @routes.get("/models/<name>")
    def model(name: str) -> str | Response:
        entry = access.entry(name)
        if entry.model is None:
            text = render("models/unavailable.html", about=entry.describe())
            response = make_response(text, 503)
            response.headers["Retry-After"] = str(LOADING_RETRY_S)
            return response
        with access.leased(name, canary=False) as entry:
            page = _page(entry)
            return _render(entry, page, page.form())

    @routes.post("/models/<name>")
    def answer(name: str) -> Response:
        with access.leased(name, canary=False) as entry:
            return _answer(entry)

    def _answer(entry: Entry) -> Response:
        page = _page(entry)
        call = start_call_to(page.model, settings.request_timeout_s)
        form, predictions = page.form(), None
        error: BadRequest | InvalidInput | None = None
        try:
            form, payload = page.read(request, call)
            if payload is not None:
                with closing(payload), watching(request.environ, [call]):
                    predictions = page.predict(payload, call)
                if file := page.download(request):
                    return file
        except InvalidInput as invalid:
            details = add_problems(page, form, invalid.details)
            if details or not invalid.details:
                error = InvalidInput(invalid.message, details)
        except BadRequest as bad:
            error = bad
        status = 200 if predictions is not None else 422
        if status == 422:
            record_of(request.environ).code = (error or InvalidInput).code
        return make_response(_render(entry, page, form, predictions, error), status)

    add_compare(routes, settings, access)
    add_docs(routes)

    @routes.get("/status")
    def status() -> str:
        kept = settings.events_file is not None
        return render(
            "status.html", events_kept=kept, **status_context(access.of_status(board.whole()))
        )

    def _render(
        entry: Entry,
        page: ModelPage,
        form: Form,
        predictions: Sequence[Any] | None = None,
        error: BadRequest | InvalidInput | None = None,
    ) -> str:
        about = entry.describe()
        return render(
            page.template,
            model=page.model,
            about=about,
            facts=facts(about),
            languages=languages(about, request.url_root, keys=settings.api_keys_file is not None),
            form=form,
            predictions=predictions,
            error=error,
            settings=settings,
            **page.context(),
        )

    return routes


def _page(entry: Entry) -> ModelPage:
    model = entry.ready_model()
    return PAGES[model.card.task](model)


def _matches(model: dict[str, Any], query: str) -> bool:
    """Whether all words of the query are in what the list says of the model."""
    text = " ".join(str(model[key]) for key in ("name", "title", "description", "task", "state"))
    return all(word in text.lower() for word in query.lower().split())
