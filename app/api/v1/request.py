"""Requests of TensorFlow Serving's REST API, without HTTP.

Its documentation is tensorflow_serving/g3doc/api_rest.md; where the real server differs from it
(tensorflow_serving/util/json_tensor.cc), this follows the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from app.api.v1.b64 import decoded, is_encoded, is_file_url
from app.errors import BadRequest, Detail
from app.json_body import ENCODED_TWICE, is_wrapped, read_json
from app.serving.arrays import Array
from app.serving.signature import CLASSIFY_METHOD, REGRESS_METHOD, SignatureDef, TensorSpec
from app.serving.tasks.base import ENOUGH, Limits, invalid
from app.serving.tensors import DTYPES, Wording, from_nested
from app.serving.tf_example import serialised

Signatures = Mapping[str, SignatureDef]
# How its messages call what a signature is for.
_KINDS = {CLASSIFY_METHOD: "classification", REGRESS_METHOD: "regression"}
WORDING = Wording(encoded='{"b64": …} or "data:…" each')


@dataclass(frozen=True, slots=True)
class V1Request:
    """A request to a model. inputs: as `Model.infer` takes them. rows: whether the answer is
    one value per row (`instances`), not one per output (`inputs`). flat: whether the values of a
    column came without its second dimension."""

    signature: str
    inputs: dict[str, Array]
    rows: bool = False
    flat: bool = False


def read_predict(body: bytes, signatures: Signatures, default: str, limits: Limits) -> V1Request:
    """Read the body of `:predict`. Raises BadRequest, or InvalidInput with all problems at once."""
    document = _parse(body, limits)
    name = _signature_name(document, default)
    signature = signatures.get(name)
    if signature is None:
        raise BadRequest(
            f'Serving signature name: "{name[:100]}" not found in signature def; '
            f"the model has: {', '.join(signatures)}"
        )
    _check_types(signature)
    if "instances" in document and "inputs" in document:
        raise BadRequest("Expecting only one of 'inputs' or 'instances' keys to exist")
    details: list[Detail] = []
    if "instances" in document:
        columns = _columns(document["instances"], signature, limits, details)
    elif "inputs" in document:
        columns = _named(document["inputs"], signature, details)
        _check_rows(columns, signature, limits)
    else:
        raise BadRequest("Missing 'inputs' or 'instances' key")
    arrays: dict[str, Array] = {}
    flat = False
    for spec in signature.inputs:
        if spec.name in columns:
            wanted = _flattened(columns[spec.name], spec)
            array = _array(columns[spec.name], wanted or spec)
            if isinstance(array, Detail):
                details.append(array)
            elif wanted:
                flat = True
                array = array[:, None]
            if not isinstance(array, Detail):
                arrays[spec.name] = array
    if details:
        raise invalid(details)
    return V1Request(name, arrays, rows="instances" in document, flat=flat)


def read_examples(
    body: bytes, signatures: Signatures, default: str, limits: Limits, *, method: str
) -> V1Request:
    """Read the body of `:classify` or `:regress`: `tf.Example`s for the signature's only input.

    method: of the signatures that may be asked. Raises BadRequest, or InvalidInput with all
    problems at once.
    """
    document = _parse(body, limits)
    name = _signature_name(document, default)
    signature = examples_signature(signatures, name, method)
    _check_types(signature)
    rows = document.get("examples")
    if not isinstance(rows, list) or not rows:
        raise BadRequest("Expecting 'examples' to be a list of at least one object")
    if excess := limits.excess("examples", len(rows)):
        raise invalid(excess)
    details: list[Detail] = []
    features = []
    shared: dict[str, Any] = {}
    for field, row in [
        ("context", document.get("context", {})),
        *((f"examples[{i}]", row) for i, row in enumerate(rows)),
    ]:
        if len(details) > ENOUGH:
            raise invalid(details, more=True)
        if not isinstance(row, dict):
            details.append(Detail(field, "not an object", expected="an object of features"))
            continue
        try:
            read = {key: decoded(value) for key, value in row.items()}
        except ValueError:
            details.append(Detail(field, "a 'b64' is not base64"))
            continue
        if field == "context":
            shared = read
        else:
            features.append({**shared, **read})
    if not details:
        texts = serialised(features)
        if not isinstance(texts, list):
            return V1Request(name, {signature.inputs[0].name: texts})
        details = texts
    raise invalid(details)


def examples_signature(signatures: Signatures, name: str, method: str) -> SignatureDef:
    """Return the signature of that name, if it takes examples for `method`. Raises BadRequest."""
    signature = signatures.get(name)
    if signature is None:
        raise BadRequest(
            f"No signature was found with the name: {name[:100]}; "
            f"the model has: {', '.join(signatures)}"
        )
    if signature.method != method:
        raise BadRequest(
            f"Expected {_KINDS[method]} signature method_name to be {method}. "
            f"Was: {signature.method}"
        )
    if len(signature.inputs) != 1:
        raise BadRequest("Expected one input Tensor.")
    return signature


def _parse(body: bytes, limits: Limits) -> dict[str, Any]:
    """Parse the body to an object, NaN and Infinity included. Raises BadRequest."""
    if not body.strip():
        raise BadRequest("JSON Parse error: The document is empty")
    try:
        document = read_json(body, limits.max_json_depth, nan=True)
    except ValueError as error:
        raise BadRequest(f"JSON Parse error: {error}") from None
    if is_wrapped(document):
        raise BadRequest(f"JSON Value: Is not object: {ENCODED_TWICE}")
    if not isinstance(document, dict):
        raise BadRequest('JSON Value: Is not object: expected {"instances": [...]} or the like')
    return document


def _signature_name(document: dict[str, Any], default: str) -> str:
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise BadRequest("'signature_name' key must be a string value.")
    return name or default


def _check_types(signature: SignatureDef) -> None:
    """Raise InvalidInput for types that JSON cannot carry."""
    details = [
        Detail(t.name, f"of type {t.dtype}, which JSON cannot carry")
        for t in (*signature.inputs, *signature.outputs)
        if t.dtype not in DTYPES and not (t.dtype == "bfloat16" and t in signature.outputs)
    ]
    if details:
        raise invalid(details)


def _columns(
    instances: Any, signature: SignatureDef, limits: Limits, details: list[Detail]
) -> dict[str, Any]:
    """Return `instances` as one list per input."""
    names = [t.name for t in signature.inputs]
    if not isinstance(instances, list):
        raise BadRequest("Expecting 'instances' to be a list/array")
    if not instances:
        raise BadRequest("No values in 'instances' array")
    _check_rows({"instances": instances}, signature, limits)
    if not _is_object(instances[0]):
        if len(names) == 1:
            return {names[0]: instances}
        raise BadRequest(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            f"required: {', '.join(names)}"
        )
    known = set(names)
    expected = f"an object with {', '.join(names)}"
    for i, item in enumerate(instances):
        if len(details) > ENOUGH:
            raise invalid(details, more=True)
        if not _is_object(item):
            details.append(Detail(f"instances[{i}]", "not an object", expected=expected))
        elif item.keys() != known:
            details += [
                Detail(f"instances[{i}].{name}", "missing", expected=WORDING.expected(t))
                for name, t in zip(names, signature.inputs, strict=True)
                if name not in item
            ]
            details += [
                Detail(f"instances[{i}].{name[:100]}", "unexpected", expected=expected)
                for name in islice((name for name in item if name not in known), ENOUGH)
            ]
    return {} if details else {name: [item[name] for item in instances] for name in names}


def _named(inputs: Any, signature: SignatureDef, details: list[Detail]) -> dict[str, Any]:
    """`inputs` by name. Names that the signature lacks are ignored, as the real server does."""
    if _is_object(inputs):
        details += [
            Detail(t.name, "missing in 'inputs'", expected=WORDING.expected(t))
            for t in signature.inputs
            if t.name not in inputs
        ]
        return dict(inputs)
    if len(signature.inputs) == 1:
        return {signature.inputs[0].name: inputs}
    raise BadRequest(
        "inputs is a plain value/list, but expecting an object as multiple input tensors required: "
        + ", ".join(t.name for t in signature.inputs)
    )


def _check_rows(columns: dict[str, Any], signature: SignatureDef, limits: Limits) -> None:
    """Raise InvalidInput if the lists have more rows than one request may have."""
    if signature.batchable:
        lists = {name: len(value) for name, value in columns.items() if isinstance(value, list)}
        excess = [d for name, rows in lists.items() for d in limits.excess(name, rows)]
        if excess:
            raise invalid(excess)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_encoded(value)


def _flattened(value: Any, spec: TensorSpec) -> TensorSpec | None:
    """Return a column as its values alone, `[1.0, 2.0]` for `[[1.0], [2.0]]`, where it came like
    that: the real server leaves the shape to the graph, and its documentation sends a column of
    numbers this way."""
    if spec.shape is None or len(spec.shape) != 2 or spec.shape[1] != 1:
        return None
    if not isinstance(value, list) or (value and isinstance(value[0], list)):
        return None
    return replace(spec, shape=spec.shape[:1])


def _array(value: Any, spec: TensorSpec) -> Array | Detail:
    leaf = value
    while isinstance(leaf, list) and leaf:
        leaf = leaf[0]
    urls = spec.encoded is not None and spec.dtype != "string"
    url = urls and is_file_url(leaf)
    encoded = url or is_encoded(leaf) or (spec.texts and isinstance(leaf, str))
    if encoded or spec.dtype == "string":
        try:
            value = decoded(value, urls=urls)
        except ValueError:
            what = "data URL" if url else "'b64'"
            return Detail(spec.name, f"a {what} is not base64")
    if encoded and spec.dtype != "string":
        # Files or texts, for a model that takes them; `Model.infer` knows.
        spec = replace(spec, dtype="string", shape=None)
    return from_nested(value, spec, finite=False, wording=WORDING)
