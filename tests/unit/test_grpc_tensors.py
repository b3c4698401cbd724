"""Tensors in the messages of gRPC: typed values, contents, and what is wrong with them."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from app.api.grpc.infer_request import read_infer_request
from app.api.grpc.messages import message_class
from app.api.grpc.tensor_proto import TensorProto, read_tensor, tensor_message
from app.api.grpc.values import encoded_field, read_varint
from app.api.v1.metadata import dtype_name
from app.errors import Detail, InvalidInput
from app.serving.arrays import Array
from app.serving.limits import Limits
from app.serving.tensors import DTYPES, numpy_dtype

LIMITS = Limits(max_body_bytes=1_000_000, max_rows=100)
NUMBERS = sorted(DTYPES - {"string"})
InferRequest = message_class("inference.ModelInferRequest")


def proto(dtype: str, *sizes: int, **values: Any) -> Any:
    tensor = TensorProto(dtype=dtype_name(dtype), **values)
    for size in sizes:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


def read(tensor: Any, *, batchable: bool = False) -> Array | Detail:
    return read_tensor("x", tensor, LIMITS, batchable=batchable)


def array_of(tensor: Any) -> Array:
    found = read(tensor)
    assert not isinstance(found, Detail), found
    return found


def problem(tensor: Any, *, batchable: bool = False) -> str:
    found = read(tensor, batchable=batchable)
    assert isinstance(found, Detail), found
    return f"{found.problem}; {found.expected}"


def samples(dtype: str) -> st.SearchStrategy[Array]:
    """Arrays of any bits, NaN and Infinity among them."""
    wanted = numpy_dtype(dtype)
    bits = np.dtype(f"u{wanted.itemsize}")
    shapes = array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    if dtype == "bool":
        return arrays(np.bool_, shapes)
    return arrays(bits, shapes).map(lambda array: array.view(wanted))


@pytest.mark.parametrize("dtype", NUMBERS)
@given(data=st.data())
def test_numbers_come_back_bit_by_bit(dtype: str, data: st.DataObject) -> None:
    array = data.draw(samples(dtype))
    sent = TensorProto.FromString(tensor_message(array))
    assert sent.tensor_content == b""
    assert sent.HasField("tensor_shape")
    for tensor in (sent, proto(dtype, *array.shape, tensor_content=array.tobytes())):
        if not array.size:
            tensor.tensor_content = b""
        found = array_of(tensor)
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        if dtype == "float32":  # which passes through other numbers in between
            assert np.array_equal(found, array, equal_nan=True)
        else:
            assert found.tobytes() == array.tobytes()


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_texts_come_back_as_values_and_as_content(texts: list[bytes]) -> None:
    array = np.array([*texts, b""], object)[:-1]
    found = array_of(TensorProto.FromString(tensor_message(array)))
    assert found.tolist() == texts
    if texts:
        kind = message_class("tensorflow.BytesList")
        fields = [encoded_field(kind, "value", [text]) for text in texts]
        # A field of fewer than 16 is its tag in one byte, the length, the text.
        content = b"".join(f[1 : len(f) - len(t)] for f, t in zip(fields, texts, strict=True))
        content += b"".join(texts)
        assert array_of(proto("string", len(texts), tensor_content=content)).tolist() == texts


@pytest.mark.parametrize("content", [b"\x05abc", b"\xff", b"\x01", b"", b"\x01ab", b"\xff" * 11])
def test_content_that_is_no_text(content: bytes) -> None:
    tensor = proto("string", 1, tensor_content=content)
    assert "1 texts" in problem(tensor) if content else "0 values in string_val" in problem(tensor)


def test_the_last_value_stands_for_all_that_follow() -> None:
    assert array_of(proto("float32", 2, 2, float_val=[1, 2])).tolist() == [[1, 2], [2, 2]]
    assert array_of(proto("int8", 3, int_val=[-7])).tolist() == [-7, -7, -7]
    assert array_of(proto("string", 3, string_val=[b"a"])).tolist() == [b"a"] * 3
    half = np.array([1.5], ml_dtypes.bfloat16)
    assert array_of(proto("bfloat16", 2, half_val=half.view(np.uint16))).tolist() == [1.5, 1.5]


def test_values_for_nothing_and_too_many() -> None:
    assert array_of(proto("float32", 0, 7)).shape == (0, 7)
    assert array_of(proto("float32", float_val=[3])).shape == ()
    assert "3 values in float_val; 2, or less" in problem(proto("float32", 2, float_val=[1, 2, 3]))
    # In the field of another type, which TensorFlow would take for none.
    assert "0 values in float_val" in problem(proto("float32", 2, double_val=[1, 2]))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
def test_whole_numbers_that_do_not_fit(dtype: str) -> None:
    info = np.iinfo(dtype)
    assert array_of(proto(dtype, 2, int_val=[info.min, info.max])).tolist() == [info.min, info.max]
    for value in (info.min - 1, info.max + 1):
        assert f"values that fit {dtype_name(dtype)}" in problem(proto(dtype, 1, int_val=[value]))
    assert "out of range" in problem(proto("float16", 1, half_val=[65536]))


def test_types_and_shapes_that_are_none() -> None:
    assert "of type DT_COMPLEX64; one of DT_BFLOAT16, DT_BOOL" in problem(TensorProto(dtype=8))
    assert "of type DT_INVALID" in problem(TensorProto())
    assert "of type 99" in problem(TensorProto(dtype=99))
    assert "sizes from 0" in problem(proto("float32", -1))
    unknown = proto("float32")
    unknown.tensor_shape.unknown_rank = True
    assert "no such shape" in problem(unknown)
    assert array_of(proto("float32", *[1] * 64, float_val=[1])).ndim == 64
    assert "at most 64 sizes" in problem(proto("float32", *[1] * 65, float_val=[1]))
    assert "no such shape" in problem(proto("float32", 2**62, 2**62, 0))


def test_the_limits_of_what_a_value_may_stand_for() -> None:
    assert array_of(proto("float32", 250_000, float_val=[1])).nbytes == 1_000_000
    assert "KERAPORT_MAX_BODY_MB" in problem(proto("float32", 250_001, float_val=[1]))
    assert "KERAPORT_MAX_BODY_MB" in problem(proto("float32", 2**40, 2**20, float_val=[1]))
    assert isinstance(read(proto("float32", 100, 0), batchable=True), np.ndarray)
    assert "KERAPORT_MAX_ROWS" in problem(proto("float32", 101, 0), batchable=True)


def test_contents_of_another_length() -> None:
    tensor = proto("float32", 2, tensor_content=bytes(7))
    assert problem(tensor) == "7 bytes of tensor_content; 8 for 2 of DT_FLOAT"
    assert array_of(proto("bool", 3, tensor_content=b"\x00\x01\x07")).tolist() == [
        False,
        True,
        True,
    ]


def test_many_values_are_converted_in_slices() -> None:
    array = np.arange(25_001, dtype=np.int64)
    assert np.array_equal(array_of(TensorProto.FromString(tensor_message(array))), array)
    texts = np.array([str(i).encode() for i in range(25_001)], object)
    assert np.array_equal(array_of(TensorProto.FromString(tensor_message(texts))), texts)


def test_numbers_of_the_encoding() -> None:
    assert read_varint(memoryview(b"\x96\x01z"), 0) == (150, 2)
    with pytest.raises(ValueError, match="no number"):
        read_varint(memoryview(b"\x96"), 0)


# --- the Open Inference Protocol ------------------------------------------------------------------


def request(datatype: str, shape: list[int], **contents: Any) -> Any:
    made = InferRequest(model_name="m")
    made.inputs.add(name="x", datatype=datatype, shape=shape, contents=contents)
    return made


def inputs_of(message: Any, *, batchable: bool = False) -> Array:
    return read_infer_request(message, 1000, LIMITS, batchable=batchable).inputs["x"]


def refusal(message: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        read_infer_request(message, 1000, LIMITS, batchable=True)
    return "; ".join(f"{d.field}: {d.problem}, {d.expected}" for d in caught.value.details)


@pytest.mark.parametrize(
    ("datatype", "contents", "values"),
    [
        ("BOOL", "bool_contents", [True, False]),
        ("INT8", "int_contents", [-128, 127]),
        ("INT16", "int_contents", [-(2**15), 2**15 - 1]),
        ("INT32", "int_contents", [-(2**31), 2**31 - 1]),
        ("INT64", "int64_contents", [-(2**63), 2**63 - 1]),
        ("UINT8", "uint_contents", [0, 255]),
        ("UINT16", "uint_contents", [0, 2**16 - 1]),
        ("UINT32", "uint_contents", [0, 2**32 - 1]),
        ("UINT64", "uint64_contents", [0, 2**64 - 1]),
        ("FP32", "fp32_contents", [1.5, float("inf")]),
        ("FP64", "fp64_contents", [1e300, -0.1]),
        ("BYTES", "bytes_contents", [b"\xff\x00", b""]),
    ],
)
def test_typed_contents(datatype: str, contents: str, values: list[object]) -> None:
    assert inputs_of(request(datatype, [2], **{contents: values})).tolist() == values
    assert inputs_of(request(datatype, [2, 1], **{contents: values})).shape == (2, 1)


def test_contents_that_are_wrong() -> None:
    assert "out of range" in refusal(request("INT8", [1], int_contents=[128]))
    few = refusal(request("FP32", [3], fp32_contents=[1, 2]))
    assert "inputs[0].contents: 2 values in fp32_contents, 3 for shape [3]" in few
    assert "fp64_contents, fp32_contents for FP32" in refusal(
        request("FP32", [1], fp64_contents=[1])
    )
    for datatype in ("FP16", "BF16"):
        assert f"{datatype} has no typed values" in refusal(request(datatype, [1]))
    assert "no such datatype" in refusal(request("FP8", [1]))
    assert "no such shape" in refusal(request("FP32", [-1], fp32_contents=[1]))
    assert "KERAPORT_MAX_ROWS" in refusal(request("FP32", [101, 0]))
    both = request("FP32", [1], fp32_contents=[1])
    both.raw_input_contents.append(bytes(4))
    assert "both, either raw_input_contents or contents" in refusal(both)
    more = request("FP32", [1])
    more.raw_input_contents.extend([bytes(4), bytes(4)])
    assert "raw_input_contents: 2 of them, 1: one for each input, or none" in refusal(more)


def test_all_problems_of_a_request_come_at_once() -> None:
    made = InferRequest(model_name="m")
    made.inputs.add(name="x", datatype="nope", shape=[1])
    made.inputs.add(name="x", datatype="FP32", shape=[-1])
    made.outputs.add(name="y").parameters["classification"].string_param = "three"
    found = refusal(made)
    for part in ("datatype", "second time", "no such shape", "classification"):
        assert part in found
    shared = request("FP32", [1])
    shared.inputs[0].parameters["shared_memory_region"].string_param = "r"
    assert "shared memory is not supported" in refusal(shared)
