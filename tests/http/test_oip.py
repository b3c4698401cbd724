"""The Open Inference Protocol, asked by Triton's own clients and by plain requests."""

from __future__ import annotations

import asyncio
import gzip
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import ml_dtypes
import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from tests.models import ECHOED, save_echo, save_half_plus_two, save_image_models, save_slow_model
from tests.support import DATA, ServerProcess, picture, serving

Array = NDArray[Any]
MODELS = DATA / "models"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("oip") / "models"
    save_image_models(folder)  # cats-dogs, three, and broken
    save_half_plus_two(folder / "half" / "3")
    save_echo(folder / "echo", *ECHOED)
    save_echo(folder / "numbers", "FP32")
    save_echo(folder / "texts", "BYTES")
    (folder / "slow").mkdir()
    save_slow_model(folder / "slow")
    (folder / "nan.keras").symlink_to(MODELS / "nan.keras")
    (folder / "words").symlink_to(MODELS / "tf1_table_savedmodel")
    (folder / "two.keras").symlink_to(MODELS / "tf2_two_inputs_v3.keras")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serving(folder, tmp_path_factory.mktemp("oip-uploads")) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}", concurrency=4) as client:
        yield client


def tensor(name: str, array: Array, datatype: str, *, binary: bool = True) -> Any:
    sent = triton.InferInput(name, list(array.shape), datatype)
    return sent.set_data_from_numpy(array, binary_data=binary)


def x(*values: float, binary: bool = True) -> Any:
    return tensor("x", np.array(values, np.float32)[:, None], "FP32", binary=binary)


def numbers(values: list[float], shape: list[int] | None = None) -> dict[str, Any]:
    return {
        "name": "fp32",
        "datatype": "FP32",
        "shape": shape or [1, len(values)],
        "data": values,
    }


def asked(server: ServerProcess, model: str, **body: Any) -> httpx.Response:
    return server.post(f"/v2/models/{model}/infer", json=body)


def error_of(response: httpx.Response, status: int = 400) -> str:
    assert response.status_code == status, response.text
    body = response.json()
    assert list(body) == ["error"]
    assert isinstance(body["error"], str)
    return body["error"]


# --- what there is ------------------------------------------------------------------------------


