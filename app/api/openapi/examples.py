"""Example requests of v1 and v2 for each model, made from its signature."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from app.api.native.describe import model_form
from app.api.native.examples import (
    CONTENTS,
    Repeated,
    example_input,
    form_of,
    in_json,
    is_long,
)
from app.api.v2.tensors import datatype_of
from app.serving.arrays import Array
from app.serving.models.model import Model
from app.serving.tasks import Payload, RowTask
from app.serving.tasks.inputs.files import FileInput
from app.serving.tensors import numpy_dtype


def example_tensors(model: Model) -> dict[str, Array] | None:
    """Return one row, or as many as a run must have, by input: from the card's examples if it has
    fields, else the same value everywhere; texts are objects (bytes). None if it is too long to
    write out, or of a type that JSON has no form for."""
    tensors, rows = _row(model), model.engine.fixed_rows
    if tensors is None or rows is None:
        return tensors
    return {n: np.repeat(a, rows, axis=0) if len(a) == 1 else a for n, a in tensors.items()}


def _row(model: Model) -> dict[str, Array] | None:
    signature = model.signatures[model.default_signature]
    names = [spec.name for spec in signature.inputs]
    about = {"task": "tensor", "signature": signature.describe()}
    if isinstance(model.task, RowTask) and (files := _encoded(model.task)):
        return _with_files(model, model.task, files)
    if is_long(about) or any(spec.dtype == "bfloat16" for spec in signature.inputs):
        return None
    if isinstance(model.task, RowTask) and form_of(model_form(model)) != "tensor":
        row = example_input(model_form(model))
        arrays = model.task.read(Payload("json", data=orjson.dumps(row)))
        return dict(zip(names, arrays, strict=True))
    value = example_input(about)
    nested = value if len(names) > 1 else {names[0]: value}
    return {
        spec.name: np.array(nested[spec.name], numpy_dtype(spec.dtype)) for spec in signature.inputs
    }


def _encoded(task: RowTask) -> dict[str, Array]:
    """The inputs of the model that take encoded files, each with one."""
    return {
        each.specs[0].name: np.array([CONTENTS[each.files][0]], object)
        for each in task.inputs
        if isinstance(each, FileInput)
    }


def _with_files(model: Model, task: RowTask, files: dict[str, Array]) -> dict[str, Array] | None:
    """A row with encoded files."""
    if len(task.inputs) == 1:
        return files
    example = example_input(model_form(model))
    if any(isinstance(value, Repeated) for value in example.values()):
        return None
    parsed = task.parse(Payload("json", data=orjson.dumps(in_json(example))))
    return {t.name: {**parsed.arrays, **files}[t.name] for t in model.signature.inputs}


def v1_predict(model: Model, tensors: Mapping[str, Array]) -> dict[str, Any]:
    """Return a body for `:predict` of TensorFlow Serving's REST API."""
    files = _encoded(model.task) if isinstance(model.task, RowTask) else {}
    columns = {
        name: _texts(array, name in files) if array.dtype == object else array
        for name, array in tensors.items()
    }
    alone = next(iter(columns.values())) if len(columns) == 1 else None
    if not model.signatures[model.default_signature].batchable:
        return {"inputs": columns if alone is None else alone}
    if alone is not None:
        return {"instances": alone}
    return {"instances": [{name: column[0] for name, column in columns.items()}]}


def v1_examples(signature: str) -> dict[str, Any]:
    """Return a body for `:classify` and `:regress`. Signatures do not tell which features an
    example has."""
    return {"signature_name": signature, "examples": [{}]}


def v2_infer(tensors: Mapping[str, Array]) -> dict[str, Any]:
    """Return a body for inference of the Open Inference Protocol."""
    return {
        "inputs": [
            {
                "name": name,
                "datatype": datatype_of(array),
                "shape": array.shape,
                "data": _texts(array.reshape(-1), False)
                if array.dtype == object
                else array.ravel(),
            }
            for name, array in tensors.items()
        ]
    }


def _texts(array: Array, encoded: bool) -> Any:
    """Return nested lists of texts. encoded: in base64."""
    return np.vectorize(lambda text: _text(text, encoded), otypes=[object])(array).tolist()


def _text(text: str | bytes, encoded: bool) -> Any:
    data = text.encode() if isinstance(text, str) else text
    return {"b64": b64encode(data).decode()} if encoded else data.decode()
