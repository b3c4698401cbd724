"""The Open Inference Protocol over gRPC, through Triton's own client."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from app.api.v2.tensors import DTYPES
from app.serving.tensors import numpy_dtype
from tests.models import ECHOED
from tests.rpc import Array, code_and_details, fed, serving_stubs, triton_client
from tests.support import ServerProcess, picture
from tests.v2 import tensor

X = np.array([[1], [2]], np.float32)


@pytest.fixture(scope="module")
def client(v2: ServerProcess) -> Iterator[Any]:
    with triton_client(v2.grpc) as client:
        yield client


def refused(client: Any, code: str, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(InferenceServerException) as caught:
        client.infer(*args, **kwargs)
    found, details = code_and_details(caught)
    assert found == code, details
    return details


def samples(datatype: str) -> Array:
    """Values of a datatype, the extreme ones among them: (2, 3)."""
    if datatype == "BYTES":
        return np.array([[b"", b"\xff\x00", b"text"], ["ü".encode(), b"a" * 300, b"\n"]], object)
    dtype = numpy_dtype(DTYPES[datatype])
    if dtype == np.bool_:
        return np.array([[True, False, True], [False, False, True]])
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return np.array([[info.min, 0, info.max], [1, 2, 3]], dtype)
    return np.array([[np.nan, np.inf, -np.inf], [-0.0, 1.5, 3]], dtype)


# --- what there is --------------------------------------------------------------------------------


def test_health(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("half")
    assert client.is_model_ready("half", "3")
    for name, version in (("half", "4"), ("broken", ""), ("nobody", "")):
        assert not client.is_model_ready(name, version)


def test_what_is_told_is_what_v2_tells(v2: ServerProcess, client: Any) -> None:
    server = v2.get("/v2").json()
    assert client.get_server_metadata(as_json=True) == server
    for name in ("echo", "half", "two"):
        told = client.get_model_metadata(name, as_json=True)
        assert (told["name"], told["platform"]) == (name, "tensorflow_savedmodel")
        wanted = v2.get(f"/v2/models/{name}").json()
        for side in ("inputs", "outputs"):
            shown = [{**t, "shape": [int(size) for size in t["shape"]]} for t in told[side]]
            assert shown == wanted[side]
        config = client.get_model_config(name).config
        wanted = v2.get(f"/v2/models/{name}/config").json()
        assert config.max_batch_size == wanted["max_batch_size"]
        assert [list(t.dims) for t in config.input] == [t["dims"] for t in wanted["input"]]
    with pytest.raises(InferenceServerException, match="there is no model 'nobody'"):
        client.get_model_metadata("nobody")


def test_the_index_and_statistics(v2: ServerProcess, client: Any) -> None:
    index = client.get_model_repository_index().models
    assert [m.name for m in index] == [m["name"] for m in v2.post("/v2/repository/index").json()]
    states = {m.name: (m.state, bool(m.reason)) for m in index}
    assert states["broken"] == ("UNAVAILABLE", True)
    assert states["half"] == ("READY", False)
    before = client.get_inference_statistics("half").model_stats[0]
    client.infer("half", [fed("x", X, "FP32")])
    (after,) = client.get_inference_statistics("half", "3").model_stats
    assert after.inference_count == before.inference_count + 2
    assert after.inference_stats.success.count == before.inference_stats.success.count + 1
    every = client.get_inference_statistics().model_stats
    assert {m.name for m in every} >= {"half", "echo"}


@pytest.mark.parametrize(
    ("method", "arguments", "reason"),
    [
        ("load_model", ("half",), "models folder"),
        ("unload_model", ("half",), "models folder"),
        ("register_system_shared_memory", ("r", "/r", 8), "shared memory is not supported"),
        ("get_system_shared_memory_status", (), "shared memory is not supported"),
        ("unregister_cuda_shared_memory", (), "shared memory is not supported"),
        ("get_trace_settings", (), "tracing is not supported"),
        ("get_log_settings", (), "KERAPORT_LOG_LEVEL"),
    ],
)
def test_what_is_refused_says_why(
    client: Any, method: str, arguments: tuple[Any, ...], reason: str
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        getattr(client, method)(*arguments)
    code, details = code_and_details(caught)
    assert (code, reason in details) == ("UNIMPLEMENTED", True)


# --- inference ------------------------------------------------------------------------------------


def test_every_datatype_comes_back_bit_by_bit(v2: ServerProcess, client: Any) -> None:
    """Through this protocol in both forms, and through TensorFlow Serving's."""
    arrays = {datatype.lower(): samples(datatype) for datatype in ECHOED}
    raw = client.infer("echo", [raw_input(n, a, n.upper()) for n, a in arrays.items()])
    with serving_stubs(v2.grpc) as tfs:
        served = tfs.predict("echo", **arrays)
    for name, array in arrays.items():
        for found in (answered(raw, name, array), served[f"same_{name}"]):
            if found.dtype == object:
                assert found.tolist() == array.tolist()
            else:
                assert found.dtype == array.dtype
                # NumPy itself does not know what bfloat16 is.
                same = found.astype(np.float64), array.astype(np.float64)
                assert np.array_equal(*same, equal_nan=True)
                assert array.dtype.itemsize < 8 or array.dtype.kind == "f" or (found == array).all()
        assert raw.get_output(f"same_{name}").datatype == name.upper()


