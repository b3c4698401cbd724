"""What all gRPC services share: health, reflection, keys, limits, deadlines, the log, the drain."""

from __future__ import annotations

import gzip
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import h2.connection
import h2.events
import numpy as np
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from app.server.grpc_server import MOST_STREAMS
from tests.fuzz import calls
from tests.fuzz.calls import infer_request
from tests.http.test_cli import run
from tests.metrics import scrape
from tests.rpc import (
    CHECK,
    INFER,
    PREDICT,
    STREAM,
    WATCH,
    Asked,
    Serving,
    call,
    code_and_details,
    name_of,
    predict_request,
    refusal,
    serving_stubs,
    state,
    waiting_for,
)
from tests.support import ServerProcess, eventually, serving

X = np.array([[1]], np.float32)


@pytest.fixture(scope="module")
def channel(v2: ServerProcess) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(v2.grpc) as channel:
        yield channel


# --- health and reflection ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("", "SERVING"),
        ("tensorflow.serving.PredictionService", "SERVING"),
        ("inference.GRPCInferenceService", "SERVING"),
        ("half", "SERVING"),
        ("half/3", "SERVING"),
        ("broken", "NOT_SERVING"),
    ],
)
def test_health(channel: grpc.Channel, service: str, expected: str) -> None:
    assert state(channel, service) == expected


@pytest.mark.parametrize("service", ["nobody", "half/9", "/", "half/"])
def test_the_health_of_what_is_not_there(channel: grpc.Channel, service: str) -> None:
    if service == "half/":
        assert state(channel, service) == "SERVING"
        return
    error = refusal(channel, CHECK, Asked(service=service).SerializeToString())
    assert error.code() is grpc.StatusCode.NOT_FOUND


def test_reflection_tells_of_all_services(channel: grpc.Channel) -> None:
    """As grpcurl uses it."""
    database = ProtoReflectionDescriptorDatabase(channel)
    names = set(database.get_services())
    assert names == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
    }
    pool = DescriptorPool(database)
    service = pool.FindServiceByName("tensorflow.serving.PredictionService")
    inputs = service.methods_by_name["Predict"].input_type.fields_by_name["inputs"].message_type
    value = inputs.fields_by_name["value"].message_type
    assert value.full_name == "tensorflow.TensorProto"


def test_methods_that_are_not_there(v2: ServerProcess, channel: grpc.Channel) -> None:
    start = len(v2.log())
    for path in ("/no.Service/Method", "/inference.GRPCInferenceService/Nothing"):
        error = refusal(channel, path)
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
        assert path in error.details()
    assert [line["status"] for line in v2.requests(start, method="POST")] == [400, 400]


# --- the log and metrics --------------------------------------------------------------------------


def test_a_path_that_is_no_text_ends_nothing_for_long(
    v2: ServerProcess, channel: grpc.Channel
) -> None:
    """grpcio's server ends at it."""
    for _ in range(2):
        client = h2.connection.H2Connection()
        client.initiate_connection()
        fields = [(":method", "POST"), (":scheme", "http"), (":authority", "x")]
        fields += [("te", "trailers"), ("content-type", "application/grpc")]
        client.send_headers(1, [(b":path", b"/\xd5J["), *fields], end_stream=True)
        host, _, port = v2.grpc.partition(":")
        with socket.create_connection((host, int(port)), 60) as connection:
            connection.sendall(client.data_to_send())
            while connection.recv(65536):
                pass

        def serving() -> bool:
            with suppress(grpc.RpcError):
                return state(channel) == "SERVING"
            return False

        eventually(serving)


