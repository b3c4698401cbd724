"""The same tensors through every protocol of a server."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import grpc
import httpx
import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from app.api.v2.tensors import DTYPES
from app.serving.tensors import numpy_dtype
from tests.rpc import INFER, PATIENCE_S, Serving
from tests.support import ServerProcess

Array = NDArray[Any]
Arrays = Mapping[str, Array]
DATATYPES = {dtype: datatype for datatype, dtype in DTYPES.items()}
# What v2 has in JSON neither as a request nor as an answer; texts there have base64 for requests.
BINARY_ONLY = ("BF16", "BYTES")
# The fields of typed values of ModelInfer; FP16 and BF16 have none.
CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def datatype_of(array: Array) -> str:
    return DATATYPES["string" if array.dtype == object else array.dtype.name]


def in_json(value: Any) -> Any:
    """Nested lists, with texts as `{"b64": …}`."""
    if isinstance(value, bytes):
        return {"b64": b64encode(value).decode()}
    return [in_json(each) for each in value] if isinstance(value, list) else value


def listed(array: Array) -> Any:
    """Nested lists of what JSON has."""
    # NumPy itself does not know what bfloat16 is.
    plain = array.astype(np.float32) if array.dtype == ml_dtypes.bfloat16 else array
    return in_json(plain.tolist())


def raw_bytes(array: Array) -> bytes:
    """As v2 has it on the wire."""
    if array.dtype != object:
        return array.tobytes()
    return b"".join(len(text).to_bytes(4, "little") + text for text in array.ravel().tolist())


def from_raw(data: bytes, datatype: str, shape: list[int]) -> Array:
    if datatype != "BYTES":
        return np.frombuffer(data, numpy_dtype(DTYPES[datatype])).reshape(shape)
    texts, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        texts.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return np.array([*texts, None], object)[:-1].reshape(shape)


def from_json(value: Any, datatype: str) -> Array:
    """Nested lists, or a number, as an array."""
    if datatype == "BF16":
        return np.array(value, np.float32).astype(ml_dtypes.bfloat16)
    found = np.array(value, numpy_dtype(DTYPES[datatype]))
    if datatype == "BYTES":
        flat = [text.encode() if isinstance(text, str) else text for text in found.ravel()]
        found = np.array([*flat, None], object)[:-1].reshape(found.shape)
    return found


class Refused(Exception):
    """What a protocol says in place of an answer."""


class Protocols:
    """Clients of all protocols for one server. Each method sends arrays by the names of inputs,
    and returns them by the names of outputs. Raises Refused."""

    def __init__(self, server: ServerProcess) -> None:
        self.http = httpx.Client(base_url=server.url, timeout=PATIENCE_S)
        self.channel = grpc.insecure_channel(server.grpc)
        self._tfs = Serving(self.channel)
        self._types: dict[str, dict[str, str]] = {}

    def close(self) -> None:
        self.http.close()
        self.channel.close()

    def types(self, model: str) -> dict[str, str]:
        """The datatypes of outputs."""
        if model not in self._types:
            described = self.http.get(f"/v2/models/{model}").raise_for_status().json()
            self._types[model] = {t["name"]: t["datatype"] for t in described["outputs"]}
        return self._types[model]

    def native(self, model: str, arrays: Arrays) -> dict[str, Array]:
        """Rows; texts must be UTF-8 and numbers finite."""
        rows = {name: _native(array) for name, array in arrays.items()}
        predictions = self._post(f"/api/{model}", rows)["predictions"]
        types = self.types(model)
        if len(types) == 1:
            predictions = [{next(iter(types)): each} for each in predictions]
        return {n: from_json([row[n] for row in predictions], t) for n, t in types.items()}

    def v1(self, model: str, arrays: Arrays) -> dict[str, Array]:
        """Columns, as JSON."""
        body = {"inputs": {name: listed(array) for name, array in arrays.items()}}
        outputs = self._post(f"/v1/models/{model}:predict", body)["outputs"]
        types = self.types(model)
        if len(types) == 1:
            outputs = {next(iter(types)): outputs}
        return {name: from_json(_plain(outputs[name]), types[name]) for name in outputs}

    def v2_json(self, model: str, arrays: Arrays) -> dict[str, Array]:
        """JSON, where v2 has it; `BF16`, and answers of texts, as binary data beside it."""
        return self._v2(model, arrays, binary=False)

    def v2_binary(self, model: str, arrays: Arrays) -> dict[str, Array]:
        return self._v2(model, arrays, binary=True)

    def tfs(self, model: str, arrays: Arrays) -> dict[str, Array]:
        """TensorFlow's own function makes `tensor_content`, or typed values of a single one."""
        try:
            return self._tfs.predict(model, **arrays)
        except grpc.RpcError as error:
            raise Refused(error.details()) from None

    def v2_grpc(self, model: str, arrays: Arrays) -> dict[str, Array]:
        return self._infer(model, arrays, typed=False)

    def v2_grpc_typed(self, model: str, arrays: Arrays) -> dict[str, Array]:
        """Not for half types, which have no typed values."""
        return self._infer(model, arrays, typed=True)

    def _post(self, path: str, body: Any) -> Any:
        answer = self.http.post(path, content=json.dumps(body))
        if answer.status_code != 200:
            raise Refused(answer.text)
        return answer.json()

    def _v2(self, model: str, arrays: Arrays, *, binary: bool) -> dict[str, Array]:
        inputs: list[dict[str, Any]] = []
        parts: list[bytes] = []
        for name, array in arrays.items():
            datatype = datatype_of(array)
            one: dict[str, Any] = {"name": name, "datatype": datatype, "shape": [*array.shape]}
            if binary or datatype == "BF16":
                parts.append(raw_bytes(array))
                one["parameters"] = {"binary_data_size": len(parts[-1])}
            elif datatype == "BYTES":
                one["parameters"] = {"content_type": "base64"}
                one["data"] = [b64encode(text).decode() for text in array.ravel()]
            else:
                one["data"] = array.ravel().tolist()
            inputs.append(one)
        outputs = [
            {"name": name, "parameters": {"binary_data": binary or datatype in BINARY_ONLY}}
            for name, datatype in self.types(model).items()
        ]
        head = json.dumps({"inputs": inputs, "outputs": outputs}).encode()
        length = {"Inference-Header-Content-Length": str(len(head))}
        content = b"".join([head, *parts])
        answer = self.http.post(f"/v2/models/{model}/infer", content=content, headers=length)
        if answer.status_code != 200:
            raise Refused(answer.text)
        at = int(answer.headers.get("Inference-Header-Content-Length", len(answer.content)))
        found = {}
        for each in json.loads(answer.content[:at])["outputs"]:
            if "data" in each:
                flat = from_json(each["data"], each["datatype"])
                found[each["name"]] = flat.reshape(each["shape"])
                continue
            size = each["parameters"]["binary_data_size"]
            data = answer.content[at : at + size]
            found[each["name"]] = from_raw(data, each["datatype"], each["shape"])
            at += size
        return found

    def _infer(self, model: str, arrays: Arrays, *, typed: bool) -> dict[str, Array]:
        request = service_pb2.ModelInferRequest(model_name=model)
        for name, array in arrays.items():
            datatype = datatype_of(array)
            one = request.inputs.add(name=name, datatype=datatype, shape=array.shape)
            if typed:
                getattr(one.contents, CONTENTS[datatype]).extend(array.ravel().tolist())
            else:
                request.raw_input_contents.append(raw_bytes(array))
        try:
            ask = self.channel.unary_unary(INFER)
            encoded = ask(request.SerializeToString(), timeout=PATIENCE_S)
        except grpc.RpcError as error:
            raise Refused(error.details()) from None
        answer = service_pb2.ModelInferResponse.FromString(encoded)
        return {
            each.name: from_raw(data, each.datatype, [*each.shape])
            for each, data in zip(answer.outputs, answer.raw_output_contents, strict=True)
        }


def _native(array: Array) -> Any:
    """Nested lists, with texts as texts."""
    if array.dtype == object:
        flat = [text.decode() for text in array.ravel()]
        array = np.array([*flat, None], object)[:-1].reshape(array.shape)
    return listed(array)


def _plain(value: Any) -> Any:
    """A value of v1 with texts as bytes."""
    if isinstance(value, dict):
        return b64decode(value["b64"])
    return [_plain(each) for each in value] if isinstance(value, list) else value