def answered(answer: Any, name: str, array: Array) -> Array:
    """An output like the array that was sent."""
    if array.dtype == object:
        return answer.as_numpy(f"same_{name}")  # type: ignore[no-any-return]
    response = answer.get_response()
    place = [each.name for each in response.outputs].index(f"same_{name}")
    found = np.frombuffer(response.raw_output_contents[place], array.dtype)
    return found.reshape(response.outputs[place].shape)


@pytest.mark.parametrize(("model", "datatype"), [("halves", "FP16"), ("brains", "BF16")])
def test_half_precision(v2: ServerProcess, client: Any, model: str, datatype: str) -> None:
    dtype = np.dtype(np.float16 if datatype == "FP16" else ml_dtypes.bfloat16)
    name = datatype.lower()
    array = np.array([[1.5, np.nan, -np.inf]], dtype)
    answer = client.infer(model, [raw_input(name, array, datatype)]).get_response()
    assert answer.outputs[0].datatype == datatype
    assert answer.raw_output_contents[0] == array.tobytes()
    with serving_stubs(v2.grpc) as tfs:
        found = tfs.predict(model, **{name: array})[f"same_{name}"]
    assert found.tobytes() == array.tobytes()


def raw_input(name: str, array: Array, datatype: str) -> Any:
    """An input as its bytes, also of types that the client does not know."""
    if array.dtype == object:
        return fed(name, array, datatype)
    made = triton.InferInput(name, list(array.shape), datatype)
    made._raw_content = array.tobytes()
    return made


def test_typed_contents(v2: ServerProcess) -> None:
    request = service_pb2.ModelInferRequest(model_name="half", id="7")
    sent = request.inputs.add(name="x", datatype="FP32", shape=[2, 1])
    sent.contents.fp32_contents.extend([1, 2])
    with serving_stubs(v2.grpc) as stubs:
        path = "/inference.GRPCInferenceService/ModelInfer"
        encoded = stubs.channel.unary_unary(path)(request.SerializeToString())
    answer = service_pb2.ModelInferResponse.FromString(encoded)
    assert (answer.id, answer.model_name, answer.model_version) == ("7", "half", "3")
    # As Triton answers, whatever the form of the request.
    assert np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == [2.5, 3.0]


def test_outputs_by_name_and_the_best_classes(v2: ServerProcess, client: Any) -> None:
    x = fed("x", X, "FP32")
    wanted = triton.InferRequestedOutput("y")
    assert client.infer("half", [x], outputs=[wanted]).as_numpy("y").tolist() == [[2.5], [3.0]]
    gone = triton.InferRequestedOutput("z")
    assert "z: no such output" in refused(client, "INVALID_ARGUMENT", "half", [x], outputs=[gone])
    best = triton.InferRequestedOutput("same_fp32", class_count=2)
    rows = np.array([[0.1, 0.7, 0.2]], np.float32)
    answer = client.infer("numbers", [fed("fp32", rows, "FP32")], outputs=[best])
    found = answer.as_numpy("same_fp32")
    assert found.tolist() == [[b"0.700000:1", b"0.200000:2"]]


def test_encoded_pictures(v2: ServerProcess, client: Any) -> None:
    import tritonclient.http as http

    files = np.array([picture(1), picture(2)], object)
    name = client.get_model_metadata("three").inputs[0].name
    found = client.infer("three", [fed(name, files, "BYTES")])
    output = found.get_response().outputs[0].name
    with http.InferenceServerClient(f"127.0.0.1:{v2.port}") as other:
        wanted = other.infer("three", [tensor(name, files, "BYTES")]).as_numpy(output)
    assert np.array_equal(found.as_numpy(output), wanted)
    broken = fed(name, np.array([b"no picture"], object), "BYTES")
    assert "not a picture" in refused(client, "INVALID_ARGUMENT", "three", [broken])


def test_refusals(client: Any) -> None:
    x = fed("x", X, "FP32")
    assert "there is no model 'nobody'" in refused(client, "NOT_FOUND", "nobody", [x])
    assert refused(client, "NOT_FOUND", "half", [x], model_version="9")
    assert "failed to load" in refused(client, "UNAVAILABLE", "broken", [x])
    wrong = fed("x", np.ones((2, 1), np.int32), "INT32")
    more = fed("y", X, "FP32")
    details = refused(client, "INVALID_ARGUMENT", "half", [wrong, more])
    assert "2 problems" in details
    assert "x: wrong dtype: sent INT32" in details
    assert "y: unexpected" in details


