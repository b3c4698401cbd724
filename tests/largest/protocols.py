"""Requests of TensorFlow Serving and of the Open Inference Protocol."""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from typing import Any

import numpy as np
import orjson

from tests.largest.bodies import (
    BODY,
    JSON,
    ROWS,
    Largest,
    floats,
    json_list,
    many_keys,
    small_picture,
    v1_rows,
)
from tests.support import CAR


def v1() -> list[Largest]:
    def v1(model: str, verb: str = "predict") -> str:
        return f"/v1/models/{model}:{verb}"

    values = orjson.dumps([*CAR.values()])
    zipped = JSON | {"Content-Encoding": "gzip"}
    return [
        Largest("v1 rows", v1("mpg"), lambda: v1_rows(values, ROWS), JSON),
        Largest("v1 numbers", v1("numbers"), lambda: v1_rows(floats(30), ROWS), JSON),
        Largest("v1 one row", v1("numbers"), lambda: v1_rows(floats(BODY // 5), 1), JSON),
        Largest("v1 NaN", v1("numbers"), lambda: v1_rows(json_list(b"NaN", BODY // 5), 1), JSON),
        Largest("v1 objects", v1("pair"), lambda: v1_rows(_pair(10), ROWS), JSON),
        Largest("v1 objects with NaN", v1("pair"), lambda: v1_rows(_pair(10, b"NaN"), ROWS), JSON),
        Largest("v1 objects with problems", v1("pair"), lambda: v1_rows(b'{"a":1}', ROWS), JSON),
        Largest(
            "v1 inputs", v1("numbers"), lambda: b'{"inputs":%b}' % json_list(floats(30), ROWS), JSON
        ),
        Largest("v1 keys", v1("pair"), lambda: b'{"inputs":%b}' % many_keys(), JSON),
        Largest("v1 texts", v1("texts"), lambda: v1_rows(json_list(b'"ab"', BODY // 5), 1), JSON),
        Largest(
            "v1 base64",
            v1("texts"),
            lambda: v1_rows(json_list(b'{"b64":"YQ=="}', BODY // 16), 1),
            JSON,
        ),
        Largest(
            "v1 one base64",
            v1("texts"),
            lambda: v1_rows(b'[{"b64":"%b"}]' % (b"YWFh" * (BODY // 4 - 20)), 1),
            JSON,
        ),
        Largest("v1 pictures", v1("three"), _v1_pictures, JSON),
        Largest("v1 data URL", v1("three"), lambda: v1_rows(b'"%b"' % _long_url(), 1), JSON),
        Largest("v1 regress", v1("half", "regress"), lambda: _examples("regress_x_to_y"), JSON),
        Largest("v1 classify", v1("half", "classify"), lambda: _examples("classify_x_to_y"), JSON),
        Largest("v1 zeros in gzip", v1("numbers"), lambda: _gzip(b" " * BODY), zipped),
        Largest("v1 too many zeros in gzip", v1("numbers"), lambda: _gzip(bytes(10**9)), zipped),
        Largest(
            "v1 gzip of empty members", v1("numbers"), lambda: _gzip(b"") * (BODY // 21), zipped
        ),
        Largest(
            "v1 numbers in gzip", v1("numbers"), lambda: _gzip(v1_rows(floats(30), ROWS)), zipped
        ),
    ]


def v2() -> list[Largest]:
    def v2(model: str) -> str:
        return f"/v2/models/{model}/infer"

    count = BODY // 5
    numbers = np.linspace(0, 1, 3_900_000, dtype=np.float32)
    broken = numbers.copy()
    broken[::2] = np.nan
    return [
        Largest("v2 numbers", v2("numbers"), lambda: _v2_body(floats(count), count), JSON),
        Largest(
            "v2 nested numbers",
            v2("numbers"),
            lambda: _v2_body(json_list(floats(30), ROWS), 30, ROWS),
            JSON,
        ),
        Largest(
            "v2 NaN", v2("numbers"), lambda: _v2_body(json_list(b"NaN", BODY // 5), BODY // 5), JSON
        ),
        Largest(
            "v2 texts",
            v2("texts"),
            lambda: _v2_body(json_list(b'"ab"', count), count, datatype="BYTES"),
            JSON,
        ),
        _binary("v2 binary", v2("numbers"), numbers.tobytes(), len(numbers), "FP32", binary=True),
        _binary("v2 binary to JSON", v2("numbers"), numbers.tobytes(), len(numbers), "FP32"),
        _binary(
            "v2 binary to JSON with NaN", v2("numbers"), broken.tobytes(), len(numbers), "FP32"
        ),
        _binary(
            "v2 binary to gzip", v2("numbers"), numbers.tobytes(), len(numbers), "FP32", gzip=True
        ),
        _binary("v2 empty BYTES", v2("texts"), bytes(BODY // 4 * 4), BODY // 4, "BYTES"),
        _binary(
            "v2 empty BYTES to binary",
            v2("texts"),
            bytes(BODY // 4 * 4),
            BODY // 4,
            "BYTES",
            binary=True,
        ),
        Largest(
            "v2 base64",
            v2("texts"),
            lambda: _v2_base64(json_list(b'"YWFh"', count // 2), count // 2),
            JSON,
        ),
        Largest(
            "v2 one base64", v2("texts"), lambda: _v2_base64(b'["%b"]' % _long_base64(), 1), JSON
        ),
        _binary("v2 classes", v2("numbers"), numbers.tobytes(), 39, "FP32", rows=ROWS, classes=5),
        _binary(
            "v2 many classes",
            v2("numbers"),
            numbers.tobytes(),
            len(numbers),
            "FP32",
            classes=len(numbers),
        ),
        Largest("v2 index", "/v2/repository/index", lambda: many_keys(), JSON),
    ]


def _pair(count: int, value: bytes = b"0.5") -> bytes:
    return b'{"fp32":%b,"int32":%b}' % (json_list(value, count), json_list(b"1", count))


def _long_base64() -> bytes:
    """A small picture with zeros behind it."""
    return b64encode(small_picture().ljust(BODY // 4 * 3 - 300, b"\0"))


def _long_url() -> bytes:
    return b"data:image/png;base64," + _long_base64()


def _v2_base64(data: bytes, count: int) -> bytes:
    parameters = {"content_type": "base64"}
    head = {"name": "bytes", "datatype": "BYTES", "shape": [1, count], "parameters": parameters}
    return b'{"inputs":[%b,"data":%b}]}' % (json.dumps(head)[:-1].encode(), data)


def _v1_pictures() -> bytes:
    item = b'{"b64":"%b"}' % b64encode(small_picture())
    return v1_rows(item, min(1000, BODY // (len(item) + 1)))


def _examples(signature: str) -> bytes:
    return b'{"signature_name":"%b","examples":%b}' % (
        signature.encode(),
        json_list(b'{"x":[1.0]}', ROWS),
    )


def _gzip(data: bytes) -> bytes:
    stream = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return stream.compress(data) + stream.flush()


def _v2_body(data: bytes, *shape: int, datatype: str = "FP32") -> bytes:
    name = datatype.lower()
    sizes = list(shape[::-1]) if len(shape) > 1 else [1, *shape]
    head = json.dumps({"name": name, "datatype": datatype, "shape": sizes})[:-1].encode()
    return b'{"inputs":[%b,"data":%b}]}' % (head, data)


def _binary(
    name: str,
    path: str,
    data: bytes,
    width: int,
    datatype: str,
    *,
    rows: int = 1,
    binary: bool = False,
    gzip: bool = False,
    classes: int = 0,
) -> Largest:
    one = {
        "name": datatype.lower(),
        "datatype": datatype,
        "shape": [rows, width],
        "parameters": {"binary_data_size": len(data)},
    }
    wanted: dict[str, Any] = {"binary_data": binary}
    if classes:
        wanted = {"classification": classes}
    out = {"name": f"same_{datatype.lower()}", "parameters": wanted}
    head = json.dumps({"inputs": [one], "outputs": [out]}).encode()
    headers = {
        "Inference-Header-Content-Length": str(len(head)),
        "Content-Type": "application/octet-stream",
        **({"Accept-Encoding": "gzip"} if gzip else {}),
    }
    return Largest(name, path, lambda: head + data, headers)
