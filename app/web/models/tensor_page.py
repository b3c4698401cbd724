"""The page of a model that takes plain numbers or texts."""

from __future__ import annotations

from typing import Any

import orjson
from wtforms import Field, Form, TextAreaField
from wtforms.validators import InputRequired, StopValidation

from app.api.native.describe import model_form
from app.api.native.examples import example_input, is_long
from app.errors import Detail
from app.serving.signature import Signature, TensorSpec
from app.serving.tasks.examples import Example
from app.serving.tensors import dtype_kind
from app.web.layout import layout
from app.web.models.model_page import JsonPage

# Lines of an answer that the page shows.
MAX_LINES = 100
# Characters of an example in the field.
MOST_CHARACTERS = 20_000
_KINDS = {
    "f": ("number", "numbers"),
    "i": ("whole number", "whole numbers"),
    "u": ("whole number", "whole numbers"),
    "b": ("true or false", "true or false"),
    "s": ("text", "texts"),
}


class TensorPage(JsonPage):
    """A field for JSON, as the API accepts it."""

    template = "models/tensor.html"

    def form(self, data: Any = None) -> Form:
        """Return a form with one field of JSON, which holds an example unless it would be too long
        to read."""
        signature = self.model.signature
        about = model_form(self.model)
        example = ""
        if self.model.examples:
            example = layout(self.model.examples[0].body)
        elif not is_long(about):
            example = layout(example_input(about))
        if len(example) > MOST_CHARACTERS:
            example = ""

        class TensorForm(Form):
            body = TextAreaField(
                "Input, as JSON",
                [InputRequired("an input is needed"), _json],
                default=example,
                description=input_in_words(signature),
                render_kw={"rows": min(max(4, example.count("\n") + 2), 16), "spellcheck": "false"},
            )

        form: Form = TensorForm(data)
        return form

    def body(self, form: Form) -> bytes:
        """Return the JSON as it was sent."""
        text: str = form.data["body"]
        return text.encode()

    def example_fields(self, example: Example) -> dict[str, str]:
        """Return the JSON."""
        return {"body": layout(example.body)}

    def context(self) -> dict[str, Any]:
        """Return the number of lines that are shown of an answer."""
        return {"max_lines": MAX_LINES}

    def field_of(self, form: Form, detail: Detail) -> str | None:
        """Return the only field."""
        return "body"


def input_in_words(signature: Signature) -> str:
    """Describe the expected input in a sentence."""
    if len(signature.inputs) == 1:
        return f"Expected: {_in_words(signature.inputs[0])}."
    each = "; ".join(f'"{spec.name}": {_in_words(spec)}' for spec in signature.inputs)
    rows = ", with as many rows in each" if signature.batchable else ""
    return f"Expected: an object with {each}{rows}."


def _in_words(spec: TensorSpec) -> str:
    holds = dtype_kind(spec.dtype)
    one, many = (f"{name} ({spec.dtype})" for name in _KINDS[holds])
    if spec.shape is None:
        return f"{many} in a list of any shape"
    if not spec.shape:
        return one if holds == "b" else f"a single {one}"
    if spec.shape[0] is not None:
        return _nested(spec.shape, many)
    row = spec.row_shape
    return f"a list of rows, each {_nested(row, many)}" if row else f"a list of {many}"


def _nested(shape: tuple[int | None, ...], many: str) -> str:
    if len(shape) == 1:
        return f"a list of {many}" if shape[0] is None else f"a list of {shape[0]:,} {many}"
    sizes = " × ".join("any number" if size is None else f"{size:,}" for size in shape)
    return f"nested lists of {sizes} {many}"


def _json(form: Form, field: Field) -> None:
    try:
        orjson.loads(field.data)
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise StopValidation(f"this is not JSON: {error.msg} at {where}") from None
