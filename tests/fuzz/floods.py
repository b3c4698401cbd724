"""Requests of a few ideas and many bytes, up to the limits: what froze or filled a server before.

Each of `FLOODS` makes a request of about `size` bytes, deterministically.
"""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

from tests.fuzz.pictures import flat_picture
from tests.fuzz.request import Piece, Request, post
from tests.fuzz.seeds import form, part, v2_bytes
from tests.support import CAR

# The default of KERAPORT_MAX_BODY_MB, less than a head or a delimiter takes.
MOST = 15_900_000
ROWS = 100_000  # KERAPORT_MAX_ROWS
_JSON = "application/json"
_CAR = json.dumps(CAR).encode()


def _times(size: int, data: bytes, most: int = 10**9) -> int:
    # A number takes more than its sign: up to 7 digits.
    return max(1, min(most, size // (len(data) + (6 if b"#" in data else 0))))


def _many(size: int, data: bytes, most: int = 10**9) -> Piece:
    return Piece(data, _times(size, data, most), numbered=b"#" in data)


def _csv(head: bytes, row: bytes, tail: bytes = b"", model: str = "sums") -> Make:
    """A CSV that repeats something after its head."""
    return lambda size: post(f"/api/{model}", "text/csv", head, _many(size, row), tail)


def _json(
    target: str, head: bytes, item: bytes, tail: bytes, most: int = 10**9, kind: str = _JSON
) -> Make:
    """A body that repeats something between its head and its tail."""
    return lambda size: post(target, kind, head, _many(size, item, most), tail)


def _gzip_members(size: int) -> Request:
    member = gzip.compress(b"", mtime=0)
    last = gzip.compress(b'{"instances": [[1, 2, 3]]}', mtime=0)
    request = post("/v1/models/sums:predict", _JSON, _many(size, member), last)
    return request.with_headers(Content_Encoding="gzip")


def _bomb(target: str, coding: str) -> Make:
    def make(size: int) -> Request:
        # A body may have as many bytes unpacked as packed: what shrinks to 1/1000 is refused.
        text = b'{"instances": [' + b" " * min(size * 1000, 200_000_000) + b"]}"
        packed = zlib.compress(text, 9) if coding == "deflate" else gzip.compress(text, mtime=0)
        return post(target, _JSON, packed).with_headers(Content_Encoding=coding)

    return make


def _binary(model: str, name: str, kind: str, element: bytes, shape: Callable[[int], Any]) -> Make:
    def make(size: int) -> Request:
        many = _many(size, element)
        count = len(element) * many.times
        tensor = {"name": name, "datatype": kind, "shape": shape(many.times)}
        tensor["parameters"] = {"binary_data_size": count}
        head = json.dumps({"inputs": [tensor]}).encode()
        request = post(f"/v2/models/{model}/infer", "application/octet-stream", head, many)
        return request.with_headers(Inference_Header_Content_Length=str(len(head)))

    return make


def _pictures(target: str, count: int, mode: str, side: int, kind: str) -> Make:
    def make(size: int) -> Request:
        small = max(64, round(side * (size / MOST) ** 0.5))
        one = part("image", flat_picture(mode, small, kind), "a.png")
        return form(target, Piece(one, max(1, min(count, MOST // len(one)))))

    return make


def _v2_pictures(size: int) -> Request:
    one = v2_bytes([flat_picture("P", max(64, round(4000 * (size / MOST) ** 0.5)), "PNG")])
    count = min(100, max(1, size // len(one)))
    tensor: dict[str, Any] = {"name": "input_layer", "datatype": "BYTES", "shape": [count]}
    tensor["parameters"] = {"binary_data_size": len(one) * count}
    head = json.dumps({"inputs": [tensor]}).encode()
    request = post("/v2/models/three/infer", "application/octet-stream", head, Piece(one, count))
    return request.with_headers(Inference_Header_Content_Length=str(len(head)))


def _chunks(size: int) -> Request:
    body = post("/api/sums", "text/csv", b"alpha,beta,gamma\n", _many(size // 50, b"1,2,3\n"))
    return Request(body.target, headers=body.headers, body=body.body, framing="chunked", chunk=1)


def _headers(size: int) -> Request:
    count = max(1, size // 20_000)
    headers = tuple((f"X-Header-{i}", "value" * 10) for i in range(count))
    return Request("/api/models", "GET", headers)


def _address(size: int) -> Request:
    return Request("/api/models?" + "a=1&" * max(1, size // 8_000), "GET")


def _many_models(size: int) -> Request:
    return form("/predict", Piece(part("image", flat_picture("RGB", 64, "PNG"), "a.png"), 1))


def _matrix(model: str, tokens: int) -> Make:
    """Rows of so many tokens."""
    row = b"[" + b"2," * (tokens - 1) + b"2],"
    tail = b"[" + b"2," * (tokens - 1) + b"2]]}"
    return _json(f"/v1/models/{model}:predict", b'{"instances": [', row, tail, ROWS - 1)


@cache
def _csv_part() -> bytes:
    return part("file", b"alpha,beta,gamma\n", "rows.csv", "text/csv")[:-2]


def _form_head() -> bytes:
    return part("image", b"", "a.png")[:-4]


Make = Callable[[int], Request]
_V1 = "/v1/models/sums:predict"
_FORM = "application/x-www-form-urlencoded"
_SUM = b'{"alpha": 1, "beta": 2, "gamma": 3},'
FLOODS: dict[str, Make] = {
    "csv-columns": _csv(b"alpha", b",c#", b"\n1\n"),
    "csv-same-columns": _csv(b"alpha", b",beta", b"\n1\n"),
    "csv-blank-lines": _csv(b"alpha,beta,gamma\n", b"\n", b"1,2,3\n"),
    "csv-blank-cells": _csv(b"alpha,beta,gamma\n", b" , , \n", b"1,2,3\n"),
    "csv-rows": lambda size: post(
        "/api/sums", "text/csv", b"alpha,beta,gamma\n", _many(size, b"1,2,3\n", ROWS)
    ),
    "csv-more-rows": _csv(b"alpha,beta,gamma\n", b"1,2,3\n"),
    "csv-wrong-rows": _csv(b"alpha,beta,gamma\n", b"x,,#\n"),
    "csv-cells": _csv(b"alpha,beta,gamma\n", b"1,", b"\n"),
    "csv-quotes": _csv(b'alpha,beta,gamma\n"', b'""', b'",2,3\n'),
    "csv-open-quote": _csv(b'alpha,beta,gamma\n"', b"1,2,3\n"),
    "csv-page": lambda size: form(
        "/models/sums", _csv_part(), _many(size, b"1,2,3\n", ROWS), b"\r\n"
    ),
    "csv-page-columns": lambda size: form(
        "/models/sums", _csv_part(), _many(size, b"c#,"), b"alpha\n1\r\n"
    ),
    "keys": _json("/api/mpg", b"{", b'"k#": 0,', b'"cylinders": 8}'),
    "same-keys": _json("/api/mpg", b"{", b'"weight": 0,', b'"cylinders": 8}'),
    "rows": _json("/api/sums", b"[", _SUM, _SUM[:-1] + b"]", ROWS - 1),
    "more-rows": _json("/api/sums", b"[", _SUM, _SUM[:-1] + b"]"),
    "empty-rows": _json("/api/sums", b"[", b"{},", b"{}]", ROWS - 1),
    "wrong-rows": _json("/api/sums", b"[", b'{"a": "#"},', b"{}]", ROWS - 1),
    "cars": _json("/api/mpg", b"[", _CAR + b",", _CAR + b"]", ROWS - 1),
    "rows-of-keys": _json("/api/sums", b"[", b"{" + b'"k": 1,' * 1000 + b'"l": 1},', b"{}]"),
    "brackets": _json("/api/numbers", b"", b"[", b""),
    "empty-lists": _json("/api/numbers", b"[", b"[],", b"[]]"),
    "deep": _json("/api/numbers", b"[", b"[" * 60 + b"]" * 60 + b",", b"[]]"),
    "digits": _json(_V1, b'{"instances": [', b"1", b"]}"),
    "digits-native": _json("/api/numbers", b"[[", b"1", b"]]"),
    "exponents": _json(_V1, b'{"instances": [[', b"1e308,", b"1]]}"),
    "backslashes": _json("/api/texts", b'[["', b"\\\\", b'"]]'),
    "quotes": _json("/api/texts", b'[["', b'\\"', b'"]]'),
    "spaces": _json("/api/sums", b"[", b" ", b"1]"),
    "text": _json("/api/words", b'{"text": "', b"word ", b'"}'),
    "seed": _json("/api/writer", b'{"seed": "', b"w# ", b'"}'),
    "tensor": _json("/api/numbers", b"[[", b"1.5,", b"1]]"),
    "tensor-rows": _json("/api/numbers", b"[", b"[1.5],", b"[1]]", ROWS - 1),
    "strings": _json("/api/texts", b"[[", b'"a",', b'"a"]]'),
    "instances": _json(_V1, b'{"instances": [', b"[1,2,3],", b"[1,2,3]]}", ROWS - 1),
    "inputs": _json(_V1, b'{"inputs": [', b"[1,2,3],", b"[1,2,3]]}", ROWS - 1),
    "wrong-instances": _json(_V1, b'{"instances": [', b'["#"],', b"[1,2,3]]}"),
    "instance-keys": _json(
        "/v1/models/tagged:predict", b'{"instances": [{', b'"k#":1,', b'"a":1}]}'
    ),
    "tokens-in-a-row": _json("/v1/models/writer:predict", b'{"instances": [[', b"2,", b"2]]}"),
    "tokens-in-a-row-patents": _json(
        "/v1/models/patents:predict", b'{"instances": [[', b"2,", b"2]]}"
    ),
    "rows-of-a-token": _matrix("patents", 1),
    "rows-of-tokens": _matrix("writer", 20),
    "examples": _json(
        "/v1/models/half:classify",
        b'{"signature_name": "classify_x_to_y", "examples": [',
        b'{"x": 1.0},',
        b'{"x": 1.0}]}',
        ROWS - 1,
    ),
    "features": _json(
        "/v1/models/half:regress",
        b'{"signature_name": "regress_x_to_y", "examples": [{',
        b'"k#": 1.0,',
        b'"x": 1.0}]}',
    ),
    "base64": _json("/v1/models/three:predict", b'{"instances": [{"b64": "', b"AAAA", b'"}]}'),
    "b64-instances": _json(
        "/v1/models/three:predict", b'{"instances": [', b'{"b64": "AAAA"},', b'{"b64": ""}]}'
    ),
    "v2-numbers": lambda size: post(
        "/v2/models/numbers/infer",
        _JSON,
        b'{"inputs": [{"name": "fp32", "datatype": "FP32", "shape": [1, %d], "data": ['
        % (_times(size, b"1.5,") + 1),
        _many(size, b"1.5,"),
        b"1]}]}",
    ),
    "v2-inputs": _json(
        "/v2/models/numbers/infer",
        b'{"inputs": [',
        b'{"name": "#", "datatype": "FP32", "shape": [1], "data": [1]},',
        b'{"name": "fp32", "datatype": "FP32", "shape": [1, 1], "data": [1]}]}',
        999,
    ),
    "v2-outputs": _json("/v2/models/numbers/infer", b'{"outputs": [', b'{"name": "#"},', b"{}]}"),
    "v2-keys": _json("/v2/models/numbers/infer", b"{", b'"k#": [],', b'"inputs": []}'),
    "v2-bytes": _binary("texts", "bytes", "BYTES", struct.pack("<I", 0), lambda n: [1, n]),
    "v2-bytes-rows": _binary("texts", "bytes", "BYTES", struct.pack("<I", 0), lambda n: [n, 1]),
    "v2-floats": _binary("numbers", "fp32", "FP32", struct.pack("<f", 1), lambda n: [1, n]),
    "v2-rows": _binary(
        "numbers", "fp32", "FP32", struct.pack("<f", 1), lambda n: [min(n, ROWS), -(-n // ROWS)]
    ),
    "v2-pictures": _v2_pictures,
    "index": _json("/v2/repository/index", b"{", b'"k#": 1,', b'"ready": true}'),
    "gzip-members": _gzip_members,
    "gzip-bomb": _bomb(_V1, "gzip"),
    "deflate-bomb": _bomb("/v2/models/numbers/infer", "deflate"),
    "form-parts": lambda size: form("/api/three", _many(size, part("x#", b""))),
    "form-files": lambda size: form("/api/three", _many(size, part("image", b"x", "a#"))),
    "form-headers": lambda size: form(
        "/api/three", _form_head(), _many(size, b"X-A: b\r\n"), b"\r\n"
    ),
    "form-line-ends": lambda size: form(
        "/api/three", part("image", b"", "a")[:-2], _many(size, b"\r\n-")
    ),
    "fields": _json("/models/sums", b"field0=1", b"&k#=1", b"", kind=_FORM),
    "same-fields": _json("/models/sums", b"field0=1", b"&field0=1", b"", kind=_FORM),
    "percents": _json("/models/writer", b"seed=", b"%41", b"", kind=_FORM),
    "words": _json("/models/writer", b"seed=", b"w#+", b"", kind=_FORM),
    "pictures-palette": _pictures("/api/three", 150, "P", 8000, "PNG"),
    "picture-palette": _pictures("/api/three", 1, "P", 8000, "PNG"),
    "picture-one-bit": _pictures("/api/three", 4, "1", 8000, "PNG"),
    "picture-16-bit": _pictures("/api/three", 2, "I;16", 4000, "PNG"),
    "picture-tiff": _pictures("/api/three", 2, "L", 7000, "TIFF"),
    "picture-cmyk": _pictures("/api/cats-dogs", 2, "CMYK", 5000, "JPEG"),
    "picture-webp": _pictures("/models/three", 2, "RGBA", 4000, "WEBP"),
    "picture-gif": _pictures("/compare", 1, "P", 5000, "GIF"),
    "pictures": _many_models,
    "chunks": _chunks,
    "headers": _headers,
    "address": _address,
}


def flood(name: str, share: float) -> Request:
    """One of `FLOODS`. share: of the limit on bodies, above 0 and up to 1."""
    made = FLOODS[name](max(100, int(MOST * share)))
    return Request(
        made.target, made.method, made.headers, made.body, made.framing, made.chunk, f"{name}"
    )
