"""gRPC through nginx, on port 443, with the clients of TensorFlow Serving and Triton."""

from __future__ import annotations

import queue
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import h2.connection
import h2.events
import numpy as np
import pytest
import tritonclient.grpc as triton
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from tests.rpc import (
    PREDICT,
    WATCH,
    Asked,
    Serving,
    code_and_details,
    fed,
    name_of,
    predict_request,
    refusal,
    state,
)
from tests.stack.compose import SELF_SIGNED, Stack, eventually
from tests.stack.grpc_load import CAR_ROW, INFER, connect, credentials
from tests.support import V1_CAR, picture


@pytest.fixture(scope="module")
def channel(stack: Stack) -> Iterator[grpc.Channel]:
    with connect(stack.https_port, credentials(stack)) as channel:
        yield channel


@pytest.fixture(scope="module")
def client(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    own: Path = tmp_path_factory.mktemp("grpc") / "own.pem"
    own.write_text(stack.exec("nginx", "cat", SELF_SIGNED))
    address = f"localhost:{stack.https_port}"
    with triton.InferenceServerClient(address, ssl=True, root_certificates=str(own)) as client:
        yield client


def test_tensorflow_servings_stubs(stack: Stack, channel: grpc.Channel) -> None:
    tfs = Serving(channel)
    with stack.client() as http:
        wanted = http.post("/v1/models/mpg:predict", json=V1_CAR).json()["predictions"]
    assert np.allclose(tfs.predict("mpg", car=CAR_ROW)["mpg"], wanted)
    assert tfs.metadata_inputs("mpg") == ["car"]
    assert tfs.status("mpg").model_version_status[0].state == 30  # AVAILABLE
    with pytest.raises(grpc.RpcError) as caught:
        tfs.predict("nobody", car=CAR_ROW)
    assert code_and_details(caught)[0] == "NOT_FOUND"
    # Compressed in both directions (the answer where that pays).
    packed = predict_request("mpg", car=np.repeat(CAR_ROW, 5000, 0))
    answer = tfs.prediction.Predict(packed, compression=grpc.Compression.Gzip)
    assert len(answer.outputs["mpg"].float_val) == 5000


def test_tritons_client(client: Any) -> None:
    assert client.is_server_ready()
    car = fed("car", CAR_ROW, "FP32")
    wanted = client.infer("mpg", [car]).as_numpy("mpg")
    found = client.infer("mpg", [car], compression_algorithm="gzip", client_timeout=60)
    assert (found.as_numpy("mpg") == wanted).all()
    answers: queue.Queue[Any] = queue.Queue()
    client.async_infer("mpg", [car], lambda result, error: answers.put(result or error))
    assert (answers.get(timeout=60).as_numpy("mpg") == wanted).all()
    name = client.get_model_metadata("cats-dogs").inputs[0].name
    files = np.array([picture(1), picture(2)], object)
    assert len(client.infer("cats-dogs", [fed(name, files, "BYTES")]).get_response().outputs) == 1


def test_a_deadline_ends_a_call(client: Any) -> None:
    files = np.array([picture(seed, (2000, 1500)) for seed in range(4)] * 20, object)
    name = client.get_model_metadata("cats-dogs").inputs[0].name
    with pytest.raises(triton.InferenceServerException) as caught:
        client.infer("cats-dogs", [fed(name, files, "BYTES")], client_timeout=0.1)
    assert code_and_details(caught)[0] == "DEADLINE_EXCEEDED"


def test_streams(channel: grpc.Channel, client: Any) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    try:
        for i in range(20):
            name = "car" if i != 7 else "train"
            client.async_stream_infer("mpg", [fed(name, CAR_ROW, "FP32")], request_id=str(i))
            # An answer comes while the stream is open.
            result, error = answers.get(timeout=60)
            if i == 7:
                assert "train: unexpected" in error.message()
            else:
                assert result.get_response().id == str(i)
    finally:
        client.stop_stream()
    watched = channel.unary_stream(WATCH)(Asked(service="mpg").SerializeToString(), timeout=60)
    assert name_of(next(watched)) == "SERVING"
    watched.cancel()
    assert state(channel) == "SERVING"


def test_reflection(channel: grpc.Channel) -> None:
    names = set(ProtoReflectionDescriptorDatabase(channel).get_services())
    assert {"tensorflow.serving.PredictionService", "inference.GRPCInferenceService"} <= names


def test_one_id_in_the_answer_and_both_logs(stack: Stack, channel: grpc.Channel) -> None:
    forged = [("x-request-id", "mine"), ("x-forwarded-for", "203.0.113.9")]
    forged += [("x-keraport-user", "root"), ("x-keraport-fallback", "other")]
    request = predict_request("mpg", car=CAR_ROW)
    _, call = Serving(channel).prediction.Predict.with_call(request, metadata=forged)
    wrong = refusal(channel, PREDICT, b"\xff\xff")
    for metadata, status in ((call.trailing_metadata(), "0"), (wrong.trailing_metadata(), "3")):
        (id,) = [value for key, value in metadata if key == "x-request-id"]
        (line,) = eventually(lambda id=id: [e for e in stack.access_log() if e["id"] == id])  # type: ignore[misc]
        (app_line,) = eventually(lambda id=id: stack.app_lines(id=id))  # type: ignore[misc]
        assert (line["path"], line["status"], line["grpc_status"]) == (PREDICT, 200, status)
        assert (app_line["protocol"], app_line["client"]) == ("grpc-tfs", line["client"])
        assert "user" not in app_line


def test_large_messages_pass_and_larger_ones_do_not(channel: grpc.Channel) -> None:
    rows = np.repeat(CAR_ROW, 500_000, 0)[:500_000]
    error = refusal(channel, PREDICT, predict_request("mpg", car=rows).SerializeToString())
    # Of the application: more rows than it takes.
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    for size in (16_500_000, 30_000_000):  # for the application, and for nginx
        error = refusal(channel, INFER, bytes(size))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("path", [b"/\xd5", b"ModelInfer?\xd5", b"Model%49nfer?a=b"])
def test_paths_of_other_bytes_stay_out(stack: Stack, channel: grpc.Channel, path: bytes) -> None:
    """One that is not UTF-8 ends the server of an application."""
    client = h2.connection.H2Connection()
    client.initiate_connection()
    fields = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost")]
    fields += [("te", "trailers"), ("content-type", "application/grpc")]
    whole = b"/inference.GRPCInferenceService/" + path
    client.send_headers(1, [(b":path", whole), *fields], end_stream=True)
    trusted, status = stack.trust(), None
    trusted.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("localhost", stack.https_port), timeout=60) as plain,
        trusted.wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        while status is None:
            tls.sendall(client.data_to_send())
            for event in client.receive_data(tls.recv(65536)):
                if isinstance(event, h2.events.ResponseReceived):
                    status = dict(event.headers)[b":status"]
    assert status == b"404"
    assert state(channel) == "SERVING"
    assert not any("starts again" in stack.logs(app) for app in ("app-1", "app-2"))


def test_no_page_is_answered(stack: Stack) -> None:
    """A browser that opens the address of a method."""
    with stack.client() as client:
        answer = client.get(PREDICT)
        assert answer.status_code in (200, 415)
        assert client.post("/inference.GRPCInferenceService/No", json={}).status_code in (200, 415)
