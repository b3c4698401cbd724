"""Traces: W3C Trace Context from clients, and spans at a collector that speaks OTLP."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.http.test_grpc_keys import car_request
from tests.otlp import Collector, attributes, collector
from tests.rpc import INFER, STREAM, call, refusal, state
from tests.support import CAR, ROOT, V1_CAR, V2_CAR, ServerProcess, eventually, picture, running

STAGES = {"decode", "queue", "infer"}
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "native": ("/api/mpg", {"json": CAR}),
    "v1": ("/v1/models/mpg:predict", {"json": V1_CAR}),
    "v2": ("/v2/models/mpg/infer", {"json": V2_CAR}),
    "page": ("/models/mpg", {"data": {f"field{i}": str(v) for i, v in enumerate(CAR.values())}}),
}
_numbers = count(1)


def traced(endpoint: str, **environ: str) -> type[ServerProcess]:
    """A server that sends its spans to an endpoint, without waiting for more of them."""
    own = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        **environ,
    }
    return type("Traced", (ServerProcess,), {"environ": own})


@pytest.fixture(scope="module")
def received() -> Iterator[Collector]:
    with collector() as found:
        yield found


@pytest.fixture(scope="module")
def server(
    received: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    made = traced(
        received.url,
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment=test",
        OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20secret",
    )
    uploads = tmp_path_factory.mktemp("uploads")
    with running(made(ROOT / "models", uploads, replica="app-7", grpc_port=0)) as server:
        yield server


def new_trace() -> tuple[str, str, str]:
    """The header of a new trace, and the ids of the trace and of the span in it."""
    trace, span = f"{next(_numbers):032x}", f"{next(_numbers):016x}"
    return f"00-{trace}-{span}-01", trace, span


def line_of(server: ServerProcess, answer: httpx.Response) -> dict[str, Any]:
    id = answer.headers["x-request-id"]
    (line,) = eventually(lambda: server.requests(id=id), every=0.05)
    return dict(line)


@pytest.mark.parametrize("protocol", ASKED)
def test_a_request_is_a_child_of_the_clients_span(
    server: ServerProcess, received: Collector, protocol: str
) -> None:
    path, asked = ASKED[protocol]
    header, trace, parent = new_trace()
    headers = {"traceparent": header, "tracestate": "vendor=abc,other=1"}
    answer = server.post(f"{path}?x=private", headers=headers, **asked)
    assert answer.status_code == 200
    spans = received.of_trace(trace, 4)
    root = spans.pop(f"POST {protocol}")
    assert spans.keys() == STAGES
    assert root.parent_span_id.hex() == parent
    assert root.kind == Span.SpanKind.SPAN_KIND_SERVER
    assert root.status.code == Status.StatusCode.STATUS_CODE_UNSET
    said = attributes(root)
    assert said == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "url.path": path,
        "keraport.protocol": protocol,
        "keraport.request_id": answer.headers["x-request-id"],
        "keraport.model": "mpg",
        "keraport.version": "1",
    }
    before = root.start_time_unix_nano
    for stage in ("decode", "queue", "infer"):
        span = spans[stage]
        assert span.parent_span_id == root.span_id
        assert before <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= root.end_time_unix_nano
        before = span.start_time_unix_nano
        assert attributes(span)["keraport.rows"] == 1
    assert spans["queue"].end_time_unix_nano == spans["infer"].start_time_unix_nano
    for span in (root, *spans.values()):
        assert span.trace_state == "vendor=abc,other=1"
    line = line_of(server, answer)
    assert line["trace_id"] == trace
    # As the log has it.
    took = spans["infer"].end_time_unix_nano - spans["infer"].start_time_unix_nano
    assert took == pytest.approx(line["infer_ms"] * 1e6, abs=1000)


def test_a_call_of_grpc_is_one_too(server: ServerProcess, received: Collector) -> None:
    header, trace, parent = new_trace()
    metadata = [("traceparent", header), ("tracestate", "vendor=abc,other=1")]
    with grpc.insecure_channel(server.grpc) as channel:
        call(channel, INFER, car_request(), metadata=metadata)
        spans = received.of_trace(trace, 4)
        root = spans.pop("inference.GRPCInferenceService/ModelInfer")
        assert spans.keys() == STAGES
        assert root.parent_span_id.hex() == parent
        assert root.kind == Span.SpanKind.SPAN_KIND_SERVER
        assert all(span.parent_span_id == root.span_id for span in spans.values())
        assert {span.trace_state for span in (root, *spans.values())} == {"vendor=abc,other=1"}
        (line,) = eventually(lambda: server.requests(trace_id=trace))
        assert attributes(root) == {
            "rpc.system": "grpc",
            "rpc.service": "inference.GRPCInferenceService",
            "rpc.method": "ModelInfer",
            "rpc.grpc.status_code": 0,
            "keraport.protocol": "grpc-v2",
            "keraport.request_id": line["id"],
            "keraport.model": "mpg",
            "keraport.version": "1",
        }
        # An error, and a request on a stream.
        header, trace, _ = new_trace()
        refusal(channel, INFER, car_request("nobody"), metadata=[("traceparent", header)])
        (span,) = received.of_trace(trace, 1).values()
        said = attributes(span)
        assert (said["error.type"], said["rpc.grpc.status_code"]) == ("model_not_found", 5)
        header, trace, _ = new_trace()
        stream = channel.stream_stream(STREAM)
        list(stream(iter([car_request()]), metadata=[("traceparent", header)], timeout=60))
        assert received.of_trace(trace, 4).keys() >= STAGES
        header, trace, _ = new_trace()
        assert state(channel, metadata=[("traceparent", header)]) == "SERVING"
    assert all(span.trace_id.hex() != trace for span in received.spans)


def test_the_resource_is_that_of_the_process(server: ServerProcess, received: Collector) -> None:
    header, trace, _ = new_trace()
    server.post("/api/mpg", json=CAR, headers={"traceparent": header})
    received.of_trace(trace, 4)
    said = attributes(received.requests[0].resource_spans[0].resource)
    assert said["service.name"] == "keraport"
    assert said["service.instance.id"] == "app-7"
    assert said["deployment.environment"] == "test"
    assert received.headers[0]["authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "00-0-1-01",
        f"00-{'0' * 32}-{'1' * 16}-01",
        f"00-{'1' * 32}-{'0' * 16}-01",
        f"ff-{'1' * 32}-{'1' * 16}-01",
        f"00-{'g' * 32}-{'1' * 16}-01",
        "x" * 4000,
    ],
)
def test_without_a_parent_a_request_begins_a_trace(
    server: ServerProcess, received: Collector, header: str | None
) -> None:
    headers = {} if header is None else {"traceparent": header, "tracestate": "a=b"}
    answer = server.post("/api/mpg", json=CAR, headers=headers)
    trace = line_of(server, answer)["trace_id"]
    root = received.of_trace(trace, 4)["POST native"]
    assert root.parent_span_id == b""
    assert root.trace_state == ""


def test_a_trace_that_is_not_sampled_is_logged_only(
    server: ServerProcess, received: Collector
) -> None:
    header, trace, _ = new_trace()
    answer = server.post("/api/mpg", json=CAR, headers={"traceparent": header[:-1] + "0"})
    assert line_of(server, answer)["trace_id"] == trace
    later, known, _ = new_trace()
    server.post("/api/mpg", json=CAR, headers={"traceparent": later})
    received.of_trace(known, 4)
    assert all(span.trace_id.hex() != trace for span in received.spans)


def test_a_picture_to_all_models_has_the_stages_of_each(
    server: ServerProcess, received: Collector
) -> None:
    header, trace, _ = new_trace()
    answer = server.post("/predict", content=picture(), headers={"traceparent": header})

    def infers() -> list[Span]:
        of_trace = [span for span in received.spans if span.trace_id.hex() == trace]
        return [span for span in of_trace if span.name == "infer"]

    eventually(lambda: len(infers()) == len(answer.json()))
    assert {attributes(span)["keraport.model"] for span in infers()} == answer.json().keys()


def test_a_text_word_by_word(server: ServerProcess, received: Collector) -> None:
    header, trace, _ = new_trace()
    headers = {"traceparent": header, "Accept": "text/event-stream"}
    answer = server.post("/api/patents", json={"seed": "a neural network"}, headers=headers)
    assert "event: done" in answer.text
    spans = received.of_trace(trace, 4)
    assert spans.keys() == {"POST native", *STAGES}


def test_errors(server: ServerProcess, received: Collector) -> None:
    header, trace, _ = new_trace()
    answer = server.post("/api/mpg", json={"weight": "private"}, headers={"traceparent": header})
    assert answer.status_code == 422
    spans = received.of_trace(trace, 2)
    assert spans.keys() == {"POST native", "decode"}
    said = attributes(spans["POST native"])
    assert (said["error.type"], said["http.response.status_code"]) == ("invalid_input", 422)
    # No fault of the server (semantic conventions of HTTP spans).
    assert spans["POST native"].status.code == Status.StatusCode.STATUS_CODE_UNSET
    assert all(b"private" not in request.SerializeToString() for request in received.requests)


def test_health_checks_and_files_have_no_spans(server: ServerProcess, received: Collector) -> None:
    headers = []
    for path in ("/livez", "/readyz", "/metrics", "/v2/health/ready", "/static/css/keraport.css"):
        headers.append(new_trace()[0])
        server.get(path, headers={"traceparent": headers[-1]})
    header, trace, _ = new_trace()
    server.get("/api/models", headers={"traceparent": header})
    received.of_trace(trace, 1)
    traces = {header.split("-")[1] for header in headers}
    assert not traces & {span.trace_id.hex() for span in received.spans}


def test_the_last_spans_are_sent_at_the_end(tmp_path: Path) -> None:
    with collector() as received:
        made = traced(received.url, OTEL_BSP_SCHEDULE_DELAY="600000")
        (tmp_path / "models").mkdir()
        with running(made(tmp_path / "models", tmp_path, drain_delay_s=0)) as server:
            header, trace, _ = new_trace()
            server.get("/api/models", headers={"traceparent": header})
            server.terminate()
            assert server.process.wait(60) == 0
        received.of_trace(trace, 1)


def test_a_collector_that_is_not_there_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    made = traced("http://127.0.0.1:9")
    with running(made(tmp_path / "models", tmp_path, drain_delay_s=0)) as server:
        for _ in range(3):
            assert server.get("/api/models").status_code == 200
            time.sleep(0.1)
        server.terminate()
        assert server.process.wait(60) == 0


def test_without_a_collector_the_trace_is_in_the_log(shipped: ServerProcess) -> None:
    header, trace, _ = new_trace()
    answer = shipped.post("/api/mpg", json=CAR, headers={"traceparent": header})
    assert line_of(shipped, answer)["trace_id"] == trace
    for wrong in ({}, {"traceparent": header.replace("00-", "ff-", 1)}, {"traceparent": "x"}):
        answer = shipped.post("/api/mpg", json=CAR, headers=wrong)
        assert "trace_id" not in line_of(shipped, answer)
    later = header.replace("00-", "01-", 1) + "-more"
    answer = shipped.post("/api/mpg", json=CAR, headers={"traceparent": later})
    assert line_of(shipped, answer)["trace_id"] == trace


def test_without_a_collector_nothing_of_opentelemetry_is_loaded() -> None:
    code = "import sys, app.server.server; print([m for m in sys.modules if 'opentelemetry' in m])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert found.stdout == "[]\n", found.stderr
