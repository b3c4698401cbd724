"""The models in the OpenAPI document: the input and the answer of each."""

from __future__ import annotations

import csv
import io
from typing import Any, cast

from app.api.native.describe import model_form
from app.api.native.events import EVENTS
from app.api.native.examples import example_input, form_of, is_long
from app.api.native.scale import other_scales
from app.api.openapi.errors import refusals
from app.api.openapi.examples import in_json
from app.api.openapi.parts import FILE, VERSION, array, json_content, obj, pictures, ref, responses
from app.serving.cards.card import TEXT_TASK
from app.serving.hub_rounds import spread
from app.serving.models.model import Model
from app.serving.tasks import RowTask
from app.serving.tasks.inputs.decoding import most_pictures

_ERRORS = (400, 404, 413, 429, 500, 503, 504)


def predictions(models: list[Model]) -> dict[str, Any]:
    """Return the path `/api/NAME` for each model."""
    return {f"/api/{model.name}": {"post": _operation(model)} for model in spread(models)}


def schemas(models: list[Model]) -> dict[str, Any]:
    """Return the schemas `NAME.input` and `NAME.prediction` for each model, as its task defines
    them."""
    found = {}
    for model in spread(models):
        if form_of(model_form(model)) != "picture":
            found[f"{model.name}.input"] = model.task.input_schema()
        found[f"{model.name}.prediction"] = model.task.answer_schema()
    return found


def _operation(model: Model) -> dict[str, Any]:
    card = model.card
    operation: dict[str, Any] = {
        "tags": ["Predictions"],
        "operationId": f"predict_{model.name}",
        "summary": card.title or model.name,
        "parameters": [VERSION, *_scale(model)],
        "requestBody": {"required": True, "content": _body(model)},
        "responses": {**responses(_answer(model), *_ERRORS), **refusals(model)},
    }
    if card.description is not None:
        operation["description"] = card.description
    return operation


def _scale(model: Model) -> list[dict[str, Any]]:
    """Return the parameter for another scale of pixels, where that of the model is a guess."""
    if not (known := other_scales(model)):
        return []
    text = "How pixels are scaled, in place of the guess that the model is served with."
    schema = {"type": "string", "enum": known}
    return [{"name": "scale", "in": "query", "description": text, "schema": schema}]


def _body(model: Model) -> dict[str, Any]:
    about = model_form(model)
    kind = form_of(about)
    if kind == "picture":
        return pictures(most_pictures(cast("RowTask", model.task).limits))
    schema = ref(f"{model.name}.input")
    if kind == "tensor":
        return json_content(schema, None if is_long(about) else example_input(about))
    if kind == "text":
        return json_content(schema, example_input(about))
    task = cast("RowTask", model.task)
    several = array(schema, minItems=1, maxItems=task.limits.max_rows)
    rows = {"anyOf": [schema, several]}
    example = example_input(about)
    cells = example
    if kind == "several":
        example = in_json(example)
        if "csv" not in task.accepts:
            return {**json_content(rows, example), **_form(task)}
        cells = {name: value for row in cells.values() for name, value in row.items()}
    table = {"schema": {"type": "string"}, "example": _csv(cells)}
    form = {"type": "object", "properties": {"file": FILE}, "required": ["file"]}
    return {
        **json_content(rows, example),
        "text/csv": table,
        "multipart/form-data": {"schema": form},
    }


def _form(task: RowTask) -> dict[str, Any]:
    """Return the form with a part for each input and row."""
    parts = {
        each.name: array(FILE if each.kind == "picture" else {"type": "string"}, minItems=1)
        for each in task.inputs
    }
    texts = {
        each.name: {"contentType": "text/plain"} for each in task.inputs if each.kind != "picture"
    }
    form = {"type": "object", "properties": parts, "required": [*parts]}
    return {"multipart/form-data": {"schema": form, "encoding": texts}}


def _csv(row: dict[str, Any]) -> str:
    """Return a header line and one row."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([row.keys(), row.values()])
    return text.getvalue()


def _answer(model: Model) -> dict[str, Any]:
    prediction = ref(f"{model.name}.prediction")
    text = model.card.task == TEXT_TASK
    amount = {"minItems": 1, "maxItems": 1} if text else {}
    answer = obj(
        {
            "id": {"type": "string", "description": "Id of the request, as in `X-Request-ID`."},
            "model": {"const": model.name},
            "version": {"type": "integer", "description": "Version of the model that answered."},
            "predictions": array(prediction, **amount),
        }
    )
    content = json_content(answer)
    if text:
        content[EVENTS] = {"schema": {"type": "string"}, "example": _EVENTS}
    description = "The text." if text else "One prediction per input, in the same order."
    return {"description": description, "content": content}


_EVENTS = """\
event: start
data: {"id": "…", "model": "…", "version": 1, "seed": "…"}

event: word
data: {"text": "…"}

event: done
data: {"id": "…", "model": "…", "version": 1, "predictions": [{"seed": "…", "generated": "…"}]}

"""
