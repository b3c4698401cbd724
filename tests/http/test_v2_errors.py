"""Requests that the Open Inference Protocol refuses; the server continues afterwards."""

from __future__ import annotations

import gzip
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from app.factory import create_app
from app.lifecycle import Lifecycle
from app.settings import Settings
from tests.models import save_echo
from tests.registries import found
from tests.support import ServerProcess, serving
from tests.v2 import asked, error_of, framed, numbers, tensor, x

# Far less than a request may take, far more than it takes.
DEADLINE_S = 20


@pytest.fixture(scope="module")
def client(v2: ServerProcess) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{v2.port}") as client:
        yield client


def test_errors_of_the_client(client: Any) -> None:
    one = tensor("y", np.ones((1, 1)), "FP64")
    for model, version, sent, status, why in (
        ("nobody", "", x(1), "404", "no model 'nobody'"),
        ("half", "9", x(1), "404", "does not have version 9"),
        ("half", "stable", x(1), "404", "does not have the alias 'stable'"),
        ("half", "9" * 5000, x(1), "404", "does not have the alias '9"),
        ("broken", "", x(1), "503", "failed to load"),
        ("half", "", one, "400", "missing"),
    ):
        with pytest.raises(InferenceServerException, match=why) as caught:
            client.infer(model, [sent], model_version=version)
        assert caught.value.status() == status
    with pytest.raises(InferenceServerException, match="no model 'nobody'"):
        client.get_model_config("nobody")


@pytest.mark.parametrize("sequence", [7, "camera-1"])
def test_sequences_are_refused(client: Any, sequence: int | str) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer("half", [x(1)], sequence_id=sequence, sequence_start=True)
    message = str(caught.value)
    assert "parameters.sequence_id: sequences of requests are not supported" in message
    assert "parameters.sequence_start: " in message
    assert "sequence_end" not in message
    ended = client.infer("half", [x(1)], sequence_id=type(sequence)(), sequence_end=True)
    assert ended.as_numpy("y").tolist() == [[2.5]]


@pytest.mark.parametrize("none", [0, "", False, None])
def test_no_sequence_is_none(v2: ServerProcess, none: Any) -> None:
    parameters = dict.fromkeys(("sequence_id", "sequence_start", "sequence_end"), none)
    answer = asked(v2, "numbers", id="a", parameters=parameters, inputs=[numbers([1.0])])
    assert (answer.status_code, answer.json()["id"]) == (200, "a")


