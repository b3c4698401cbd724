"""Pictures that come out of models: as PNG files in place of JSON, and in which size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Request, Response

from app.api.http.requests import query_value
from app.errors import Detail, InvalidInput
from app.serving.models.model import Model
from app.serving.tasks import RowTask
from app.serving.tasks.base import USUAL_DRAWING, Drawing
from app.serving.tasks.outputs.drawn import Drawn

PNG = "image/png"
SIZE = "size"
SIZES = ("original", "model")


def drawn_outputs(model: Model) -> list[Drawn]:
    """Return the outputs that are answered as pictures."""
    return model.task.drawn if isinstance(model.task, RowTask) else []


def resizes(model: Model) -> bool:
    """Tell whether a request may choose the size of the pictures in its answer."""
    return any(out.resized for out in drawn_outputs(model))


def drawing_of(request: Request, model: Model) -> Drawing:
    """Return how a request wants pictures, by `?size=` and `Accept`. Raises InvalidInput for other
    sizes, where the model draws no masks, and where it draws several pictures for one file."""
    wanted = query_value(request, SIZE)
    outputs = drawn_outputs(model)
    if wanted is None and not outputs:
        return USUAL_DRAWING
    details = []
    if wanted is not None and not resizes(model):
        details.append(Detail(SIZE, "this model answers no masks", wanted[:100]))
    elif wanted is not None and wanted not in SIZES:
        expected = f"one of {', '.join(SIZES)}"
        details.append(Detail(SIZE, "not a size of masks", wanted[:100], expected))
    as_files = bool(outputs) and wants_file(request)
    if as_files and len(outputs) > 1:
        names = ", ".join(out.name for out in outputs)
        problem = f"the answer has {len(outputs)} pictures ({names})"
        details.append(Detail("Accept", problem, PNG, "application/json"))
    if details:
        message = "; ".join(f"{each.field}: {each.problem}" for each in details)
        raise InvalidInput(message, details)
    return Drawing(wanted == "model", as_files)


def wants_file(request: Request) -> bool:
    """Whether the client asks for a picture rather than JSON."""
    return request.accept_mimetypes.best_match(["application/json", PNG]) == PNG


def file_response(model: Model, predictions: Sequence[Any]) -> Response:
    """Return the only picture of an answer as a file. Raises InvalidInput where there are several
    rows."""
    if len(predictions) != 1:
        problem = f"the answer has {len(predictions):,} pictures, one for each that was sent"
        expected = "application/json, or one picture in the request"
        detail = Detail("Accept", problem, PNG, expected)
        raise InvalidInput(f"Accept: {problem}: expected {expected}", [detail])
    (out,) = drawn_outputs(model)
    return Response(predictions[0][out.name]["png"], mimetype=PNG, headers={"Vary": "Accept"})
