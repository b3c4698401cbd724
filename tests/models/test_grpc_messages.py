"""The messages of the gRPC services, against those of TensorFlow, TensorFlow Serving and Triton."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pool
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (  # noqa: F401 - register the real messages
    model_service_pb2,
    predict_pb2,
    prediction_service_pb2,
)
from tritonclient.grpc import service_pb2  # noqa: F401

from app.api.grpc.messages import COMPILED, POOL, message_class, method_types, parsed
from app.errors import BadRequest
from tests.support import ROOT

PROTOS = sorted((ROOT / "app" / "api" / "grpc" / "protos").glob("*.proto"))
REAL = descriptor_pool.Default()
# Those that no package here registers.
NOT_AT_HAND = {"health.proto"}
FILES = [path.name for path in PROTOS if path.name not in NOT_AT_HAND]


def test_the_compiled_messages_are_those_of_the_definitions(tmp_path: Path) -> None:
    out = tmp_path / "protos.binpb"
    arguments = [f"-I{PROTOS[0].parent}", "--include_imports", f"--descriptor_set_out={out}"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments, *PROTOS], check=True)
    assert out.read_bytes() == COMPILED.read_bytes(), "make protos"


def nature(field: Any) -> tuple[Any, ...]:
    """What of a field is on the wire, or in its use."""
    of = field.message_type or field.enum_type
    return (
        field.name,
        field.type,
        field.is_repeated,
        # The names of entries of maps are the field's.
        of and of.full_name,
        field.containing_oneof and field.containing_oneof.name,
    )


def compare(own: Any, real: Any) -> None:
    for field in own.fields:
        assert nature(field) == nature(real.fields_by_number[field.number]), own.full_name
    for nested in own.nested_types:
        compare(nested, real.nested_types_by_name[nested.name])
    for enum in own.enum_types:
        compare_enum(enum, real.enum_types_by_name[enum.name])


def compare_enum(own: Any, real: Any) -> None:
    for value in own.values:
        assert real.values_by_number[value.number].name == value.name


@pytest.mark.parametrize("name", FILES)
def test_definitions_are_part_of_the_real_ones(name: str) -> None:
    file = POOL.FindFileByName(name)
    for message in file.message_types_by_name.values():
        compare(message, REAL.FindMessageTypeByName(message.full_name))
    for enum in file.enum_types_by_name.values():
        compare_enum(enum, REAL.FindEnumTypeByName(enum.full_name))
    for service in file.services_by_name.values():
        real = REAL.FindServiceByName(service.full_name)
        for method in service.methods:
            other = real.methods_by_name[method.name]
            assert method.input_type.full_name == other.input_type.full_name
            assert method.output_type.full_name == other.output_type.full_name
            assert method.client_streaming == other.client_streaming
            assert method.server_streaming == other.server_streaming


@pytest.mark.parametrize("first", ["app.api.grpc.messages", "tensorflow"])
def test_both_live_in_one_process(first: str) -> None:
    """Two definitions of one name in a pool end in an error, or in a crash."""
    code = (
        f"import {first}\n"
        "import tensorflow as tf, app.api.grpc.messages as messages\n"
        "from tensorflow.core.framework.tensor_pb2 import TensorProto\n"
        "own = messages.message_class('tensorflow.TensorProto')\n"
        "sent = tf.make_tensor_proto([[1.5, 2.5]])\n"
        "assert own is not TensorProto\n"
        "assert own.FromString(sent.SerializeToString()).tensor_content == sent.tensor_content\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_messages_go_both_ways() -> None:
    own_class = message_class("tensorflow.TensorProto")
    sent = tf.make_tensor_proto(np.arange(6, dtype=np.int64).reshape(2, 3))
    own = parsed(own_class, sent.SerializeToString())
    assert own.SerializeToString(deterministic=True) == sent.SerializeToString(deterministic=True)
    back = own_class(dtype="DT_FLOAT", float_val=[1.5, -2])
    back.tensor_shape.dim.add(size=2)
    real = tensor_pb2.TensorProto.FromString(back.SerializeToString())
    assert tf.make_ndarray(real).tolist() == [1.5, -2]


def test_what_is_no_message_is_refused_by_name() -> None:
    with pytest.raises(BadRequest) as caught:
        parsed(message_class("tensorflow.serving.PredictRequest"), b"\xff\xff")
    assert caught.value.message == (
        "these 2 bytes are not a message tensorflow.serving.PredictRequest"
    )


def test_the_methods_of_a_service() -> None:
    check, answer, stream = method_types("grpc.health.v1.Health")["Watch"]
    assert (check.DESCRIPTOR.full_name, stream) == ("grpc.health.v1.HealthCheckRequest", True)
    assert answer(status="SERVING").status == 1
