"""The routes of the pages: the list of models, each model, the status."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

from flask import Blueprint, Response, make_response, request, url_for
from wtforms import Form

from app.api.http.access import ModelAccess
from app.api.http.disconnect import cancel_on_disconnect
from app.api.http.draining import refuse_while_draining
from app.api.http.requests import start_call_to
from app.api.native.describe import model_details, model_form, model_summary
from app.api.native.examples import card_example, example_of, form_of
from app.api.telemetry.record import record_of
from app.errors import LOADING_RETRY_S, BadRequest, InvalidInput
from app.lifecycle import Lifecycle
from app.serving.cards.kinds import in_words
from app.serving.models.model import Model
from app.serving.registry.entry import Entry, ModelLease
from app.serving.tasks.base import Payload
from app.serving.tasks.examples import Example
from app.settings import Settings
from app.status.board import StatusBoard
from app.web.about import facts, measured, moment
from app.web.compare import add_compare
from app.web.docs import add_docs
from app.web.examples import add_examples, file_address, shown_example, thumbnail_address
from app.web.layout import first_lines, readable_json
from app.web.models.image_page import ImagePage
from app.web.models.kinds_page import KindsPage
from app.web.models.model_page import ModelPage, add_problems, tried_scale
from app.web.models.tabular_page import TabularPage
from app.web.models.tensor_page import TensorPage
from app.web.models.text_input_page import TextInputPage
from app.web.models.text_page import TextPage
from app.web.rendering import render
from app.web.snippets import languages
from app.web.status import status_context

# The pages of models, by the form of their requests.
PAGES: dict[str, type[ModelPage]] = {
    "picture": ImagePage,
    "fields": TabularPage,
    "text": TextInputPage,
    "writing": TextPage,
    "tensor": TensorPage,
    "audio": KindsPage,
    "series": KindsPage,
    "several": KindsPage,
}

# Characters of an example that the script fills in; a longer one is sent as a form.
MOST_FILLED = 20_000
# The number of models that fit on a screen.
SEARCHABLE_ABOVE = 8


def blueprint(
    settings: Settings, access: ModelAccess, lifecycle: Lifecycle, board: StatusBoard
) -> Blueprint:
    """Return the routes `/`, the list of models; `/models/NAME`; `/compare`, `/status` and
    `/docs`."""
    routes = Blueprint("pages", __name__)
    routes.add_app_template_filter(readable_json, "json")
    routes.add_app_template_filter(first_lines)
    routes.add_app_template_filter(moment)
    routes.add_app_template_filter(measured)
    refuse_while_draining(routes, lifecycle)

    @routes.get("/")
    def home() -> str:
        query = request.args.get("q", "")
        models = [
            {
                **model_summary(entry),
                "kinds": in_words(entry.card) if entry.card else "",
                "example": shown_example(entry),
            }
            for entry in access.entries()
        ]
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
            text = render("models/unavailable.html", about=model_details(entry))
            response = make_response(text, 503)
            response.headers["Retry-After"] = str(LOADING_RETRY_S)
            return response
        with access.leased(name, canary=False) as lease:
            page = _page(lease.model)
            return _render(lease.entry, page, page.form())

    @routes.post("/models/<name>")
    def answer(name: str) -> Response:
        with access.leased(name, canary=False) as lease:
            return _answer(lease)

    def _answer(lease: ModelLease) -> Response:
        page = _page(lease.model)
        call = start_call_to(page.model, settings.request_timeout_s)
        form, predictions = page.form(), None
        payload: Payload | None
        error: BadRequest | InvalidInput | None = None
        try:
            if (number := request.args.get("example")) is not None:
                example = card_example(page.model, number, "example")
                form, payload = page.try_example(example)
            else:
                form, payload = page.read(request, call)
            if payload is not None:
                with closing(payload), cancel_on_disconnect(request.environ, [call]):
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
        return make_response(_render(lease.entry, page, form, predictions, error), status)

    add_compare(routes, settings, access)
    add_docs(routes)
    add_examples(routes, access)

    @routes.get("/status")
    def status() -> str:
        kept = settings.events_file is not None
        visible = access.visible_status(board.combined())
        return render("status.html", events_kept=kept, **status_context(visible))

    def _render(
        entry: Entry,
        page: ModelPage,
        form: Form,
        predictions: Sequence[Any] | None = None,
        error: BadRequest | InvalidInput | None = None,
    ) -> str:
        about = model_details(entry)
        tried = tried_scale(page.model)
        keys = settings.api_keys_file is not None
        return render(
            page.template,
            model=page.model,
            about=about,
            facts=facts(about, tried),
            guesses=[guess.explained for guess in page.model.guessed],
            languages=languages(
                about, request.url_root, example_of(page.model), keys=keys, scale=tried
            ),
            examples=[_example(page, i, each) for i, each in enumerate(page.model.examples)],
            form=form,
            predictions=predictions,
            error=error,
            settings=settings,
            **page.context(),
        )

    return routes


def _page(model: Model) -> ModelPage:
    return PAGES[form_of(model_form(model))](model)


def _example(page: ModelPage, number: int, example: Example) -> dict[str, Any]:
    """What the page shows of an example, and how its script fills in the form."""
    name = page.model.name
    tried: dict[str, Any] = {"scale": scale} if (scale := tried_scale(page.model)) else {}
    fields = page.example_fields(example)
    files = [
        {"field": field, "name": file.name, "url": file_address(name, number, place)}
        for place, (field, file) in enumerate(
            zip(page.file_fields(example), example.files.values(), strict=True)
        )
    ]
    short = sum(map(len, fields.values())) <= MOST_FILLED
    return {
        "name": example.name,
        "address": url_for("pages.answer", name=name, example=number, **tried),
        "thumbnail": thumbnail_address(name, number, example),
        "fill": {"fields": fields, "files": files} if short else None,
    }


def _matches(model: dict[str, Any], query: str) -> bool:
    """Whether the model's entry in the list contains all words of the query."""
    text = " ".join(str(model[key]) for key in ("name", "title", "description", "kinds", "state"))
    return all(word in text.lower() for word in query.lower().split())
