"""The Open Inference Protocol, through Triton's own clients and plain requests."""

from __future__ import annotations

import asyncio
import gzip
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from tests.loops import run
from tests.models import ECHOED
from tests.support import ServerProcess
from tests.v2 import Array, asked, error_of, framed, numbers, tensor, x


@pytest.fixture(scope="module")
def client(v2: ServerProcess) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{v2.port}", concurrency=4) as client:
        yield client


# --- what there is ------------------------------------------------------------------------------


def test_health(v2: ServerProcess, client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("half")
    assert client.is_model_ready("half", "3")
    assert not client.is_model_ready("half", "4")
    assert not client.is_model_ready("broken")
    assert not client.is_model_ready("nobody")
    # KServe's client reads the bodies.
    assert v2.get("/v2/health/live").json() == {"live": True}
    assert v2.get("/v2/health/ready").json() == {"ready": True}
    broken = v2.get("/v2/models/broken/ready")
    assert "failed to load" in error_of(broken, 503)
    assert int(broken.headers["Retry-After"]) >= 1


def test_the_server_tells_only_extensions_that_it_has(client: Any) -> None:
    told = client.get_server_metadata()
    assert told["name"] == "keraport"
    assert told["version"]
    assert sorted(told["extensions"]) == [
        "binary_tensor_data",
        "classification",
        "model_configuration",
        "statistics",
    ]


def test_the_metadata_of_a_model(client: Any) -> None:
    assert client.get_model_metadata("half") == {
        "name": "half",
        "versions": ["3"],
        "platform": "tensorflow_savedmodel",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}],
    }
    echo = client.get_model_metadata("echo", "1")
    assert {t["datatype"] for t in echo["inputs"]} == set(ECHOED)
    assert [t["shape"] for t in echo["outputs"]] == [[-1, -1]] * len(ECHOED)


def test_the_configuration_of_a_model(client: Any) -> None:
    assert client.get_model_config("half") == {
        "name": "half",
        "platform": "tensorflow_savedmodel",
        "backend": "tensorflow",
        "max_batch_size": 32,
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [1]}],
        "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [1]}],
    }
    words = client.get_model_config("words", "1")
    assert words["input"][0]["data_type"] == "TYPE_STRING"


def test_the_index(v2: ServerProcess, client: Any) -> None:
    found = {m["name"]: m for m in client.get_model_repository_index()}
    half = {"name": "half", "version": "3", "state": "READY", "reason": ""}
    assert found["half"] == half
    assert found["broken"]["state"] == "UNAVAILABLE"
    assert found["broken"]["reason"]
    assert v2.get("/v2/models").json() == {"models": sorted(found)}
    ready = v2.post("/v2/repository/index", json={"ready": True}).json()
    assert half in ready
    assert not any(m["name"] == "broken" for m in ready)
    assert "true or false" in error_of(v2.post("/v2/repository/index", json={"ready": 1}))
    assert "object" in error_of(v2.post("/v2/repository/index", json=[]))
    assert "not JSON" in error_of(v2.post("/v2/repository/index", content=b"{"))


def test_statistics(client: Any) -> None:
    def figures(name: str = "two") -> Any:
        (stats,) = client.get_inference_statistics(name)["model_stats"]
        return stats

    metadata = client.get_model_metadata("two")
    sent = [
        tensor(t["name"], np.ones([3, *t["shape"][1:]], np.float32), "FP32")
        for t in metadata["inputs"]
    ]
    before = figures()
    client.infer("two", sent)
    with pytest.raises(InferenceServerException):
        client.infer("two", sent[:1])
    after = figures()
    assert after["inference_count"] == before["inference_count"] + 3
    assert after["execution_count"] == before["execution_count"] + 1
    assert after["last_inference"] > before["last_inference"]
    for key in ("success", "fail", "queue", "compute_infer"):
        now, then = after["inference_stats"][key], before["inference_stats"][key]
        assert now["count"] == then["count"] + 1, key
        assert now["ns"] > then["ns"], key
    whole = after["inference_stats"]["success"]["ns"]
    assert whole >= after["inference_stats"]["compute_infer"]["ns"]
    assert client.get_inference_statistics("two", "1")["model_stats"] == [figures()]
    everybody = {m["name"] for m in client.get_inference_statistics()["model_stats"]}
    assert {"two", "half"} <= everybody
    assert "broken" not in everybody