def test_a_line_and_a_count_for_each_request(v2: ServerProcess, channel: grpc.Channel) -> None:
    before, start = scrape(v2.url), len(v2.log())
    tfs = Serving(channel)
    request = predict_request("half", x=X)
    _, answered = tfs.prediction.Predict.with_call(
        request, metadata=[("x-request-id", "mine-1"), ("x-forwarded-for", "10.1.1.1")]
    )
    assert dict(answered.trailing_metadata())["x-request-id"] == "mine-1"
    with pytest.raises(grpc.RpcError) as caught:
        tfs.predict("half", x=X.astype(np.int32))
    assert dict(caught.value.trailing_metadata())["x-request-id"]
    lines = v2.requests(start, path=PREDICT)
    good, bad = lines
    assert good["id"] == "mine-1"
    assert good["client"] == "127.0.0.1"
    assert (good["protocol"], good["status"], good["model"]) == ("grpc-tfs", 200, "half")
    assert (good["rows"], good["bytes_in"]) == (1, request.ByteSize())
    assert {"ms", "decode_ms", "queue_ms", "infer_ms", "bytes_out"} <= good.keys()
    assert (bad["status"], bad["code"]) == (400, "invalid_input")
    after = scrape(v2.url)
    labels = {"model": "half", "protocol": "grpc-tfs"}
    for code in ("200", "400"):
        name = "keraport_requests_total"
        grown = after.sum(name, code=code, **labels) - before.sum(name, code=code, **labels)
        assert grown == 1
    assert after.sum("keraport_request_duration_seconds_count", **labels) > 0


def test_what_is_no_message(channel: grpc.Channel) -> None:
    error = refusal(channel, PREDICT, b"\xff\xff\xff")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == ("these 3 bytes are not a message tensorflow.serving.PredictRequest")


# --- the queue, deadlines and cancellation --------------------------------------------------------


# What keeps a busy machine from deciding how a test ends.
PATIENT = {"grpc_port": 0, "drain_delay_s": 5, "drain_timeout_s": 120, "request_timeout_s": 120}


@pytest.fixture
def slow(slow_models: Path, tmp_path: Path) -> Iterator[tuple[ServerProcess, Serving]]:
    """A server of the model `slow`, whose queue takes four."""
    with (
        serving(slow_models, tmp_path, **PATIENT) as server,
        serving_stubs(server.grpc) as tfs,
    ):
        yield server, tfs


def rounds(count: float) -> Any:
    return predict_request("slow", rounds=np.array([[count]], np.float32))


ENDLESS = 100_000.0


def test_deadline_and_cancellation_free_the_queue(slow: tuple[ServerProcess, Serving]) -> None:
    server, tfs = slow
    first = tfs.prediction.Predict.future(rounds(ENDLESS))
    server.await_waiting(1)
    # Behind it in the queue.
    start = len(server.log())
    with pytest.raises(grpc.RpcError) as caught:
        tfs.prediction.Predict(rounds(1.0), timeout=0.2)
    assert code_and_details(caught)[0] == "DEADLINE_EXCEEDED"
    server.await_waiting(1)
    cancelled = tfs.prediction.Predict.future(rounds(1.0))
    server.await_waiting(2)
    cancelled.cancel()
    server.await_waiting(1)
    lines = eventually(lambda: server.requests(start, status=499) and server.requests(start))
    ended = [(line["status"], line["code"]) for line in lines if line["path"] == PREDICT]
    assert ended == [(504, "deadline_exceeded"), (499, "client_disconnected")]
    assert not first.done()


def test_a_full_queue(slow: tuple[ServerProcess, Serving]) -> None:
    server, tfs = slow
    waiting = [tfs.prediction.Predict.future(rounds(100.0)) for _ in range(4)]
    server.await_waiting(4)
    with pytest.raises(grpc.RpcError) as caught:
        tfs.prediction.Predict(rounds(1.0))
    code, details = code_and_details(caught)
    assert (code, "4 requests waiting, its limit" in details) == ("UNAVAILABLE", True)
    trailers = dict(caught.value.trailing_metadata())
    assert int(trailers["grpc-retry-pushback-ms"]) >= 1000
    assert server.post("/v1/models/slow:predict", json={"instances": [[1.0]]}).status_code == 503
    for each in waiting:
        assert each.result()


