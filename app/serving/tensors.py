"""Checks and converts the tensors of a signature: arrays by name, and nested lists as JSON has
them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import ml_dtypes
import numpy as np

from app.errors import Detail, short
from app.serving.arrays import Array
from app.serving.limits import too_many_elements
from app.serving.signature import SignatureDef, TensorSpec
from app.thread_slices import checkpoint

DTYPES = frozenset(
    [
        "string",
        "bool",
        "bfloat16",
        "float16",
        "float32",
        "float64",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
    ]
)
# Values that become an array at once, and what NumPy's arrays can have.
_AT_ONCE = 10_000
_MAX_DIMENSIONS = 64
_JSON_TYPES = {"f": "number", "i": "integer", "u": "integer", "b": "boolean", "s": "string"}
_KINDS = {
    "f": "numbers",
    "i": "whole numbers",
    "u": "whole numbers",
    "b": "true or false",
    "s": "texts",
}
# The types of JSON values that a dtype is made of. True is no 1.
_TYPES: dict[str, set[type]] = {
    "f": {int, float},
    "i": {int},
    "u": {int},
    "b": {bool},
    "s": {str, bytes},
}


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return the dtype of arrays for a TensorFlow dtype; texts are objects (bytes). Raises
    TypeError."""
    if name == "string":
        return np.dtype(object)
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def dtype_kind(name: str) -> str:
    """Return the kind of a TensorFlow dtype: `f` for fractions, `i` and `u` for whole numbers with
    and without a sign, `b` for true and false, `s` for texts."""
    if name == "string":
        return "s"
    # NumPy itself does not know what bfloat16 is.
    return "f" if name == "bfloat16" else np.dtype(name).kind


@dataclass(frozen=True, slots=True)
class Wording:
    """The words of a protocol for what it carries.

    dtypes: its own names of them. encoded: the form in which it takes encoded files. unreadable:
    what is expected of a file besides its format.
    """

    dtypes: Mapping[str, str] = field(default_factory=dict)
    encoded: str = ""
    unreadable: str = ""

    def dtype(self, name: str) -> str:
        """Return the name of a TensorFlow dtype."""
        return self.dtypes.get(name, name)

    def expected(self, spec: TensorSpec) -> str:
        """Describe what an input takes, in words."""
        shape = "any shape" if spec.shape is None else str([*spec.shape]).replace("None", "any")
        text = f"{_KINDS[dtype_kind(spec.dtype)]} ({self.dtype(spec.dtype)}) of shape {shape}"
        if spec.texts and spec.dtype != "string":
            return f"{text}, or texts"
        if not spec.encoded or not self.encoded:
            return text
        return f"{text}, or encoded {spec.encoded}: {self.encoded}"


PLAIN = Wording()


def tensor_problems(
    inputs: Mapping[str, Array],
    signature: SignatureDef,
    wording: Wording = PLAIN,
    encoded: Collection[str] = (),
    texts: Collection[str] = (),
) -> list[Detail]:
    """List the problems of `inputs` for `signature`. encoded: those that are encoded files. texts:
    those that are texts of kind `text`. Of both there may be any number, whatever the shape."""
    specs = {t.name: t for t in signature.inputs}
    names = ", ".join(specs)
    details = [
        Detail(t.name, "missing", expected=wording.expected(t))
        for t in signature.inputs
        if t.name not in inputs
    ]
    details += [
        Detail(short(n), "unexpected", expected=f"one of {names}") for n in inputs if n not in specs
    ]
    pictures = [name for name in encoded if specs[name].encoded == "pictures"]
    for name, array in inputs.items():
        if name not in specs or name in encoded or name in texts:
            continue
        if pictures and specs[name].encoded == "pictures":
            expected = f"encoded pictures, as in {', '.join(pictures)}: {wording.encoded}"
            details.append(Detail(name, "numbers beside encoded pictures", expected=expected))
        elif problem := _problem(array, specs[name], wording):
            details.append(problem)
    if (signature.batchable or encoded or texts) and not details:
        rows = {name: len(array) for name, array in inputs.items()}
        if len(set(rows.values())) > 1:
            details.append(
                Detail("inputs", "different numbers of rows", rows, "as many in every input")
            )
        elif not any(rows.values()):
            details.append(Detail("inputs", "no rows", expected="at least one row"))
    return details