def test_what_is_not_here_says_so(client: Any, v2: ServerProcess) -> None:
    for call, arguments, why in (
        ("load_model", ["half"], "models folder"),
        ("unload_model", ["half"], "models folder"),
        ("get_system_shared_memory_status", [], "shared memory is not supported"),
        ("register_system_shared_memory", ["a", "/a", 8], "shared memory is not supported"),
        ("unregister_cuda_shared_memory", ["a"], "shared memory is not supported"),
        ("get_trace_settings", [], "tracing is not supported"),
        ("update_trace_settings", ["half", {"trace_level": "OFF"}], "tracing is not supported"),
        ("get_log_settings", [], "KERAPORT_LOG_LEVEL"),
    ):
        with pytest.raises(InferenceServerException, match=why) as caught:
            getattr(client, call)(*arguments)
        assert caught.value.status() == "400"
    assert "nothing at /v2/nothing" in error_of(v2.get("/v2/nothing"), 404)
    assert "does not take GET" in error_of(v2.get("/v2/models/half/infer"), 405)


# --- inference ----------------------------------------------------------------------------------


@pytest.mark.parametrize("binary", [True, False])
def test_infer(client: Any, binary: bool) -> None:
    output = triton.InferRequestedOutput("y", binary_data=binary)
    result = client.infer("half", [x(1, 2, 5, binary=binary)], outputs=[output], request_id="a-1")
    assert result.as_numpy("y").tolist() == [[2.5], [3.0], [4.5]]
    answer = result.get_response()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("a-1", "half", "3")
    assert ("parameters" in answer["outputs"][0]) is binary


def test_all_outputs_are_binary_by_default(client: Any) -> None:
    result = client.infer("half", [x(1)], model_version="3")
    assert result.as_numpy("y").tolist() == [[2.5]]
    assert result.get_output("y")["parameters"] == {"binary_data_size": 4}
    assert "id" not in result.get_response()


def _values(datatype: str) -> Array:
    """Extremes of each type, as (2, 2)."""
    if datatype == "BYTES":
        return np.array([[b"", "Zoë".encode()], [b"a\x00b", b"x" * 300]], object)
    if datatype == "BOOL":
        return np.array([[True, False], [False, True]])
    dtype = ECHOED[datatype]
    return np.array([[0, 1], [dtype.min, dtype.max]], dtype.as_numpy_dtype)


@pytest.mark.parametrize("binary", [True, False])
def test_every_datatype_at_once(client: Any, binary: bool) -> None:
    values = {datatype: _values(datatype) for datatype in ECHOED}
    sent = [
        # Triton's client sends neither as JSON, and takes float32 for BF16.
        tensor(
            datatype.lower(),
            array.astype(np.float32) if datatype == "BF16" else array,
            datatype,
            binary=binary or datatype in ("BF16", "FP16"),
        )
        for datatype, array in values.items()
    ]
    outputs = [
        triton.InferRequestedOutput(f"same_{d.lower()}", binary_data=binary or d == "BF16")
        for d in reversed(ECHOED)
    ]
    result = client.infer("echo", sent, outputs=outputs)
    assert [t["datatype"] for t in result.get_response()["outputs"]] == [*reversed(ECHOED)]
    for datatype, array in values.items():
        got = result.as_numpy(f"same_{datatype.lower()}")
        if datatype == "BYTES" and not binary:
            array = np.array([[t.decode() for t in row] for row in array], object)
        assert got.tolist() == array.astype(got.dtype).tolist(), datatype


