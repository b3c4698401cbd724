"""How each server wants to be asked, and what it answers.

A dialect makes the request of an input and reads the answer to it. All get the same JSON row and
the same form with a file where their protocols allow that.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import orjson
from numpy.typing import NDArray

from benchmarks.load import Request
from benchmarks.peers.cases import PICTURE, ROW, Answer, Case

BOUNDARY = "benchmark-5f2b1c"
JSON = {"Content-Type": "application/json"}
BINARY = {"Content-Type": "application/octet-stream"}
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
# Of Triton's binary tensor data extension.
HEAD = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class Dialect:
    """ask: case, input and address of a server to the URL and the request. read: case and body of
    an answer to what it means."""

    ask: Callable[[Case, Any, str], tuple[str, Request]]
    read: Callable[[Case, bytes], Answer]


def _form(name: str, file: bytes) -> Request:
    head = (
        f"--{BOUNDARY}\r\n"
        f'Content-Disposition: form-data; name="{name}"; filename="picture.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    return Request(FORM, head.encode() + file + f"\r\n--{BOUNDARY}--\r\n".encode())


def _floats(data: bytes) -> NDArray[np.float32]:
    return np.frombuffer(data, np.float32)


# Keraport: its own API, and for tensors the Open Inference Protocol.


def _ask_keraport(case: Case, payload: Any, base: str) -> tuple[str, Request]:
    if case.kind == ROW:
        return f"{base}/api/{case.model}", Request(JSON, orjson.dumps(payload))
    if case.kind == PICTURE:
        return f"{base}/api/{case.model}", _form("image", payload)
    url = f"{base}/v2/models/{case.model}"
    (described,) = httpx.get(url, timeout=60).raise_for_status().json()["inputs"]
    return f"{url}/infer", _binary_tensor(described["name"], "FP32", payload.shape, payload)


def _binary_tensor(name: str, datatype: str, shape: tuple[int, ...], data: Any) -> Request:
    raw = data if isinstance(data, bytes) else data.tobytes()
    tensor = {
        "name": name,
        "datatype": datatype,
        "shape": shape,
        "parameters": {"binary_data_size": len(raw)},
    }
    binary = datatype != "BYTES"
    head = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": binary}})
    return Request({**BINARY, HEAD: str(len(head))}, head + raw)


def _read_keraport(case: Case, body: bytes) -> Answer:
    if case.kind not in (ROW, PICTURE):
        return _read_binary(body)
    (prediction,) = orjson.loads(body)["predictions"]
    if case.kind == ROW:
        (number,) = prediction.values()
        return float(number)
    return prediction["label"], prediction["probability"]


def _read_binary(body: bytes) -> Answer:
    """One binary tensor after the JSON, whose length a header has; here the tensor tells it."""
    end = body.index(b"binary_data_size") + len(b"binary_data_size")
    size = int(body[end : end + 20].split(b":")[1].split(b"}")[0].split(b",")[0])
    return _floats(body[-size:])


# Flask and FastAPI.


def _ask_plain(case: Case, payload: Any, base: str) -> tuple[str, Request]:
    url = f"{base}/{case.kind}"
    if case.kind == ROW:
        return url, Request(JSON, orjson.dumps(payload))
    if case.kind == PICTURE:
        return url, _form("image", payload)
    return url, Request(BINARY, payload.tobytes())


def _read_plain(case: Case, body: bytes) -> Answer:
    if case.kind not in (ROW, PICTURE):
        return _floats(body)
    answer = orjson.loads(body)
    if case.kind == ROW:
        return float(answer["prediction"])
    return answer["label"], answer["probability"]


# LitServe reads JSON and forms only.


def _ask_litserve(case: Case, payload: Any, base: str) -> tuple[str, Request]:
    if case.kind in (ROW, PICTURE):
        return _ask_plain(case, payload, base)
    body = orjson.dumps({"tensor": base64.b64encode(payload.tobytes()).decode()})
    return f"{base}/{case.kind}", Request(JSON, body)


def _read_litserve(case: Case, body: bytes) -> Answer:
    if case.kind in (ROW, PICTURE):
        return _read_plain(case, body)
    return _floats(base64.b64decode(orjson.loads(body)["tensor"]))


# BentoML: what is batched comes as a list.


def _ask_bentoml(case: Case, payload: Any, base: str) -> tuple[str, Request]:
    url = f"{base}/{case.kind}"
    if case.kind == ROW:
        return url, Request(JSON, orjson.dumps({"rows": [payload]}))
    if case.kind == PICTURE:
        return url, _form("images", payload)
    return _ask_plain(case, payload, base)


def _read_bentoml(case: Case, body: bytes) -> Answer:
    if case.kind in (ROW, PICTURE):
        (answer,) = orjson.loads(body)
        return _read_plain(case, orjson.dumps(answer))
    return _read_plain(case, body)


# Triton: the Open Inference Protocol, where a row has no names and a file is a tensor of bytes.


def _ask_triton(case: Case, payload: Any, base: str) -> tuple[str, Request]:
    url = f"{base}/v2/models/{case.kind}/infer"
    if case.kind == ROW:
        values = list(payload.values())
        tensor = {"name": "row", "datatype": "FP32", "shape": [1, len(values)], "data": values}
        return url, Request(JSON, orjson.dumps({"inputs": [tensor]}))
    if case.kind == PICTURE:
        file = struct.pack("<I", len(payload)) + payload
        return url, _binary_tensor("image", "BYTES", (1, 1), file)
    return url, _binary_tensor("tensor", "FP32", payload.shape, payload)


def _read_triton(case: Case, body: bytes) -> Answer:
    if case.kind not in (ROW, PICTURE):
        return _read_binary(body)
    outputs = {each["name"]: each["data"][0] for each in orjson.loads(body)["outputs"]}
    if case.kind == ROW:
        return float(outputs["prediction"])
    return outputs["label"], outputs["probability"]


KERAPORT = Dialect(_ask_keraport, _read_keraport)
PLAIN = Dialect(_ask_plain, _read_plain)
LITSERVE = Dialect(_ask_litserve, _read_litserve)
BENTOML = Dialect(_ask_bentoml, _read_bentoml)
TRITON = Dialect(_ask_triton, _read_triton)