def test_all_problems_are_reported_at_once(v2: ServerProcess) -> None:
    told = error_of(
        asked(
            v2,
            "numbers",
            id=7,
            parameters={"binary_data_output": "yes", "timeout": 1.5},
            inputs=[
                {"name": "fp32", "datatype": "FLOAT", "shape": [1, -1], "data": [1]},
                {"name": "fp32", "datatype": "FP32", "shape": [1], "data": [1]},
                {"name": "a", "datatype": "FP32", "shape": [1]},
                {"name": "b", "datatype": "BOOL", "shape": [2], "data": [True, 1]},
                {"name": "c", "datatype": "INT8", "shape": [1], "data": [300]},
            ],
            outputs=[{"name": "same_fp32", "parameters": {"classification": 0}}, {}],
        )
    )
    for field in (
        "id: wrong type, expected a text",
        "parameters.binary_data_output: wrong type, expected true or false",
        "parameters.timeout: wrong type, expected a whole number from 0",
        "inputs[0].datatype: ",
        "inputs[0].shape: ",
        "inputs[1].name: fp32 a second time",
        "inputs[2]: neither",
        "b[1]: wrong type, expected true or false (BOOL) of shape [2]",
        "c: out of range, expected values that fit INT8",
        "outputs[0].parameters.classification: no classes",
        "outputs[1].name: missing, expected a text",
    ):
        assert field in told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"shape": [1, 10**9]}, "wrong shape"),
        ({"shape": [10**9, 10**9]}, "1,000,000,000 rows, expected at most 100,000"),
        ({"shape": [2]}, "wrong shape"),
        ({"shape": [1] * 65}, "at most 64"),
        ({"shape": [True, 2]}, "shape"),
        ({"shape": [10**9, 0], "data": []}, "too many rows"),
        ({"shape": [2**62, 0], "data": []}, "too many rows"),
        ({"shape": [0, 4], "data": []}, "no rows"),
        ({"data": None}, "neither"),
        ({"data": 5}, "wrong type, expected a list"),
        ({"data": [1, "2"]}, "fp32[1]: wrong type"),
        ({"data": [[1, True]]}, "fp32[0][1]: wrong type"),
        ({"data": [[1], 2]}, "different lengths"),
        ({"parameters": {"shared_memory_region": "a"}}, "shared memory is not supported"),
        ({"parameters": {"binary_data_size": 8}}, "both"),
        ({"parameters": []}, "wrong type, expected an object"),
        (
            {"datatype": "FP64"},
            "fp32: wrong dtype: sent FP64, expected numbers (FP32) of shape [any, any]",
        ),
        ({"datatype": None}, "inputs[0].datatype: missing, expected one of BOOL, "),
        ({"shape": None}, "inputs[0].shape: missing, expected a list"),
        ({"name": None}, "inputs[0].name: missing, expected a text"),
        ({"name": ""}, "inputs[0].name: empty, expected a text"),
        ({"parameters": {"binary_data_size": -1}, "data": None}, "binary_data_size: below 0"),
        ({"name": "y"}, "unexpected"),
        ({"name": 5}, "inputs[0].name: wrong type, expected a text"),
    ],
)
def test_inputs_that_are_wrong(v2: ServerProcess, change: dict[str, Any], told: str) -> None:
    assert told in error_of(asked(v2, "numbers", inputs=[{**numbers([1, 2]), **change}]))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "empty"),
        (b"{", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'{"NaN": ' + b"[" * 100_000, "more than 64 levels"),
        (b'{"inputs": [], "x": ' + b"[" * 2000 + b"NaN" + b"]" * 2000 + b"}", "64 levels"),
        (b"{}", "inputs: missing, expected a list of objects"),
        (b'{"inputs": []}', "at least one"),
        (b'{"inputs": {}}', "inputs: wrong type, expected a list of objects"),
        (b'{"inputs": [{}, 1]}', "inputs[1]: wrong type, expected an object"),
        (b'{"inputs": [{}], "outputs": {}}', "outputs: wrong type"),
        (b"\xff\xfe", "not JSON"),
    ],
)
def test_bodies_that_are_wrong(v2: ServerProcess, body: bytes, told: str) -> None:
    assert told in error_of(v2.post("/v2/models/numbers/infer", content=body))


def test_outputs_that_are_wrong(v2: ServerProcess) -> None:
    def told(*outputs: Any) -> str:
        return error_of(asked(v2, "numbers", inputs=[numbers([1])], outputs=list(outputs)))

    same = {"name": "same_fp32"}
    assert "no such output" in told({"name": "y"})
    assert "a second time" in told(same, same)
    shared = {**same, "parameters": {"shared_memory_region": "a"}}
    assert "shared memory is not supported" in told(shared)
    assert "true or false" in told({**same, "parameters": {"binary_data": 1}})
    texts = {"name": "bytes", "datatype": "BYTES", "shape": [1, 1], "data": ["a"]}
    wanted = [{"name": "same_bytes", "parameters": {"classification": 1}}]
    assert "in order" in error_of(asked(v2, "texts", inputs=[texts], outputs=wanted))


def test_the_number_of_tensors_is_limited(v2: ServerProcess) -> None:
    def told(count: int) -> str:
        inputs = [{**numbers([1]), "name": f"n{i}"} for i in range(count)]
        return error_of(asked(v2, "numbers", inputs=inputs))

    assert "fp32: missing" in told(1000)
    assert "inputs: 1001 of them, expected at most 1000" in told(1001)


def test_a_coding_that_is_not_read_here(v2: ServerProcess) -> None:
    headers = {"Content-Encoding": "br"}
    answer = v2.post("/v2/models/numbers/infer", content=b"x", headers=headers)
    assert "gzip or deflate" in error_of(answer, 415)