def test_sigterm_finishes_what_is_in_flight(slow: tuple[ServerProcess, Serving]) -> None:
    server, tfs = slow
    watched = tfs.channel.unary_stream(WATCH)(Asked().SerializeToString())
    assert name_of(next(watched)) == "SERVING"
    over = threading.Event()
    idle = tfs.channel.stream_stream(STREAM)(waiting_for(over))
    inflight = [tfs.prediction.Predict.future(rounds(150.0)) for _ in range(3)]
    server.await_waiting(3)
    server.terminate()
    assert name_of(next(watched)) == "NOT_SERVING"
    # Clients that have not noticed yet are answered all the same.
    late = tfs.prediction.Predict.future(rounds(1.0))
    assert late.result()
    assert [bool(each.result()) for each in inflight] == [True] * 3
    assert list(watched) == []
    with pytest.raises(grpc.RpcError) as caught:
        next(idle)
    assert code_and_details(caught) == (
        "UNAVAILABLE",
        "this server is shutting down: open the stream again",
    )
    over.set()
    assert server.process.wait(60) == 0
    assert server.lines()[-1]["event"] == "drained"


def test_a_drain_ends_in_time_even_when_a_call_does_not(slow_models: Path, tmp_path: Path) -> None:
    settings = {"grpc_port": 0, "drain_delay_s": 0, "drain_timeout_s": 0.5}
    with serving(slow_models, tmp_path, **settings) as server, serving_stubs(server.grpc) as tfs:
        endless = tfs.prediction.Predict.future(rounds(ENDLESS))
        server.await_waiting(1)
        server.terminate()
        assert server.process.wait(60) == 0
        with pytest.raises(grpc.RpcError) as caught:
            endless.result()
        assert code_and_details(caught)[0] in ("UNAVAILABLE", "CANCELLED")


def test_another_server_answers_while_one_ends(slow_models: Path, tmp_path: Path) -> None:
    """Clients of two servers, one of which is stopped. A call that comes while it closes may end
    without an answer, but never with a wrong one: it is sent again."""
    with (
        serving(slow_models, tmp_path, **PATIENT) as staying,
        serving(slow_models, tmp_path, **PATIENT | {"drain_delay_s": 1}) as leaving,
    ):
        both = f"ipv4:{leaving.grpc},{staying.grpc}"
        options = [("grpc.lb_policy_name", "round_robin")]
        over = threading.Event()
        with serving_stubs(both, options=options) as tfs, ThreadPoolExecutor(4) as pool:

            def ask() -> int:
                repeated = 0
                while not over.is_set():
                    try:
                        tfs.prediction.Predict(rounds(1.0), timeout=100)
                    except grpc.RpcError as error:
                        if error.code() is not grpc.StatusCode.CANCELLED:
                            raise
                        repeated += 1
                return repeated

            asking = [pool.submit(ask) for _ in range(4)]
            eventually(lambda: leaving.requests(path=PREDICT) and staying.requests(path=PREDICT))
            leaving.terminate()
            assert leaving.process.wait(60) == 0
            time.sleep(0.5)
            over.set()
            # One for each that was on its way, at the most.
            assert all(each.result() <= 1 for each in asking)


def test_packed_messages_count_unpacked(v2: ServerProcess) -> None:
    before = v2.rss
    with grpc.insecure_channel(v2.grpc, compression=grpc.Compression.Gzip) as packing:
        largest = refusal(packing, PREDICT, bytes(16_000_000))
        assert largest.code() is grpc.StatusCode.INVALID_ARGUMENT
        bomb = refusal(packing, PREDICT, bytes(300_000_000))
        assert bomb.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert v2.rss - before < 100_000_000