def _problem(array: Array, spec: TensorSpec, wording: Wording) -> Detail | None:
    expected = wording.expected(spec)
    if array.dtype != numpy_dtype(spec.dtype):
        sent = "string" if array.dtype == object else array.dtype.name
        return Detail(spec.name, f"wrong dtype: sent {wording.dtype(sent)}", expected=expected)
    if spec.shape is not None and not fits(array.shape, spec.shape):
        return Detail(
            spec.name, f"wrong shape: sent {list(array.shape)}", list(array.shape), expected
        )
    return too_long(array.shape, spec)


def too_long(shape: tuple[int, ...], spec: TensorSpec) -> Detail | None:
    """Return the problem of a shape that exceeds the bounds of an input."""
    bounds = spec.bounds
    if bounds is None:
        return None
    if spec.shape is None:
        elements = math.prod(shape)
        if elements <= bounds.elements:
            return None
        expected = f"at most {bounds.elements:,} in an input of any shape"
        return Detail(spec.name, f"{elements:,} elements", elements, expected)
    longest = max((shape[d] for d in spec.open_dimensions if d < len(shape)), default=0)
    if longest <= bounds.length:
        return None
    expected = f"at most {bounds.length:,} (runtime.max_length of the model's card)"
    return Detail(spec.name, f"{longest:,} long", longest, expected)


def unknown_outputs(wanted: Sequence[str], signature: SignatureDef) -> list[Detail]:
    """List problems of wanted outputs that the signature does not have."""
    known = [t.name for t in signature.outputs]
    expected = f"one of {', '.join(known)}"
    return [
        Detail(short(name), "no such output", expected=expected)
        for name in wanted
        if name not in known
    ]


def encoded_files(
    inputs: Mapping[str, Array], signature: SignatureDef
) -> dict[str, Sequence[bytes]]:
    """Return the encoded files among `inputs`, by name: texts for inputs that take some."""
    found = {}
    for spec in signature.inputs:
        array = inputs.get(spec.name)
        if array is None or not spec.encoded or array.dtype != object:
            continue
        if array.size and (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)):
            # An array, for there may be many: they are not copied before they are counted.
            found[spec.name] = cast("Sequence[bytes]", array.reshape(-1))
    return found


def text_values(inputs: Mapping[str, Array], signature: SignatureDef) -> dict[str, Sequence[bytes]]:
    """Return the texts among `inputs`, by name: for inputs that take texts, or the ids of their
    tokens."""
    found = {}
    for spec in signature.inputs:
        array = inputs.get(spec.name)
        if array is None or not spec.texts or array.dtype != object or not array.size:
            continue
        shapes = [spec.shape] if spec.dtype == "string" else [(None,), (None, 1)]
        if any(shape is not None and fits(array.shape, shape) for shape in shapes):
            found[spec.name] = cast("Sequence[bytes]", array.reshape(-1))
    return found


def from_nested(
    value: Any, spec: TensorSpec, *, finite: bool = True, wording: Wording = PLAIN
) -> Array | Detail:
    """Nested lists, as JSON has them, as an array of the input's dtype and shape; or what is wrong
    with them. finite: whether NaN and Infinity are wrong. Texts may be bytes."""
    expected = wording.expected(spec)
    shape = sizes(value)
    if excess := _excess(shape, spec):
        return excess
    if _size(shape) <= _AT_ONCE:
        return _array(value, (), None, spec, finite, wording)
    if spec.shape is not None and not fits(shape, spec.shape):
        return _wrong_shape(shape, spec, expected)
    if len(shape) > _MAX_DIMENSIONS:
        return Detail(spec.name, f"more than {_MAX_DIMENSIONS} dimensions", expected=expected)
    whole = np.empty(shape, numpy_dtype(spec.dtype))
    for at, part, part_shape in _parts(value, shape):
        array = _array(part, at, part_shape, spec, finite, wording)
        if isinstance(array, Detail):
            return array
        whole[at[:-1]][at[-1] : at[-1] + len(part)] = array
        checkpoint()
    return whole