def test_half_precision_in_json(v2: ServerProcess, client: Any) -> None:
    """FP16 goes in and comes out; BF16 must be binary, and the error says so."""

    def body(name: str) -> dict[str, Any]:
        value = {"name": name, "datatype": name.upper(), "shape": [1, 2], "data": [0.5, 2]}
        return {"inputs": [value]}

    halves = asked(v2, "halves", **body("fp16"))
    assert halves.json()["outputs"][0]["data"] == [0.5, 2.0]
    assert "binary data" in error_of(asked(v2, "brains", **body("bf16")))
    sent = [tensor("bf16", np.array([[0.5, 2]], np.float32), "BF16")]
    assert client.infer("brains", sent).as_numpy("same_bf16").tolist() == [[0.5, 2.0]]
    as_json = [triton.InferRequestedOutput("same_bf16", binary_data=False)]
    with pytest.raises(InferenceServerException, match="'binary_data': true"):
        client.infer("brains", sent, outputs=as_json)


def test_json_and_binary_inputs_together(client: Any) -> None:
    metadata = client.get_model_metadata("two")
    arrays = {t["name"]: np.full([2, *t["shape"][1:]], 0.5, np.float32) for t in metadata["inputs"]}
    mixed = [
        tensor(name, array, "FP32", binary=i == 1) for i, (name, array) in enumerate(arrays.items())
    ]
    plain = [tensor(name, array, "FP32", binary=False) for name, array in arrays.items()]
    output = metadata["outputs"][0]["name"]
    first, second = (client.infer("two", sent).as_numpy(output) for sent in (mixed, plain))
    assert first.tolist() == second.tolist()


def test_data_may_be_flat_or_nested(v2: ServerProcess) -> None:
    flat = asked(v2, "numbers", inputs=[numbers([1, 2, 3, 4], [2, 2])])
    nested = asked(v2, "numbers", inputs=[{**numbers([], [2, 2]), "data": [[1, 2], [3, 4]]}])
    assert flat.json() == nested.json()
    assert flat.json()["outputs"] == [
        {"name": "same_fp32", "datatype": "FP32", "shape": [2, 2], "data": [1.0, 2.0, 3.0, 4.0]}
    ]
    assert flat.headers["Content-Type"] == "application/json"


def test_more_rows_than_a_batch(client: Any) -> None:
    many = np.arange(200, dtype=np.float32)[:, None]
    result = client.infer("half", [tensor("x", many, "FP32")])
    assert result.as_numpy("y").tolist() == (many / 2 + 2).tolist()


def test_async_infer(client: Any) -> None:
    waiting = [client.async_infer("half", [x(i)]) for i in range(8)]
    assert [w.get_result().as_numpy("y").item() for w in waiting] == [i / 2 + 2 for i in range(8)]


def test_the_asyncio_client(v2: ServerProcess) -> None:
    async def ask() -> list[Any]:
        url = f"127.0.0.1:{v2.port}"
        async with triton_aio.InferenceServerClient(url) as client:
            assert await client.is_server_ready()
            assert (await client.get_model_metadata("half"))["versions"] == ["3"]
            results = await asyncio.gather(
                *(
                    client.infer("half", [x(i)], response_compression_algorithm=how)
                    for i, how in enumerate([None, "gzip", "deflate"])
                )
            )
            return [result.as_numpy("y").item() for result in results]

    assert run(ask()) == [2.0, 2.5, 3.0]


@pytest.mark.parametrize("how", ["gzip", "deflate"])
def test_compression_both_ways(client: Any, how: str) -> None:
    # More than is read within the hub.
    many = np.tile(np.arange(100, dtype=np.float32), (300, 1))
    for binary in (True, False):
        result = client.infer(
            "numbers",
            [tensor("fp32", many, "FP32", binary=binary)],
            outputs=[triton.InferRequestedOutput("same_fp32", binary_data=binary)],
            request_compression_algorithm=how,
            response_compression_algorithm=how,
        )
        assert (result.as_numpy("same_fp32") == many).all()


def test_only_a_request_for_gzip_alone_gets_a_compressed_answer(v2: ServerProcess) -> None:
    def coding(accepts: str) -> str | None:
        body = {"inputs": [numbers([1.0])]}
        headers = {"Accept-Encoding": accepts}
        answer = v2.post("/v2/models/numbers/infer", json=body, headers=headers)
        assert answer.json()["outputs"][0]["data"] == [1.0]
        coding: str | None = answer.headers.get("Content-Encoding")
        return coding

    assert coding("gzip") == "gzip"
    assert coding("Deflate") == "deflate"
    assert coding("gzip, deflate, br") is None
    assert coding("identity") is None