def test_the_largest_body_and_the_slowest(tmp_path: Path) -> None:
    def frame(size: int) -> dict[str, Any]:
        count = (size - 200) // 4
        head = {"name": "fp32", "datatype": "FP32", "shape": [10, count // 10]}
        short = len(framed(head, bytes(count * 4))["content"])
        return framed(head, bytes(count * 4), pad=size - short)

    save_echo(tmp_path / "models" / "numbers", "FP32")
    with serving(tmp_path / "models", tmp_path, max_body_mb=0.1, request_timeout_s=4) as small:
        for size, status in ((100_000, 200), (100_001, 413)):
            sent = frame(size)
            assert len(sent["content"]) == size
            assert small.post("/v2/models/numbers/infer", **sent).status_code == status
            packed = gzip.compress(sent["content"])
            headers = {**sent["headers"], "Content-Encoding": "gzip"}
            answer = small.post("/v2/models/numbers/infer", content=packed, headers=headers)
            assert answer.status_code == status
        assert "0.1 MB" in error_of(answer, 413)
        with started(small) as slow:
            assert slow.recv(100).startswith(b"HTTP/1.1 504 ")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "0 elements"),
        (b"\x01\x00\x00\x00a", "1 elements"),
        (b"\x01\x00\x00\x00a\x02\x00\x00\x00b", "has a length of 2 bytes, but 1 are left"),
        (b"\x01\x00\x00\x00a\xff\xff\xff\xff", "has a length of 4294967295 bytes, but 0 are left"),
        (b"\x01\x00\x00\x00a\x01\x00\x00", "ends within a length"),
        (b"\x00\x00\x00\x00" * 3, "more elements than the shape has"),
    ],
)
def test_texts_that_are_framed_wrong(v2: ServerProcess, data: bytes, told: str) -> None:
    head = {"name": "bytes", "datatype": "BYTES", "shape": [2, 1]}
    answer = v2.post("/v2/models/texts/infer", **framed(head, data))
    assert told in error_of(answer)


def test_numbers_that_are_framed_wrong(v2: ServerProcess) -> None:
    head = {"name": "fp32", "datatype": "FP32", "shape": [1, 2]}
    sent = framed(head, bytes(8))
    longer = {**sent, "content": sent["content"] + b"x"}
    assert "1 bytes more" in error_of(v2.post("/v2/models/numbers/infer", **longer))
    shorter = {**sent, "content": sent["content"][:-1]}
    assert "at most 7" in error_of(v2.post("/v2/models/numbers/infer", **shorter))
    for size in (7, 9):
        answer = v2.post("/v2/models/numbers/infer", **framed(head, bytes(size)))
        assert f"{size} bytes of data, expected 8 for FP32 of shape [1, 2]" in error_of(answer)
    huge = framed({**head, "shape": [1, 10**18]}, bytes(8))
    assert "expected 4000000000000000000" in error_of(v2.post("/v2/models/numbers/infer", **huge))


def started(server: ServerProcess) -> socket.socket:
    """A connection on which a request was begun whose body has not come."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_S)
    connection.sendall(
        b"POST /v2/models/numbers/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
    )
    return connection


def test_a_client_that_leaves_while_it_sends(v2: ServerProcess) -> None:
    started(v2).close()
    until = time.monotonic() + DEADLINE_S
    while not v2.requests(path="/v2/models/numbers/infer", status=499):
        assert time.monotonic() < until, v2.log()
        time.sleep(0.05)


def test_the_log_keeps_quiet_about_what_clients_do_wrong(v2: ServerProcess) -> None:
    before = len(v2.log())
    long = b'{"inputs": 1, "x": "' + b"x" * 100_000 + b'"}'
    assert "inputs: wrong type" in error_of(v2.post("/v2/models/numbers/infer", content=long))
    torn = {"content": b"no gzip", "headers": {"Content-Encoding": "gzip"}}
    assert "not gzip" in error_of(v2.post("/v2/models/numbers/infer", **torn))
    assert "Traceback" not in v2.log()[before:]


def test_a_server_that_shuts_down(tmp_path: Path) -> None:
    registry = found(tmp_path)
    lifecycle = Lifecycle(draining=True)
    client = create_app(Settings(), registry, lifecycle).test_client()
    assert client.get("/v2").status_code == 200
    assert client.get("/v2/health/ready").status_code == 503
    lifecycle.refusing = True
    refused = client.post("/v2/models/any/infer", json={})
    assert (refused.status_code, list(refused.get_json())) == (503, ["error"])
    assert int(refused.headers["Retry-After"]) >= 1
    assert client.get("/v2/health/live").status_code == 200
