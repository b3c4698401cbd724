"""gRPC on a server with API keys."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from app.api.grpc.messages import message_class
from tests.keys import Keyed
from tests.rpc import (
    CHECK,
    INFER,
    PREDICT,
    STREAM,
    WATCH,
    Asked,
    call,
    code_and_details,
    refusal,
    state,
)
from tests.support import CAR

CAR_ROW = np.array([list(CAR.values())], np.float32)


@pytest.fixture(scope="module")
def locked(keyed: Keyed) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(keyed.server.grpc) as channel:
        yield channel


def bearer(keyed: Keyed, name: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {keyed.keys[name]}")]


def car_request(model: str = "mpg") -> bytes:
    request = message_class("inference.ModelInferRequest")(model_name=model)
    request.inputs.add(name="car", datatype="FP32", shape=[1, 7])
    request.raw_input_contents.append(CAR_ROW.tobytes())
    encoded: bytes = request.SerializeToString()
    return encoded


def test_a_key_is_needed(keyed: Keyed, locked: grpc.Channel) -> None:
    for path in (INFER, PREDICT, "/inference.GRPCInferenceService/ServerReady", "/no.Such/Method"):
        for metadata in ([], [("authorization", "Bearer kp_wrong")], [("x-api-key", "no")]):
            error = refusal(locked, path, metadata=metadata)
            assert error.code() is grpc.StatusCode.UNAUTHENTICATED, path
    assert "Authorization: Bearer KEY" in refusal(locked, INFER).details()
    for metadata in (bearer(keyed, "operator"), [("x-api-key", keyed.keys["operator"])]):
        assert call(locked, INFER, car_request(), metadata=metadata)
    start = len(keyed.server.log())
    call(locked, INFER, car_request(), metadata=bearer(keyed, "laboratory"))
    (line,) = keyed.server.requests(start, path=INFER)
    assert line["key"] == "laboratory"


def test_a_key_for_other_models(keyed: Keyed, locked: grpc.Channel) -> None:
    metadata = bearer(keyed, "laboratory")
    error = refusal(locked, INFER, car_request("shades"), metadata=metadata)
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "the models it is for: gone, mpg" in error.details()
    index = call(locked, "/inference.GRPCInferenceService/RepositoryIndex", metadata=metadata)
    found = message_class("inference.RepositoryIndexResponse").FromString(index)
    assert [model.name for model in found.models] == ["mpg"]


def test_health_needs_a_key_for_models_only(keyed: Keyed, locked: grpc.Channel) -> None:
    assert state(locked) == "SERVING"
    for path in (CHECK, WATCH):
        with pytest.raises(grpc.RpcError) as caught:
            list(locked.unary_stream(path)(Asked(service="mpg").SerializeToString(), timeout=60))
        assert code_and_details(caught)[0] == "UNAUTHENTICATED"
    assert state(locked, "mpg", metadata=bearer(keyed, "laboratory")) == "SERVING"
    error = refusal(
        locked,
        CHECK,
        Asked(service="shades").SerializeToString(),
        metadata=bearer(keyed, "laboratory"),
    )
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED


def test_reflection_needs_a_key(keyed: Keyed, locked: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(ProtoReflectionDescriptorDatabase(locked).get_services())
    assert code_and_details(caught)[0] == "UNAUTHENTICATED"


def test_a_stream_needs_a_key_for_each_request(keyed: Keyed, locked: grpc.Channel) -> None:
    stream = locked.stream_stream(STREAM)
    kind = message_class("inference.ModelStreamInferResponse")
    answers = [kind.FromString(each) for each in stream(iter([car_request()] * 2), timeout=60)]
    assert ["API key" in each.error_message for each in answers] == [True, True]
    keyed_stream = stream(iter([car_request()]), timeout=60, metadata=bearer(keyed, "operator"))
    (answer,) = (kind.FromString(each) for each in keyed_stream)
    assert answer.infer_response.model_name == "mpg"


def test_the_rate_of_a_key_is_that_of_all_protocols(keyed: Keyed, locked: grpc.Channel) -> None:
    keyed.keys.add("rated", (), "4/hour")
    try:
        metadata = bearer(keyed, "rated")
        for _ in range(2):
            assert keyed.ask("/api/models", "rated").status_code == 200
            call(locked, INFER, car_request(), metadata=metadata)
        error = refusal(locked, INFER, car_request(), metadata=metadata)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "the key 'rated' allows 4 requests per hour" in error.details()
        assert int(dict(error.trailing_metadata())["grpc-retry-pushback-ms"]) >= 1000
        assert keyed.ask("/api/models", "rated").status_code == 429
    finally:
        keyed.keys.remove("rated")


def test_the_address_of_the_client_behind_a_trusted_proxy(
    keyed: Keyed, locked: grpc.Channel
) -> None:
    start = len(keyed.server.log())
    metadata = [*bearer(keyed, "operator"), ("x-forwarded-for", "192.0.2.7, 198.51.100.4")]
    call(locked, INFER, car_request(), metadata=metadata)
    (line,) = keyed.server.requests(start, path=INFER)
    assert line["client"] == "198.51.100.4"
