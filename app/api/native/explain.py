"""What an answer depends on: `?explain=occlusion`."""

from __future__ import annotations

from flask import Request

from app.api.http.requests import query_value
from app.errors import BadRequest, Detail, InvalidInput
from app.serving.models.explanation import METHOD, explanation_problem
from app.serving.models.model import Model

EXPLAIN = "explain"


def wants_explanation(request: Request, model: Model) -> bool:
    """Tell whether a request asks for an explanation. Raises InvalidInput for one that there is
    not, BadRequest where the model has none."""
    text = query_value(request, EXPLAIN)
    if text is None:
        return False
    if text != METHOD:
        detail = Detail(EXPLAIN, "not a method", text[:100], METHOD)
        raise InvalidInput(f"{EXPLAIN}: {detail.problem}, expected {METHOD}", [detail])
    if problem := explanation_problem(model):
        raise BadRequest(f"{EXPLAIN}: {problem}")
    return True


def check_without_explanation(request: Request) -> None:
    """Raise BadRequest where a request to several models asks for an explanation."""
    if EXPLAIN in request.args:
        raise BadRequest(
            f"the query parameter {EXPLAIN!r} goes with one model: POST /api/NAME?explain={METHOD}"
        )