def sizes(value: Any) -> tuple[int, ...]:
    """Return the shape of nested lists, by the first list of each level."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return tuple(shape)


def _size(shape: Sequence[int]) -> int:
    """Return the number of values; lists without any count as well."""
    return math.prod(max(size, 1) for size in shape)


def _parts(
    value: Any, shape: tuple[int, ...], at: tuple[int, ...] = ()
) -> Iterator[tuple[tuple[int, ...], list[Any], tuple[int, ...] | None]]:
    """Nested lists in parts of at most _AT_ONCE values: the index of the first item, some items of
    one list, and the shape that they should have; None if the list itself is wrong."""
    if not isinstance(value, list) or len(value) != shape[0]:
        yield (*at, 0), [value], None
        return
    inside = _size(shape[1:])
    if inside > _AT_ONCE:
        for i, item in enumerate(value):
            yield from _parts(item, shape[1:], (*at, i))
        return
    step = _AT_ONCE // inside
    for i in range(0, len(value), step):
        part = value[i : i + step]
        yield (*at, i), part, (len(part), *shape[1:])


def _array(
    value: Any,
    at: tuple[int, ...],
    shape: tuple[int, ...] | None,
    spec: TensorSpec,
    finite: bool,
    wording: Wording,
) -> Array | Detail:
    """Return all of the nested lists, or the part of `shape` that begins at the index `at`."""
    expected = wording.expected(spec)
    if at and shape is None:
        return Detail(spec.name, "rows of different lengths", expected=expected)
    # As objects first: NumPy would turn texts into numbers, and numbers into texts of the length
    # of the longest.
    array = np.array(value, object)
    flat = array.reshape(-1)
    types = set(map(type, flat))
    allowed = _TYPES[dtype_kind(spec.dtype)]
    if list in types or (at and array.shape != shape):
        return Detail(spec.name, "rows of different lengths", expected=expected)
    if not types <= allowed:
        index, wrong = next((i, item) for i, item in enumerate(flat) if type(item) not in allowed)
        found = [int(i) for i in np.unravel_index(index, array.shape)]
        if at:
            found = [*at[:-1], at[-1] + found[0], *found[1:]]
        where = "".join(f"[{i}]" for i in found)
        return Detail(f"{spec.name}{where}", "wrong type", short(wrong), expected)
    if not at and spec.shape is not None and not fits(array.shape, spec.shape):
        return _wrong_shape(array.shape, spec, expected)
    if spec.dtype == "string":
        texts = [text.encode() if isinstance(text, str) else text for text in flat]
        return np.array(texts, object).reshape(array.shape)
    try:
        # Infinity itself does not overflow.
        with np.errstate(over="raise"):
            cast = array.astype(numpy_dtype(spec.dtype))
    except (OverflowError, FloatingPointError):
        cast = None
    if cast is None or (finite and dtype_kind(spec.dtype) == "f" and not np.isfinite(cast).all()):
        return Detail(
            spec.name, "out of range", expected=f"values that fit {wording.dtype(spec.dtype)}"
        )
    return cast


def _excess(shape: tuple[int, ...], spec: TensorSpec) -> Detail | None:
    """Describe what is wrong with lists that are longer, or more, than the bounds allow, before any
    array is made of them."""
    if spec.bounds is None:
        return None
    if spec.shape is not None and (long := too_long(shape, spec)):
        return long
    excess = too_many_elements(spec.name, math.prod(shape), spec.bounds.elements)
    return excess[0] if excess else None


def _wrong_shape(shape: tuple[int, ...], spec: TensorSpec, expected: str) -> Detail:
    sent = f"a list of shape {list(shape)}" if shape else "a single value, no list"
    return Detail(spec.name, f"wrong shape: sent {sent}", list(shape), expected)


def fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    """Tell whether an array of `shape` may be where `wanted` is; None in it is any size."""
    return len(shape) == len(wanted) and all(
        w is None or s == w for s, w in zip(shape, wanted, strict=True)
    )


def nested_schema(
    dtype: str, shape: Sequence[int | None] | None, max_length: int | None = None
) -> dict[str, Any]:
    """JSON Schema of a tensor as nested lists, or as a plain value for the shape `()`. dtype,
    shape: as in `TensorSpec`. max_length: of its open dimensions."""
    if shape is None:
        return {"type": "array"}
    open_size = {} if max_length is None else {"maxItems": max_length}
    schema: dict[str, Any] = {"type": _JSON_TYPES[dtype_kind(dtype)]}
    for size in reversed(shape):
        limits = {"minItems": size, "maxItems": size} if size is not None else open_size
        schema = {"type": "array", "items": schema, **limits}
    return schema
