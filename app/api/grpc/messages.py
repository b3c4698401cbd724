"""The messages of the gRPC services, from `protos/` as `make protos` compiles them.

They have a pool of descriptors of their own: TensorFlow, which is loaded into the same process,
registers messages of the same names in the default one, and importing it takes seconds. See
docs/decisions/0045-grpc.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from app.errors import BadRequest

COMPILED = Path(__file__).with_name("protos.binpb")
POOL = DescriptorPool()
for _file in FileDescriptorSet.FromString(COMPILED.read_bytes()).file:
    POOL.Add(_file)


def message_class(name: str) -> Any:
    """Return the class of a message by its full name, such as `tensorflow.TensorProto`."""
    return GetMessageClass(POOL.FindMessageTypeByName(name))


def parsed(kind: Any, data: bytes) -> Any:
    """Return the message of this class that `data` holds. Raises BadRequest."""
    try:
        return kind.FromString(data)
    except DecodeError:
        raise BadRequest(
            f"these {len(data):,} bytes are not a message {kind.DESCRIPTOR.full_name}"
        ) from None


def method_types(service: str) -> dict[str, tuple[Any, Any, bool]]:
    """Return the request and response of each method of a service, and whether the response is a
    stream. service: by its full name, such as `grpc.health.v1.Health`."""
    return {
        method.name: (
            GetMessageClass(method.input_type),
            GetMessageClass(method.output_type),
            method.server_streaming,
        )
        for method in POOL.FindServiceByName(service).methods
    }