def test_the_length_of_the_json_counts_in_the_decompressed_body(v2: ServerProcess) -> None:
    head = {"name": "fp32", "datatype": "FP32", "shape": [1, 2]}
    sent = framed(head, struct.pack("<2f", 1.5, -2))
    for coding, compress in (("gzip", gzip.compress), ("deflate", zlib.compress)):
        headers = {**sent["headers"], "Content-Encoding": coding}
        body = compress(sent["content"])
        answer = v2.post("/v2/models/numbers/infer", content=body, headers=headers)
        assert answer.json()["outputs"][0]["data"] == [1.5, -2.0]


def test_the_shape_of_a_binary_answer(v2: ServerProcess) -> None:
    body = {"inputs": [numbers([1.5, -2])], "parameters": {"binary_data_output": True}}
    answer = v2.post("/v2/models/numbers/infer", json=body)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    size = int(answer.headers["Inference-Header-Content-Length"])
    assert json.loads(answer.content[:size])["outputs"][0]["parameters"] == {"binary_data_size": 8}
    assert struct.unpack("<2f", answer.content[size:]) == (1.5, -2.0)


def test_numbers_that_do_not_begin_at_a_multiple_of_their_size(v2: ServerProcess) -> None:
    head = {"name": "fp32", "datatype": "FP32", "shape": [1, 3]}
    for pad in range(4):
        sent = framed(head, struct.pack("<3f", 1, 2, 3), pad)
        answer = v2.post("/v2/models/numbers/infer", **sent)
        assert answer.json()["outputs"][0]["data"] == [1.0, 2.0, 3.0]


def test_texts(client: Any) -> None:
    words = np.array([b"plum", b"apple"], object)
    for binary in (True, False):
        result = client.infer("words", [tensor("words", words, "BYTES", binary=binary)])
        assert result.as_numpy("ids").tolist() == [2, 0]


def test_texts_that_are_not_utf_8_come_as_binary_only(client: Any) -> None:
    sent = [tensor("bytes", np.array([[b"\xff\x00"]], object), "BYTES")]
    assert client.infer("texts", sent).as_numpy("same_bytes").item() == b"\xff\x00"
    as_json = [triton.InferRequestedOutput("same_bytes", binary_data=False)]
    with pytest.raises(InferenceServerException, match="not UTF-8"):
        client.infer("texts", sent, outputs=as_json)


def test_a_byte_that_is_not_0_is_true(v2: ServerProcess) -> None:
    head = {"name": "bool", "datatype": "BOOL", "shape": [1, 3]}
    sent = framed(head, b"\x00\x01\x02", wanted=["same_bool"])
    answer = v2.post("/v2/models/flags/infer", **sent)
    assert answer.content[-3:] == b"\x00\x01\x01"


def test_nan_and_infinity(client: Any, v2: ServerProcess) -> None:
    odd = np.array([[np.nan, np.inf, -np.inf, 1]], np.float32)
    for binary in (True, False):
        result = client.infer(
            "numbers",
            [tensor("fp32", odd, "FP32", binary=binary)],
            outputs=[triton.InferRequestedOutput("same_fp32", binary_data=binary)],
        )
        np.testing.assert_array_equal(result.as_numpy("same_fp32"), odd)
    body = b'{"inputs":[{"name":"fp32","datatype":"FP32","shape":[1,1],"data":[NaN]}]}'
    assert b'"data":[NaN]' in v2.post("/v2/models/numbers/infer", content=body).content
    # A number has the same text with NaN beside it as without.
    two = body.replace(b"[1,1]", b"[2,1]").replace(b"[NaN]", b"[NaN,0.1]")
    assert b'"data":[NaN,0.1]' in v2.post("/v2/models/numbers/infer", content=two).content
    # Half a surrogate pair is taken by Python's reader alone.
    half = body.replace(b'"fp32"', b'"\\ud800"')
    assert "not JSON" in error_of(v2.post("/v2/models/numbers/infer", content=half))