def test_health(server: ServerProcess, client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("half")
    assert client.is_model_ready("half", "3")
    assert not client.is_model_ready("half", "4")
    assert not client.is_model_ready("broken")
    assert not client.is_model_ready("nobody")
    # KServe's client reads the bodies.
    assert server.get("/v2/health/live").json() == {"live": True}
    assert server.get("/v2/health/ready").json() == {"ready": True}
    broken = server.get("/v2/models/broken/ready")
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


def test_the_index(server: ServerProcess, client: Any) -> None:
    found = {m["name"]: m for m in client.get_model_repository_index()}
    half = {"name": "half", "version": "3", "state": "READY", "reason": ""}
    assert found["half"] == half
    assert found["broken"]["state"] == "UNAVAILABLE"
    assert found["broken"]["reason"]
    ready = server.post("/v2/repository/index", json={"ready": True}).json()
    assert half in ready
    assert not any(m["name"] == "broken" for m in ready)
    assert "true or false" in error_of(server.post("/v2/repository/index", json={"ready": 1}))
    assert "object" in error_of(server.post("/v2/repository/index", json=[]))
    assert "not JSON" in error_of(server.post("/v2/repository/index", content=b"{"))


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


def test_what_is_not_here_says_so(client: Any, server: ServerProcess) -> None:
    for call, why in (
        (lambda: client.load_model("half"), "folder of models"),
        (lambda: client.unload_model("half"), "folder of models"),
        (lambda: client.get_system_shared_memory_status(), "no shared memory"),
        (lambda: client.register_system_shared_memory("a", "/a", 8), "no shared memory"),
        (lambda: client.unregister_cuda_shared_memory("a"), "no shared memory"),
        (lambda: client.get_trace_settings(), "not traced"),
        (lambda: client.update_trace_settings("half", {"trace_level": "OFF"}), "not traced"),
        (lambda: client.get_log_settings(), "KERAPORT_LOG_LEVEL"),
    ):
        with pytest.raises(InferenceServerException, match=why) as caught:
            call()
        assert caught.value.status() == "400"
    assert "nothing at /v2/nothing" in error_of(server.get("/v2/nothing"), 404)
    assert "GET" in error_of(server.get("/v2/models/half/infer"), 405)


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
    dtype = np.dtype(ECHOED[datatype].as_numpy_dtype)
    limits = ml_dtypes.finfo(dtype) if "float" in dtype.name else np.iinfo(dtype)
    return np.array([[0, 1], [limits.min, limits.max]], dtype)


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


def test_half_precision_in_json(server: ServerProcess, tmp_path: Path) -> None:
    """FP16 goes in and comes out; BF16 is told to be binary."""
    save_echo(tmp_path / "models" / "halves", "FP16")
    save_echo(tmp_path / "models" / "brains", "BF16")

    def body(name: str) -> dict[str, Any]:
        value = {"name": name, "datatype": name.upper(), "shape": [1, 2], "data": [0.5, 2]}
        return {"inputs": [value]}

    with serving(tmp_path / "models", tmp_path) as small:
        halves = asked(small, "halves", **body("fp16"))
        assert halves.json()["outputs"][0]["data"] == [0.5, 2.0]
        assert "binary data" in error_of(asked(small, "brains", **body("bf16")))
        with triton.InferenceServerClient(f"127.0.0.1:{small.port}") as client:
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


def test_data_may_be_flat_or_nested(server: ServerProcess) -> None:
    flat = asked(server, "numbers", inputs=[numbers([1, 2, 3, 4], [2, 2])])
    nested = asked(server, "numbers", inputs=[{**numbers([], [2, 2]), "data": [[1, 2], [3, 4]]}])
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


def test_the_asyncio_client(server: ServerProcess) -> None:
    async def ask() -> list[Any]:
        url = f"127.0.0.1:{server.port}"
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

    assert asyncio.run(ask()) == [2.0, 2.5, 3.0]


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


def test_only_who_asks_for_it_alone_gets_a_compressed_answer(server: ServerProcess) -> None:
    def coding(accepts: str) -> str | None:
        body = {"inputs": [numbers([1.0])]}
        headers = {"Accept-Encoding": accepts}
        answer = server.post("/v2/models/numbers/infer", json=body, headers=headers)
        assert answer.json()["outputs"][0]["data"] == [1.0]
        return answer.headers.get("Content-Encoding")

    assert coding("gzip") == "gzip"
    assert coding(" Deflate") == "deflate"
    assert coding("gzip, deflate, br") is None
    assert coding("identity") is None


def test_the_length_of_the_json_counts_in_the_decompressed_body(server: ServerProcess) -> None:
    head = {**numbers([], [1, 2]), "parameters": {"binary_data_size": 8}}
    del head["data"]
    text = json.dumps({"inputs": [head]}).encode()
    body = text + struct.pack("<2f", 1.5, -2)
    for coding, packed in (("gzip", gzip.compress(body)), ("deflate", zlib.compress(body))):
        headers = {"Content-Encoding": coding, "Inference-Header-Content-Length": str(len(text))}
        answer = server.post("/v2/models/numbers/infer", content=packed, headers=headers)
        assert answer.json()["outputs"][0]["data"] == [1.5, -2.0]


def test_the_shape_of_a_binary_answer(server: ServerProcess) -> None:
    body = {"inputs": [numbers([1.5, -2])], "parameters": {"binary_data_output": True}}
    answer = server.post("/v2/models/numbers/infer", json=body)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    size = int(answer.headers["Inference-Header-Content-Length"])
    assert json.loads(answer.content[:size])["outputs"][0]["parameters"] == {"binary_data_size": 8}
    assert struct.unpack("<2f", answer.content[size:]) == (1.5, -2.0)


def test_numbers_that_do_not_begin_at_a_multiple_of_their_size(server: ServerProcess) -> None:
    head = {**numbers([], [1, 3]), "parameters": {"binary_data_size": 12}}
    del head["data"]
    text = json.dumps({"inputs": [head]}).encode()
    for spaces in range(4):
        padded = text + b" " * spaces
        headers = {"Inference-Header-Content-Length": str(len(padded))}
        body = padded + struct.pack("<3f", 1, 2, 3)
        answer = server.post("/v2/models/numbers/infer", content=body, headers=headers)
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


def test_a_byte_that_is_not_0_is_true(server: ServerProcess, tmp_path: Path) -> None:
    save_echo(tmp_path / "models" / "flags", "BOOL")
    head = {"name": "bool", "datatype": "BOOL", "shape": [1, 3]}
    text = json.dumps({"inputs": [{**head, "parameters": {"binary_data_size": 3}}]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}
    with serving(tmp_path / "models", tmp_path) as small:
        answer = small.post(
            "/v2/models/flags/infer", content=text + b"\x00\x01\x02", headers=headers
        )
        assert answer.json()["outputs"][0]["data"] == [False, True, True]


def test_nan_and_infinity(client: Any, server: ServerProcess) -> None:
    odd = np.array([[np.nan, np.inf, -np.inf, 1]], np.float32)
    for binary in (True, False):
        result = client.infer(
            "numbers",
            [tensor("fp32", odd, "FP32", binary=binary)],
            outputs=[triton.InferRequestedOutput("same_fp32", binary_data=binary)],
        )
        np.testing.assert_array_equal(result.as_numpy("same_fp32"), odd)
    body = b'{"inputs":[{"name":"fp32","datatype":"FP32","shape":[1,1],"data":[NaN]}]}'
    assert b'"data":[NaN]' in server.post("/v2/models/numbers/infer", content=body).content
    # Half a surrogate pair is taken by Python's reader alone.
    half = body.replace(b'"fp32"', b'"\\ud800"')
    assert "not JSON" in error_of(server.post("/v2/models/numbers/infer", content=half))


def test_pictures_go_in_as_they_are(client: Any) -> None:
    files = [picture(1), picture(2, format="PNG")]
    name = client.get_model_metadata("cats-dogs")["inputs"][0]["name"]
    output = client.get_model_metadata("cats-dogs")["outputs"][0]["name"]
    for shape in ([2], [2, 1]):
        sent = [tensor(name, np.array(files, object).reshape(shape), "BYTES")]
        assert client.infer("cats-dogs", sent).as_numpy(output).shape == (2, 1)
    torn = [tensor(name, np.array([files[0], b"GIF89a"], object), "BYTES")]
    with pytest.raises(InferenceServerException, match=r"image\[1\]"):
        client.infer("cats-dogs", torn)


def test_the_number_of_pictures_is_limited(client: Any) -> None:
    name = client.get_model_metadata("three")["inputs"][0]["name"]
    small = picture(size=(8, 8), format="PNG")

    def ask(count: int) -> Any:
        files = np.full(count, small, object)
        return client.infer("three", [tensor(name, files, "BYTES")])

    output = client.get_model_metadata("three")["outputs"][0]["name"]
    assert len(ask(1000).as_numpy(output)) == 1000
    with pytest.raises(InferenceServerException, match=r"1001 pictures.*at most 1000"):
        ask(1001)


def test_classification(client: Any, server: ServerProcess) -> None:
    sent = [tensor("fp32", np.array([[1, 5, 10, 4], [0, 0, np.nan, 7]], np.float32), "FP32")]

    def classes(model: str, inputs: list[Any], count: int, binary: bool = True) -> Any:
        output = client.get_model_metadata(model)["outputs"][0]["name"]
        wanted = [triton.InferRequestedOutput(output, binary_data=binary, class_count=count)]
        found = client.infer(model, inputs, outputs=wanted).as_numpy(output)
        return [[t if isinstance(t, str) else t.decode() for t in row] for row in found]

    for binary in (True, False):
        assert classes("numbers", sent, 2, binary) == [
            ["10.000000:2", "5.000000:1"],
            ["7.000000:3", "0.000000:0"],
        ]
    assert [len(row) for row in classes("numbers", sent, 9)] == [4, 4]
    name = client.get_model_metadata("three")["inputs"][0]["name"]
    pictures = [tensor(name, np.array([picture()], object), "BYTES")]
    (row,) = classes("three", pictures, 3)
    assert sorted(text.split(":")[1:] for text in row) == [["0", "ant"], ["1", "bee"], ["2", "fly"]]
    scores = [float(text.split(":")[0]) for text in row]
    assert scores == sorted(scores, reverse=True)
    # One score of two labels is that of the second, the dog.
    name = client.get_model_metadata("cats-dogs")["inputs"][0]["name"]
    pictures = [tensor(name, np.array([picture()], object), "BYTES")]
    ((only,),) = classes("cats-dogs", pictures, 5)
    assert only.endswith(":0:dog")


def test_parameters_that_mean_nothing_here_are_passed_over(client: Any) -> None:
    result = client.infer(
        "half", [x(1)], sequence_id=7, sequence_start=True, priority=2, parameters={"mine": "ü"}
    )
    assert result.as_numpy("y").item() == 2.5


def test_the_time_that_a_client_allows(server: ServerProcess) -> None:
    def ask(rounds: float, **parameters: Any) -> httpx.Response:
        value = {"name": "rounds", "datatype": "FP32", "shape": [1, 1], "data": [rounds]}
        return asked(server, "slow", inputs=[value], parameters=parameters)

    assert "time" in error_of(ask(300.0, timeout=1000), 504)
    assert ask(1.0, timeout=60_000_000).status_code == 200
    assert ask(1.0, timeout=0).status_code == 200, "none"
    assert "timeout" in error_of(ask(1.0, timeout=-1))


# --- errors -------------------------------------------------------------------------------------


def test_errors_of_the_client(client: Any) -> None:
    for call, status, why in (
        (lambda: client.infer("nobody", [x(1)]), "404", "no model 'nobody'"),
        (lambda: client.infer("half", [x(1)], model_version="9"), "404", "no version '9'"),
        (lambda: client.infer("half", [x(1)], model_version="9" * 5000), "404", "no version '9"),
        (lambda: client.infer("broken", [x(1)]), "503", "failed to load"),
        (lambda: client.get_model_config("nobody"), "404", "no model 'nobody'"),
        (lambda: client.infer("half", [tensor("y", np.ones((1, 1)), "FP64")]), "400", "missing"),
    ):
        with pytest.raises(InferenceServerException, match=why) as caught:
            call()
        assert caught.value.status() == status


def test_all_problems_are_told_at_once(server: ServerProcess) -> None:
    told = error_of(
        asked(
            server,
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
        "id: ",
        "parameters.binary_data_output: ",
        "parameters.timeout: ",
        "inputs[0].datatype: ",
        "inputs[0].shape: ",
        "inputs[1].name: fp32 a second time",
        "inputs[2]: neither",
        "b: wrong type",
        "c: out of range",
        "outputs[0].parameters.classification: no classes",
        "outputs[1].name: ",
    ):
        assert field in told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"shape": [10**9, 10**9]}, "wrong shape"),
        ({"shape": [2]}, "wrong shape"),
        ({"shape": [1] * 65}, "at most 64"),
        ({"shape": [True, 2]}, "shape"),
        ({"shape": [10**9, 0], "data": []}, "rows of nothing"),
        ({"shape": [2**62, 0], "data": []}, "rows of nothing"),
        ({"shape": [0, 4], "data": []}, "no rows"),
        ({"data": None}, "neither"),
        ({"data": 5}, "not a list"),
        ({"data": [1, "2"]}, "wrong type"),
        ({"data": [1, True]}, "wrong type"),
        ({"data": [[1], 2]}, "different lengths"),
        ({"parameters": {"shared_memory_region": "a"}}, "no shared memory"),
        ({"parameters": {"binary_data_size": 8}}, "both"),
        ({"parameters": []}, "not an object"),
        ({"datatype": "FP64"}, "wrong dtype"),
        ({"name": "y"}, "unexpected"),
        ({"name": 5}, "not a name"),
    ],
)
def test_inputs_that_are_wrong(server: ServerProcess, change: dict[str, Any], told: str) -> None:
    assert told in error_of(asked(server, "numbers", inputs=[{**numbers([1, 2]), **change}]))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "empty"),
        (b"{", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'{"NaN": ' + b"[" * 100_000, "not JSON"),
        (b'{"inputs": [], "x": ' + b"[" * 2000 + b"NaN" + b"]" * 2000 + b"}", "not JSON"),
        (b"{}", "inputs: not a list"),
        (b'{"inputs": []}', "at least one"),
        (b'{"inputs": [1]}', "list of objects"),
        (b'{"inputs": [{}], "outputs": {}}', "outputs: not a list"),
        (b"\xff\xfe", "not JSON"),
    ],
)
def test_bodies_that_are_wrong(server: ServerProcess, body: bytes, told: str) -> None:
    assert told in error_of(server.post("/v2/models/numbers/infer", content=body))