@pytest.mark.parametrize("coding", ["gzip", "deflate", None])
def test_compressed_answers(v2: ServerProcess, coding: str | None) -> None:
    """Which no client tells of, so frame by frame."""
    sent = predict_request("half", x=np.zeros((5000, 1), np.float32)).SerializeToString()
    client, got, headers = h2.connection.H2Connection(), b"", {}
    client.initiate_connection()
    client.increment_flow_control_window(1_000_000)
    wanted = [("accept-encoding", coding)] if coding else []
    fields = [(":method", "POST"), (":scheme", "http"), (":path", PREDICT), (":authority", "x")]
    fields += [("te", "trailers"), ("content-type", "application/grpc"), *wanted]
    client.send_headers(1, [*fields, ("grpc-accept-encoding", "identity,deflate,gzip")])
    client.send_data(1, struct.pack(">BI", 0, len(sent)), end_stream=False)
    for at in range(0, len(sent), 10_000):
        client.send_data(1, sent[at : at + 10_000], end_stream=at + 10_000 >= len(sent))
    host, _, port = v2.grpc.partition(":")
    with socket.create_connection((host, int(port)), 60) as connection:
        ended = False
        while not ended:
            connection.sendall(client.data_to_send())
            for event in client.receive_data(connection.recv(65536)):
                if isinstance(event, h2.events.ResponseReceived):
                    headers = dict(event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    got += event.data
                ended = ended or isinstance(event, h2.events.StreamEnded)
    packed, length = struct.unpack(">BI", got[:5])
    assert (packed, headers.get(b"grpc-encoding")) == (
        int(bool(coding)),
        coding and coding.encode(),
    )
    unpacked = got[5:]
    if coding is not None:
        unpacked = gzip.decompress(unpacked) if coding == "gzip" else zlib.decompress(unpacked)
    assert len(unpacked) > 20_000
    assert (length < 2_000) == bool(coding)


def test_messages_that_do_not_come_give_way(channel: grpc.Channel) -> None:
    """As many as are read at a time: 256 MB of 16 MB each."""
    over = threading.Event()
    send = channel.stream_unary(PREDICT).future
    try:
        held = [send(waiting_for(over), timeout=120) for _ in range(16)]
        assert call(channel, INFER, infer_request())
        ended = eventually(lambda: [each for each in held if each.done()])
        assert {each.code() for each in ended} == {grpc.StatusCode.UNAVAILABLE}
        assert "came slowly" in ended[0].details()
    finally:
        over.set()


def test_the_most_streams(v2: ServerProcess) -> None:
    asked = Asked().SerializeToString()
    with grpc.insecure_channel(v2.grpc) as own:
        watch = own.unary_stream(WATCH)
        open_ = [watch(asked) for _ in range(MOST_STREAMS)]
        assert {name_of(next(each)) for each in open_} == {"SERVING"}
        with pytest.raises(grpc.RpcError) as caught:
            next(watch(asked))
        assert code_and_details(caught) == (
            "RESOURCE_EXHAUSTED",
            "100 streams are open, the limit of this server",
        )
        for each in open_:
            each.cancel()

        def taken() -> bool:
            again = watch(asked, timeout=60)
            try:
                return name_of(next(again)) == "SERVING"
            except grpc.RpcError:
                return False
            finally:
                again.cancel()

        eventually(taken)


def test_a_port_that_is_taken(v2: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    port = v2.grpc.rpartition(":")[2]
    settings = {"KERAPORT_PORT": "0", "KERAPORT_GRPC_PORT": port}
    done = run("serve", models=tmp_path / "models", code=1, **settings)
    assert "KERAPORT_GRPC_PORT" in done.stderr
    assert "another program has the port" in done.stderr


# --- mutated messages -----------------------------------------------------------------------------


def test_mutated_messages_and_frames_get_documented_statuses(
    v2: ServerProcess, channel: grpc.Channel
) -> None:
    """More of them: `python -m tests.fuzz.calls`."""
    messages, frames = calls.run(v2.grpc, 1500, seed=18)
    assert {"OK", "INVALID_ARGUMENT"} <= messages.keys() <= calls.DOCUMENTED, messages
    # Some ask for other tables of headers than the reader of the answers has.
    none = {"none", "no frame", "HTTP 415"}
    assert {"OK", "none"} <= frames.keys() <= calls.OF_FRAMES | none, frames
    assert "a request failed" not in v2.log()
    assert state(channel) == "SERVING"
