"""What may be sent to each model over the standard protocols, as its signature has it."""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from app.api.examples import example_input, is_long
from app.api.image_models import IMAGE_TASK
from app.api.oip_tensors import datatype_of
from app.serving.batching import Array
from app.serving.tasks.base import Payload, Task
from app.serving.tensors import numpy_dtype

if TYPE_CHECKING:
    from app.serving.model import Model

# A grey BMP of one pixel. All its bytes are ASCII, so that JSON can carry it as a text too.
PICTURE = (
    struct.pack("<2sIHHI", b"BM", 58, 0, 0, 54)  # bytes in all, and where the pixels begin
    + struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, 24, 0, 4, 0, 0, 0, 0)  # 1 x 1, of 24 bits
    + b"@@@\0"
)


def example_tensors(model: Model) -> dict[str, Array] | None:
    """One row, by input: of the card's examples where it has fields, else the same value
    everywhere; texts are objects (bytes). None where it is too long to write out, or of a type
    that JSON has no form for."""
    signature = model.signatures[model.default_signature]
    names = [spec.name for spec in signature.inputs]
    about = {"task": model.card.task, "signature": signature.describe()}
    if model.card.task == IMAGE_TASK:
        return {names[0]: np.array([PICTURE], object)}
    if is_long(about) or any(spec.dtype == "bfloat16" for spec in signature.inputs):
        return None
    if model.card.task.startswith("tabular-") and isinstance(model.task, Task):
        row = example_input({**about, "input": model.task.input_schema()})
        arrays = model.task.read(Payload("json", data=orjson.dumps(row)))
        return dict(zip(names, arrays, strict=True))
    value = example_input({**about, "task": "tensor"})
    nested = value if len(names) > 1 else {names[0]: value}
    return {
        spec.name: np.array(nested[spec.name], numpy_dtype(spec.dtype)) for spec in signature.inputs
    }


def v1_predict(model: Model, tensors: Mapping[str, Array]) -> dict[str, Any]:
    """A body for `:predict` of TensorFlow Serving's REST API."""
    columns = {
        name: _texts(array, model.card.task == IMAGE_TASK) if array.dtype == object else array
        for name, array in tensors.items()
    }
    alone = next(iter(columns.values())) if len(columns) == 1 else None
    if not model.signatures[model.default_signature].batchable:
        return {"inputs": columns if alone is None else alone}
    if alone is not None:
        return {"instances": alone}
    return {"instances": [{name: column[0] for name, column in columns.items()}]}


def v1_examples(signature: str) -> dict[str, Any]:
    """A body for `:classify` and `:regress`. Which features an example has, no signature tells."""
    return {"signature_name": signature, "examples": [{}]}


def v2_infer(tensors: Mapping[str, Array]) -> dict[str, Any]:
    """A body for inference of the Open Inference Protocol."""
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
    """Nested lists of texts. encoded: as base64."""
    return np.vectorize(lambda text: _text(text, encoded), otypes=[object])(array).tolist()


def _text(text: str | bytes, encoded: bool) -> Any:
    data = text.encode() if isinstance(text, str) else text
    return {"b64": b64encode(data).decode()} if encoded else data.decode()