def test_outputs_that_are_wrong(server: ServerProcess) -> None:
    def told(*outputs: Any) -> str:
        return error_of(asked(server, "numbers", inputs=[numbers([1])], outputs=list(outputs)))

    same = {"name": "same_fp32"}
    assert "no such output" in told({"name": "y"})
    assert "a second time" in told(same, same)
    assert "no shared memory" in told({**same, "parameters": {"shared_memory_region": "a"}})
    assert "true or false" in told({**same, "parameters": {"binary_data": 1}})
    texts = {"name": "bytes", "datatype": "BYTES", "shape": [1, 1], "data": ["a"]}
    wanted = [{"name": "same_bytes", "parameters": {"classification": 1}}]
    assert "in order" in error_of(asked(server, "texts", inputs=[texts], outputs=wanted))


def test_the_number_of_tensors_is_limited(server: ServerProcess) -> None:
    def told(count: int) -> str:
        inputs = [{**numbers([1]), "name": f"n{i}"} for i in range(count)]
        return error_of(asked(server, "numbers", inputs=inputs))

    assert "fp32: missing" in told(1000)
    assert "inputs: 1001 of them, expected at most 1000" in told(1001)


def test_a_coding_that_is_not_read_here(server: ServerProcess) -> None:
    headers = {"Content-Encoding": "br"}
    answer = server.post("/v2/models/numbers/infer", content=b"x", headers=headers)
    assert "gzip or deflate" in error_of(answer, 415)


def test_the_largest_body(folder: Path, tmp_path: Path) -> None:
    def frame(size: int) -> tuple[bytes, dict[str, str]]:
        count = (size - 200) // 4
        head = {**numbers([], [1, count]), "parameters": {"binary_data_size": count * 4}}
        del head["data"]
        text = json.dumps({"inputs": [head]}).encode()
        text = text.ljust(size - count * 4)
        return text + bytes(count * 4), {"Inference-Header-Content-Length": str(len(text))}

    models = tmp_path / "models"
    models.mkdir()
    (models / "numbers").symlink_to(folder / "numbers")
    with serving(models, tmp_path, max_body_mb=0.1) as small:
        for size, status in ((100_000, 200), (100_001, 413)):
            body, headers = frame(size)
            assert len(body) == size
            answer = small.post("/v2/models/numbers/infer", content=body, headers=headers)
            assert answer.status_code == status
            packed = {**headers, "Content-Encoding": "gzip"}
            answer = small.post(
                "/v2/models/numbers/infer", content=gzip.compress(body), headers=packed
            )
            assert answer.status_code == status
        assert "0.1 MB" in error_of(answer, 413)
