"""Pictures that come out of models: as files in place of JSON, and in which size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Request, Response

from app.api.http.requests import query_value
from app.api.native.picture_zip import ZIP, zip_response
from app.errors import Detail, InvalidInput
from app.serving.call import Call
from app.serving.models.model import Model
from app.serving.tasks import RowTask
from app.serving.tasks.base import USUAL_DRAWING, Drawing, Payload
from app.serving.tasks.outputs.drawn import Drawn

PNG = "image/png"
JSON = "application/json"
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
    wanted_type = file_type(request) if outputs else JSON
    if wanted_type == PNG and len(outputs) > 1:
        names = ", ".join(out.name for out in outputs)
        problem = f"the answer has {len(outputs)} pictures ({names})"
        details.append(Detail("Accept", problem, PNG, f"{JSON} or {ZIP}"))
    if details:
        message = "; ".join(f"{each.field}: {each.problem}" for each in details)
        raise InvalidInput(message, details)
    return Drawing(wanted == "model", wanted_type != JSON)


def file_type(request: Request) -> str:
    """Return the media type that the client wants pictures in."""
    return request.accept_mimetypes.best_match([JSON, PNG, ZIP]) or JSON


def file_response(
    request: Request, model: Model, predictions: Sequence[Any], payload: Payload, call: Call
) -> Response:
    """Return the only picture of an answer as a file, or all of them in a zip. Raises InvalidInput
    where there are several rows for one file, and what ends `call`."""
    outputs = drawn_outputs(model)
    if file_type(request) == ZIP:
        names = [out.name for out in outputs]
        return zip_response(model.name, names, predictions, payload, call)
    if len(predictions) != 1:
        problem = f"the answer has {len(predictions):,} pictures, one for each that was sent"
        detail = Detail("Accept", problem, PNG, f"{ZIP}, {JSON}, or one picture in the request")
        raise InvalidInput(f"Accept: {problem}: expected {detail.expected}", [detail])
    (out,) = outputs
    return Response(predictions[0][out.name]["png"], mimetype=PNG, headers={"Vary": "Accept"})
