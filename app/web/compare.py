"""The page that shows one picture to every image model."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, make_response, request

from app.api.access import ModelAccess
from app.api.image_models import ask_image_models, image_models
from app.errors import BadRequest, InvalidInput, KeraportError
from app.settings import Settings
from app.web.model_page import problem_text
from app.web.picker import picture_form
from app.web.rendering import render


def add_compare(routes: Blueprint, settings: Settings, access: ModelAccess) -> None:
    """`/compare`: the page, and the page with the answers to a form that was sent."""

    @routes.route("/compare", methods=["GET", "POST"])
    def compare() -> Response:
        form = picture_form("Choose a picture", several=False)
        answers: dict[str, dict[str, Any]] = {}
        error: BadRequest | InvalidInput | None = None
        if request.method == "POST":
            try:
                asked = ask_image_models(request, settings, access)
                answers = {entry.name: _shown(outcome) for entry, outcome in asked}
            except InvalidInput as invalid:
                error = invalid
                form["image"].errors = [problem_text(detail) for detail in invalid.details]
            except BadRequest as bad:
                error = bad
        page = render(
            "compare.html",
            form=form,
            models=[entry.summary() for entry in image_models(access)],
            loaded=access.loaded,
            answers=answers,
            error=error,
            settings=settings,
        )
        return make_response(page, 422 if error else 200)


def _shown(outcome: dict[str, Any] | KeraportError) -> dict[str, Any]:
    if isinstance(outcome, KeraportError):
        return {"problem": outcome.message}
    return {"prediction": outcome["predictions"][0], "whole": outcome}
