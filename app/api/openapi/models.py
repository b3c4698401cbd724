"""The models in the OpenAPI document: the input and the answer of each."""

from __future__ import annotations

import csv
import io
from typing import Any, cast

from app.api.native.describe import model_form
from app.api.native.drawings import PNG, SIZE, SIZES, drawn_outputs, resizes
from app.api.native.events import EVENTS
from app.api.native.examples import FILES, example_input, form_of, in_json, is_long
from app.api.native.extra import EXTRA, KEEP
from app.api.native.picture_zip import ZIP
from app.api.native.scale import other_scales
from app.api.openapi.errors import refusals
from app.api.openapi.parts import (
    FILE,
    VERSION,
    array,
    json_content,
    obj,
    pictures,
    recordings,
    ref,
    responses,
)
from app.json_body import write_json
from app.serving.cards.card import TEXT_TASK
from app.serving.hub_rounds import spread
from app.serving.models.explanation import METHOD, MOST_PARTS, explanation_problem
from app.serving.models.model import Model
from app.serving.tasks import RowTask
from app.serving.tasks.inputs.decoding import most_files
from app.serving.tasks.inputs.series import KEY

# Bytes of an example of a card up to which it is in the document.
MOST_BYTES = 4_000
_ERRORS = (400, 404, 413, 429, 500, 503, 504)


def predictions(models: list[Model]) -> dict[str, Any]:
    """Return the path `/api/NAME` for each model."""
    return {f"/api/{model.name}": {"post": _operation(model)} for model in spread(models)}


def schemas(models: list[Model]) -> dict[str, Any]:
    """Return the schemas `NAME.input` and `NAME.prediction` for each model, as its task defines
    them."""
    found = {}
    for model in spread(models):
        if form_of(model_form(model)) not in FILES:
            found[f"{model.name}.input"] = model.task.input_schema()
        found[f"{model.name}.prediction"] = model.task.answer_schema()
    return found


