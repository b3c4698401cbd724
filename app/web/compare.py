"""The page that shows one picture to every image model."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, make_response, request

from app.api.http.access import ModelAccess
from app.api.native.all_images import ask_image_models, image_models
from app.api.native.describe import model_summary
from app.errors import BadRequest, InvalidInput, KeraportError
from app.serving.registry.entry import Entry
from app.settings import Settings
from app.web.models.answers.readings import PictureRoom, readings, shown_outputs
from app.web.models.model_page import problem_text
from app.web.models.picture_form import picture_form
from app.web.rendering import render


def add_compare(routes: Blueprint, settings: Settings, access: ModelAccess) -> None:
    """Add `/compare`: the form, and the page with the answers to a submitted form."""

    @routes.route("/compare", methods=["GET", "POST"])
    def compare() -> Response:
        form = picture_form("Choose a picture", several=False)
        answers: dict[str, dict[str, Any]] = {}
        error: BadRequest | InvalidInput | None = None
        if request.method == "POST":
            try:
                asked = ask_image_models(request, settings, access, frozenset({"files"}))
                answers = {entry.name: _shown(entry, outcome) for entry, outcome in asked}
            except InvalidInput as invalid:
                error = invalid
                form["image"].errors = [problem_text(detail) for detail in invalid.details]
            except BadRequest as bad:
                error = bad
        page = render(
            "compare.html",
            form=form,
            models=[model_summary(entry) for entry in image_models(access)],
            loaded=access.loaded,
            answers=answers,
            error=error,
            settings=settings,
        )
        return make_response(page, 422 if error else 200)


def _shown(entry: Entry, outcome: dict[str, Any] | KeraportError) -> dict[str, Any]:
    if isinstance(outcome, KeraportError):
        return {"problem": outcome.message}
    # One that was removed meanwhile has answered all the same.
    outputs = shown_outputs(entry.model) if entry.model is not None else []
    prediction = PictureRoom().fitted(outcome["predictions"][0])
    whole = {**outcome, "predictions": [prediction]}
    return {"readings": readings(prediction, outputs), "whole": whole}
