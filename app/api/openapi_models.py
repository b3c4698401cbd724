"""The models in the OpenAPI document: what each takes and what it answers."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, cast

from app.api.events import EVENTS
from app.api.examples import example_input, is_long
from app.api.openapi_errors import refusals
from app.api.openapi_parts import FILE, VERSION, array, json_content, obj, pictures, ref, responses
from app.serving.card import TEXT_TASK
from app.serving.rounds import spread

if TYPE_CHECKING:
    from app.serving.model import Model
    from app.serving.tasks.base import Task

_ERRORS = (400, 404, 413, 429, 500, 503, 504)
_PICTURES = "image-classification"
_TENSOR = "tensor"


def predictions(models: list[Model]) -> dict[str, Any]:
    """`/api/NAME` for each model."""
    return {f"/api/{model.name}": {"post": _operation(model)} for model in spread(models)}


def schemas(models: list[Model]) -> dict[str, Any]:
    """`NAME.input` and `NAME.prediction` for each model, as its task says."""
    found = {}
    for model in spread(models):
        if model.card.task != _PICTURES:
            found[f"{model.name}.input"] = model.task.input_schema()
        found[f"{model.name}.prediction"] = model.task.answer_schema()
    return found


def _operation(model: Model) -> dict[str, Any]:
    card = model.card
    operation: dict[str, Any] = {
        "tags": ["Predictions"],
        "operationId": f"predict_{model.name}",
        "summary": card.title or model.name,
        "parameters": [VERSION],
        "requestBody": {"required": True, "content": _body(model)},
        "responses": {**responses(_answer(model), *_ERRORS), **refusals(model)},
    }
    if card.description is not None:
        operation["description"] = card.description
    return operation


def _body(model: Model) -> dict[str, Any]:
    task = model.card.task
    if task == _PICTURES:
        return pictures(several=True)
    schema = ref(f"{model.name}.input")
    about = {
        "task": task,
        "input": model.task.input_schema(),
        "signature": model.signature.describe(),
    }
    if task == _TENSOR:
        return json_content(schema, None if is_long(about) else example_input(about))
    example = example_input(about)
    if task == TEXT_TASK:
        return json_content(schema, example)
    limits = cast("Task", model.task).limits
    several = array(schema, minItems=1, maxItems=limits.max_rows)
    rows = {"anyOf": [schema, several]}
    table = {"schema": {"type": "string"}, "example": _csv(example)}
    form = {"type": "object", "properties": {"file": FILE}, "required": ["file"]}
    return {
        **json_content(rows, example),
        "text/csv": table,
        "multipart/form-data": {"schema": form},
    }


def _csv(row: dict[str, Any]) -> str:
    """A line of names, then one row."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([row.keys(), row.values()])
    return text.getvalue()


def _answer(model: Model) -> dict[str, Any]:
    prediction = ref(f"{model.name}.prediction")
    text = model.card.task == TEXT_TASK
    amount = {"minItems": 1, "maxItems": 1} if text else {}
    answer = obj(
        {
            "id": {"type": "string", "description": "Of the request, as in `X-Request-ID`."},
            "model": {"const": model.name},
            "version": {"type": "integer", "description": "Of the model that answered."},
            "predictions": array(prediction, **amount),
        }
    )
    content = json_content(answer)
    if text:
        content[EVENTS] = {"schema": {"type": "string"}, "example": _EVENTS}
    description = "The text." if text else "One prediction an input, in their order."
    return {"description": description, "content": content}


_EVENTS = """\
event: start
data: {"id": "…", "model": "…", "version": 1, "seed": "…"}

event: word
data: {"text": "…"}

event: done
data: {"id": "…", "model": "…", "version": 1, "predictions": [{"seed": "…", "generated": "…"}]}

"""
