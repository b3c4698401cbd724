"""Calls of gRPC: rows by `h2load`, as `load` has requests by `wrk`, and batches of tensors by
grpcio."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import click
import grpc
import numpy as np
import orjson
from numpy.typing import NDArray

from app.api.grpc.messages import message_class
from benchmarks import cases
from benchmarks.cases import Case
from benchmarks.load import CONNECTIONS, GRACE_S, Sample
from benchmarks.tensors import TIMEOUT_S

PREDICT = "/tensorflow.serving.PredictionService/Predict"
INFER = "/inference.GRPCInferenceService/ModelInfer"
_HEADERS = ("content-type: application/grpc", "te: trailers")
_FLOAT = 1


def h2load_missing() -> bool:
    """Whether the client that rows are sent with is not installed."""
    return shutil.which("h2load") is None


def row(models: Path) -> NDArray[np.float32]:
    """The row of `cases.tabular` as the model gets it: float32 (1, fields)."""
    values = orjson.loads(cases.tabular(models).body).values()
    return np.array([[*values]], np.float32)


def v1_case(row: NDArray[np.float32]) -> Case:
    """The same row for TensorFlow Serving's REST API."""
    body = orjson.dumps({"instances": row.tolist()})
    return Case("row", cases.TABULAR, "application/json", body, _agree)


def v2_case(input: str, row: NDArray[np.float32]) -> Case:
    """The same row as a binary tensor of the Open Inference Protocol."""
    size = {"binary_data_size": row.nbytes}
    tensor = {"name": input, "datatype": "FP32", "shape": row.shape, "parameters": size}
    head = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    length = {"Inference-Header-Content-Length": str(len(head))}
    kind = "application/octet-stream"
    return Case("row", cases.TABULAR, kind, head + row.tobytes(), _agree, headers=length)


def _agree(ours: Any, theirs: Any) -> bool:
    return True  # tests/http compares them


def predict_request(model: str, input: str, array: NDArray[np.float32]) -> bytes:
    """An encoded PredictRequest of TensorFlow Serving."""
    request = message_class("tensorflow.serving.PredictRequest")()
    request.model_spec.name = model
    tensor = request.inputs[input]
    tensor.dtype = _FLOAT
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_content = array.tobytes()
    return bytes(request.SerializeToString())


def infer_request(model: str, input: str, array: NDArray[np.float32]) -> bytes:
    """An encoded ModelInferRequest of the Open Inference Protocol."""
    request = message_class("inference.ModelInferRequest")(model_name=model)
    request.inputs.add(name=input, datatype="FP32", shape=array.shape)
    request.raw_input_contents.append(array.tobytes())
    return bytes(request.SerializeToString())


def by_h2load(port: int, path: str, message: bytes, folder: Path) -> Callable[[int], Sample]:
    """The measurement of one call, on as many connections as `wrk` has."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        # h2load does not look at the status of gRPC.
        _call(channel, path, message)
    body, times = folder / "h2load.body", folder / "h2load.log"

    def measure(seconds: int) -> Sample:
        body.write_bytes(struct.pack(">BI", 0, len(message)) + message)
        times.unlink(missing_ok=True)
        command = ["h2load", "--threads", "1", "--clients", str(CONNECTIONS), "--max-concurrent"]
        command += ["1", "--duration", str(seconds), "--data", str(body), "--log-file", str(times)]
        for header in _HEADERS:
            command += ["--header", header]
        url = f"http://127.0.0.1:{port}{path}"
        done = subprocess.run(
            [*command, url], capture_output=True, text=True, timeout=seconds + GRACE_S
        )
        found = re.search(r"status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx", done.stdout)
        if done.returncode or found is None:
            raise click.ClickException(f"h2load failed on {url}: {done.stderr or done.stdout}")
        took = [int(line.split()[2]) / 1000 for line in times.read_text().splitlines()]
        return Sample(int(found[1]) / seconds, median(took), quantiles(took, n=100)[98])

    return measure


def check_floats(ours: tuple[int, bytes], theirs: tuple[int, bytes]) -> None:
    """Raises ClickException unless two servers answer their requests, each a port and a message,
    with the same numbers."""
    mine, others = _floats(*ours), _floats(*theirs)
    if mine.shape != others.shape or not np.allclose(mine, others, rtol=1e-4):
        raise click.ClickException(f"the answers differ: {mine} and {others}")


def _floats(port: int, message: bytes) -> NDArray[np.float32]:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        answer = message_class("inference.ModelInferResponse").FromString(
            _call(channel, INFER, message)
        )
    return np.frombuffer(answer.raw_output_contents[0], np.float32)


def one_after_the_other(port: int, path: str, message: bytes) -> Callable[[int], Sample]:
    """The measurement of large calls, one after the other."""

    def measure(seconds: int) -> Sample:
        took = []
        options = [("grpc.max_receive_message_length", -1)]
        with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
            start = time.perf_counter()
            while time.perf_counter() - start < seconds:
                asked = time.perf_counter()
                _call(channel, path, message)
                took.append(time.perf_counter() - asked)
            elapsed = time.perf_counter() - start
        return Sample(len(took) / elapsed, median(took) * 1000)

    return measure


def _call(channel: Any, path: str, message: bytes) -> bytes:
    try:
        answer: bytes = channel.unary_unary(path)(message, timeout=TIMEOUT_S)
        return answer
    except grpc.RpcError as error:
        said = f"{error.code().name}: {error.details()}"
        raise click.ClickException(f"{path} answers {said}") from None