def _operation(model: Model) -> dict[str, Any]:
    card = model.card
    operation: dict[str, Any] = {
        "tags": ["Predictions"],
        "operationId": f"predict_{model.name}",
        "summary": card.title or model.name,
        "parameters": [VERSION, *_scale(model), *_size(model), *_explain(model), *_extra(model)],
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


def _extra(model: Model) -> list[dict[str, Any]]:
    """Return the parameter for columns that the model does not have, where it takes tables."""
    if "csv" not in model.task.accepts:
        return []
    text = "Whether columns of a CSV that the model does not have are left out, not refused."
    schema = {"type": "string", "enum": [KEEP]}
    return [{"name": EXTRA, "in": "query", "description": text, "schema": schema}]


def _explain(model: Model) -> list[dict[str, Any]]:
    """Return the parameter for an explanation, where the model can be explained."""
    if explanation_problem(model):
        return []
    text = (
        f"Also answer how much the answer changes without each of up to {MOST_PARTS} parts of the "
        "input. For one row; the runs come after those of other requests."
    )
    schema = {"type": "string", "enum": [METHOD]}
    return [{"name": "explain", "in": "query", "description": text, "schema": schema}]


def _size(model: Model) -> list[dict[str, Any]]:
    """Return the parameter for the size of masks."""
    if not resizes(model):
        return []
    text = "The size of masks: that of the picture that was sent, or the model's own."
    schema = {"type": "string", "enum": [*SIZES], "default": SIZES[0]}
    return [{"name": SIZE, "in": "query", "description": text, "schema": schema}]


def _body(model: Model) -> dict[str, Any]:
    about = model_form(model)
    kind = form_of(about)
    if kind == "picture":
        return pictures(most_files(cast("RowTask", model.task).limits))
    if kind == "audio":
        return recordings(most_files(cast("RowTask", model.task).limits))
    schema = ref(f"{model.name}.input")
    stated = _stated(model)
    if kind in ("tensor", "writing"):
        made_up = None if stated or (kind == "tensor" and is_long(about)) else example_input(about)
        return json_content(schema, made_up, stated)
    if kind == "series":
        return _series(cast("RowTask", model.task), schema, about, stated)
    task = cast("RowTask", model.task)
    several = array(schema, minItems=1, maxItems=task.limits.max_rows)
    rows = {"anyOf": [schema, several]}
    example = example_input(about)
    form = {"type": "object", "properties": {"file": FILE}, "required": ["file"]}
    forms: dict[str, Any] = {"multipart/form-data": {"schema": form}}
    cells = example
    if kind == "text":
        forms = _texts(task)
    elif kind == "several":
        cells = _cells(example)
        example = in_json(example)
        forms = _form(task) if "form" in task.accepts else forms
    tables = {}
    if "csv" in task.accepts:
        tables["text/csv"] = {"schema": {"type": "string"}, "example": _csv(cells)}
    return {**json_content(rows, None if stated else example, stated), **tables, **forms}


def _cells(row: dict[str, Any]) -> dict[str, Any]:
    """Return the cells of a table: a column for each field, and for each text."""
    cells: dict[str, Any] = {}
    for name, value in row.items():
        cells |= value if isinstance(value, dict) else {name: value}
    return cells


def _stated(model: Model) -> dict[str, Any]:
    """Return the examples of the card that are short enough for the document, by their names."""
    bodies = {each.name: each.body for each in model.examples if not each.files}
    return {n: body for n, body in bodies.items() if len(write_json(body)) <= MOST_BYTES}


def _series(
    task: RowTask, schema: dict[str, Any], about: dict[str, Any], stated: dict[str, Any]
) -> dict[str, Any]:
    """Return a body that is a series, or an object with one, or several of them."""
    one = obj({KEY: schema})
    several = array(one, minItems=1, maxItems=task.limits.max_rows)
    example = None if stated or is_long(about) else example_input(about)
    form = {"type": "object", "properties": {"file": FILE}, "required": ["file"]}
    return {
        **json_content({"anyOf": [schema, one, several]}, example, stated),
        "text/csv": {"schema": {"type": "string"}},
        "multipart/form-data": {"schema": form},
    }


def _form(task: RowTask) -> dict[str, Any]:
    """Return the form with a part for each input and row; for fields also a part for each."""
    text = array({"type": "string"}, minItems=1)
    parts: dict[str, Any] = {}
    either: list[dict[str, Any]] = []
    for each in task.inputs:
        parts[each.name] = array(FILE, minItems=1) if each.kind in FILES else text
        if names := task.form_fields(each):
            parts |= dict.fromkeys(names, text)
            either.append({"oneOf": [{"required": [each.name]}, {"required": names}]})
        else:
            either.append({"required": [each.name]})
    texts = {name: {"contentType": "text/plain"} for name, part in parts.items() if part is text}
    form = {"type": "object", "properties": parts, "allOf": either}
    return {"multipart/form-data": {"schema": form, "encoding": texts}}


def _texts(task: RowTask) -> dict[str, Any]:
    """Return the form with a text for each row, or with a CSV."""
    (taken,) = task.inputs
    texts = array(taken.value_schema(), minItems=1)
    forms = [
        {"type": "object", "properties": {name: value}, "required": [name]}
        for name, value in ((taken.name, texts), ("file", FILE))
    ]
    return {"multipart/form-data": {"schema": {"anyOf": forms}}}


def _csv(row: dict[str, Any]) -> str:
    """Return a header line and one row."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([row.keys(), row.values()])
    return text.getvalue()


def _answer(model: Model) -> dict[str, Any]:
    prediction = ref(f"{model.name}.prediction")
    text = model.card.task == TEXT_TASK
    amount = {"minItems": 1, "maxItems": 1} if text else {}
    explained = {} if explanation_problem(model) else {"explanation": ref("Explanation")}
    answer = obj(
        {
            "id": {"type": "string", "description": "Id of the request, as in `X-Request-ID`."},
            "model": {"const": model.name},
            "version": {"type": "integer", "description": "Version of the model that answered."},
            "predictions": array(prediction, **amount),
            **explained,
        },
        *explained,
    )
    content = json_content(answer)
    if text:
        content[EVENTS] = {"schema": {"type": "string"}, "example": _EVENTS}
    drawn = drawn_outputs(model)
    if len(drawn) == 1:
        # Of a request with one picture.
        content[PNG] = {"schema": FILE}
    if drawn:
        content[ZIP] = {"schema": FILE}
    description = "The text." if text else "One prediction per input, in the same order."
    return {"description": description, "content": content}


_SIZE = array({"type": "integer", "minimum": 1}, minItems=2, maxItems=2)
_NUMBERS = {"anyOf": [{"type": "number"}, array({"type": "number"})]}
EXPLANATION = {
    **obj(
        {
            "method": {"const": METHOD},
            "rows": {"type": "integer", "description": "Rows that the model was asked for."},
            "outputs": {
                "type": "object",
                "additionalProperties": {"type": "object"},
                "description": "By the name of an output, the number that is followed: that of "
                "the label that is answered, or the only number.",
            },
            "inputs": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "properties": {
                        "kind": {"type": "string"},
                        "size": {**_SIZE, "description": "Height and width, as the model sees it."},
                        "grid": {**_SIZE, "description": "Rows and columns of patches."},
                        "patch": {**_SIZE, "description": "Height and width of a patch."},
                        "picture": {"type": "string", "description": "As the model sees it."},
                        "words": {
                            **array({"type": "string"}),
                            "description": "The words of a text; of a long one, groups of words.",
                        },
                        "drops": {
                            "type": "object",
                            "additionalProperties": array(_NUMBERS),
                            "description": "By the name of an output, by how much its number falls "
                            "without each part.",
                        },
                    },
                    "required": ["kind", "drops"],
                },
            },
        }
    ),
    "description": "What the answer depends on, with `?explain=`.",
}
_EVENTS = """\
event: start
data: {"id": "…", "model": "…", "version": 1, "seed": "…"}

event: word
data: {"text": "…"}

event: done
data: {"id": "…", "model": "…", "version": 1, "predictions": [{"seed": "…", "generated": "…"}]}

"""