def test_empty_batches_say_so(client: Any) -> None:
    empty = fed("x", np.ones((0, 1), np.float32), "FP32")
    assert "no rows" in refused(client, "INVALID_ARGUMENT", "half", [empty])


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests(client: Any, algorithm: str) -> None:
    rows = np.zeros((5000, 1), np.float32)
    found = client.infer("half", [fed("x", rows, "FP32")], compression_algorithm=algorithm)
    assert (found.as_numpy("y") == 2).all()


def test_many_at_a_time(v2: ServerProcess, client: Any) -> None:
    rows = [np.array([[i]], np.float32) for i in range(64)]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda row: client.infer("half", [fed("x", row, "FP32")]), rows))
    assert [each.as_numpy("y").item() for each in found] == [2 + i / 2 for i in range(64)]


def test_the_client_without_waiting(client: Any) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    x = fed("x", X, "FP32")
    client.async_infer("half", [x], lambda result, error: answers.put(result or error))
    assert answers.get(timeout=60).as_numpy("y").tolist() == [[2.5], [3.0]]


# --- streams --------------------------------------------------------------------------------------


def test_a_stream_answers_in_order_and_goes_on_after_an_error(client: Any) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    try:
        for i in range(40):
            name = "x" if i != 7 else "z"
            sent = fed(name, np.array([[i]], np.float32), "FP32")
            client.async_stream_infer("half", [sent], request_id=str(i))
        for i in range(40):
            result, error = answers.get(timeout=60)
            if i == 7:
                assert "z: unexpected" in error.message()
            else:
                assert result.get_response().id == str(i)
                assert result.as_numpy("y").item() == 2 + i / 2
    finally:
        client.stop_stream()


def test_each_request_of_a_stream_is_logged(v2: ServerProcess, client: Any) -> None:
    start = len(v2.log())
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put(error))
    for _ in range(3):
        client.async_stream_infer("half", [fed("x", X, "FP32")])
    assert [answers.get(timeout=60) for _ in range(3)] == [None] * 3
    client.stop_stream()
    lines = v2.requests(start, path="/inference.GRPCInferenceService/ModelStreamInfer")
    assert [line["rows"] for line in lines] == [2, 2, 2]
    assert len({line["id"] for line in lines}) == 3


# --- texts ----------------------------------------------------------------------------------------


def prompt(text: bytes = b"a neural network", **parameters: Any) -> dict[str, Any]:
    sent = fed("text_input", np.array([text], object), "BYTES")
    return {"inputs": [sent], "parameters": {"words": 12, "random_seed": 7, **parameters}}


def test_a_text_word_by_word(shipped: ServerProcess) -> None:
    asked = {"seed": "a neural network", "words": 12, "random_seed": 7}
    (whole,) = shipped.post("/api/patents", json=asked).json()["predictions"]
    answers: queue.Queue[Any] = queue.Queue()
    with triton_client(shipped.grpc) as client:
        found = client.infer("patents", **prompt()).as_numpy("text_output").tolist()
        assert found == [whole["generated"].encode()]
        client.start_stream(lambda result, error: answers.put((result, error)))
        try:
            client.async_stream_infer("patents", request_id="1", **prompt())
            client.async_stream_infer("patents", request_id="2", **prompt(b""))
            words = []
            while True:
                result, error = answers.get(timeout=60)
                assert error is None
                response = result.get_response()
                assert response.id == "1"
                if response.parameters["triton_final_response"].bool_param:
                    break
                words += result.as_numpy("text_output").tolist()
            # The next request of the stream.
            assert "seed: empty" in answers.get(timeout=60)[1].message()
        finally:
            client.stop_stream()
    assert len(words) == 12
    assert b"".join(words) == found[0]


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        (prompt(b""), "seed: empty"),
        (prompt(b"\xff"), "text_input: no such text"),
        (prompt(words=10**6), "words: out of range"),
        (prompt(diversity="much"), "diversity: wrong type"),
        (prompt(b"a" * 200_000), "text_input: too long"),
        (prompt() | {"inputs": [fed("text_input", X, "FP32")]}, "text_input alone: BYTES"),
    ],
)
def test_texts_that_cannot_be_continued(
    shipped: ServerProcess, sent: dict[str, Any], problem: str
) -> None:
    with triton_client(shipped.grpc) as client:
        assert problem in refused(client, "INVALID_ARGUMENT", "patents", **sent)


def test_programs_may_still_bring_their_own_ids(shipped: ServerProcess) -> None:
    with triton_client(shipped.grpc) as client:
        (described,) = client.get_model_metadata("patents").inputs
        dtype = numpy_dtype(DTYPES[described.datatype])
        ids = fed(described.name, np.ones((1, 50), dtype), described.datatype)
        assert client.infer("patents", [ids]).get_response().outputs[0].shape[0] == 1
