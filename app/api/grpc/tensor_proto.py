"""Tensors as TensorFlow's `TensorProto` carries them (tensorflow/core/framework/tensor.proto), read
as `Tensor::FromProto` does: `tensor_content`, or typed values of which the last stands for all that
follow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from app.api.grpc.messages import message_class
from app.api.grpc.values import read_texts, read_values, read_varint, written_values
from app.api.v1.metadata import dtype_name
from app.errors import Detail
from app.serving.arrays import Array
from app.serving.limits import Limits, megabytes
from app.serving.tensors import DTYPES, Wording, numpy_dtype
from app.thread_slices import checkpoint

TensorProto = message_class("tensorflow.TensorProto")
_DATA_TYPE = TensorProto.DESCRIPTOR.fields_by_name["dtype"].enum_type
# TensorFlow's names of dtypes, by their numbers in a message.
_DTYPES = {_DATA_TYPE.values_by_name[dtype_name(dtype)].number: dtype for dtype in DTYPES}
_NUMBERS = {dtype: number for number, dtype in _DTYPES.items()}
# The fields of typed values. Those of half precision have the bits of a number as a whole one.
_FIELDS = {
    "bool": "bool_val",
    "bfloat16": "half_val",
    "float16": "half_val",
    "float32": "float_val",
    "float64": "double_val",
    "int64": "int64_val",
    "string": "string_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
}
WORDING = Wording({dtype: dtype_name(dtype) for dtype in DTYPES}, encoded="DT_STRING of shape [n]")
# What NumPy's arrays can have.
MAX_DIMENSIONS = 64
_AT_ONCE = 10_000


def read_tensor(name: str, tensor: Any, limits: Limits, *, batchable: bool) -> Array | Detail:
    """Return a `TensorProto` as an array; texts are objects (bytes). Or what is wrong with it.

    name: of the input. batchable: whether the first dimension counts rows.
    """
    dtype = _DTYPES.get(tensor.dtype)
    if dtype is None:
        expected = ", ".join(sorted(map(dtype_name, DTYPES)))
        return Detail(name, f"of type {_type_name(tensor.dtype)}", expected=f"one of {expected}")
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_shape.unknown_rank or len(shape) > MAX_DIMENSIONS or min(shape, default=0) < 0:
        expected = f"at most {MAX_DIMENSIONS} sizes from 0"
        return Detail(name, "no such shape", shape or "unknown rank", expected)
    if shape and batchable and (excess := limits.excess(name, shape[0])):
        return excess[0]
    count = math.prod(shape)
    # One value may stand for any number of them.
    size = count * numpy_dtype(dtype).itemsize
    if size > limits.max_body_bytes:
        expected = f"at most {megabytes(limits.max_body_bytes)} (KERAPORT_MAX_BODY_MB)"
        return Detail(name, f"{megabytes(size)} of shape {shape}", size, expected)
    flat = _content(name, tensor, dtype, count) if tensor.tensor_content else None
    if flat is None:
        flat = _values(name, tensor, dtype, count)
    if isinstance(flat, Detail):
        return flat
    try:
        return flat.reshape(shape)
    except ValueError as error:  # the number of elements is right, but one of the sizes is 0
        return Detail(name, f"no such shape: {error}")


def tensor_message(array: Array) -> bytes:
    """Return an array as an encoded `TensorProto` with typed values, as TensorFlow Serving answers:
    clients read `float_val` and the like."""
    dtype = "string" if array.dtype == object else array.dtype.name
    head = TensorProto(dtype=_NUMBERS[dtype])
    head.tensor_shape.SetInParent()  # that of a single number as well
    for size in array.shape:
        head.tensor_shape.dim.add(size=size)
    flat = np.ascontiguousarray(array).reshape(-1)
    field = _FIELDS.get(dtype, "int_val")
    values = flat.view(np.uint16) if field == "half_val" else flat
    return b"".join([head.SerializeToString(), *written_values(TensorProto, field, values)])


def _type_name(number: int) -> str:
    known = _DATA_TYPE.values_by_number.get(number)
    return str(number) if known is None else known.name


def _content(name: str, tensor: Any, dtype: str, count: int) -> Array | Detail:
    content = memoryview(tensor.tensor_content)
    if dtype == "string":
        return _texts(name, content, count)
    item = numpy_dtype(dtype)
    if len(content) != count * item.itemsize:
        expected = f"{count * item.itemsize} for {count} of {dtype_name(dtype)}"
        problem = f"{len(content)} bytes of tensor_content"
        return Detail(name, problem, len(content), expected)
    if dtype == "bool":
        # A byte that is neither 0 nor 1 would be a bool that is neither.
        flags: Array = np.frombuffer(content, np.uint8) != 0
        return flags
    return np.frombuffer(content, item)


def _texts(name: str, content: memoryview, count: int) -> Array | Detail:
    """Return the texts of a content: the lengths of all, then all bytes
    (tensorflow/core/lib/strings/proto_serialization.h: EncodeStringList)."""
    wrong = Detail(name, "tensor_content is no list of texts", expected=f"{count} texts")
    lengths, at = [], 0
    try:
        for i in range(count):
            length, at = read_varint(content, at)
            lengths.append(length)
            if i % _AT_ONCE == 0:
                checkpoint()
    except ValueError:
        return wrong
    if at + sum(lengths) != len(content):
        return wrong
    texts = np.empty(count, object)
    for i, length in enumerate(lengths):
        texts[i] = bytes(content[at : at + length])
        at += length
        if i % _AT_ONCE == 0:
            checkpoint()
    return texts


def _values(name: str, tensor: Any, dtype: str, count: int) -> Array | Detail:
    field = _FIELDS.get(dtype, "int_val")
    sent = len(getattr(tensor, field))
    if sent > count or (count and not sent):
        expected = f"{count}, or less where the last one stands for all that follow"
        if count and not sent:
            expected += ", or tensor_content"
        return Detail(name, f"{sent} values in {field}", sent, expected)
    item = numpy_dtype(dtype)
    if dtype == "string":
        found = read_texts(tensor.string_val)
    else:
        bits = np.dtype(np.uint16) if field == "half_val" else item
        try:
            found = read_values(tensor, field, bits).view(item)
        except OverflowError:
            return Detail(name, "out of range", expected=f"values that fit {dtype_name(dtype)}")
    if sent == count:
        return found
    filled = np.empty(count, item)
    filled[:sent] = found
    filled[sent:] = found[-1]
    return filled
