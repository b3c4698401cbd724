"""Changes to valid requests: to their JSON, their CSV, their bytes, their heads."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from dataclasses import replace
from typing import Any

from tests.fuzz.pictures import changed_picture
from tests.fuzz.request import Piece, Request, post_json
from tests.fuzz.seeds import BOUNDARY, b64, form, in_json, part, v2_base64, v2_binary, v2_bytes

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -0.0, -1, 1, 0.1, 2, 3, 255, 256, 2**31, 2**53 + 1, 2**63, 2**64),
    *(1e-320, 1e308, -1e39, 10**400, float("nan"), float("inf"), float("-inf")),
    *(
        "",
        " ",
        "0",
        "1e5",
        "NaN",
        "é",
        "\0",
        "\ud800",
        "\U0001f600",
        "x" * 5000,
        "<b>",
        "__proto__",
    ),
    *([], {}, [[]], [None], {"b64": "AAAA"}, {"b64": 1}, {"b64": "A"}, {"b64": "", "x": 1}),
    *("data:;base64,AAAA", {"image": "AAAA"}),
)
NAMES = (
    *("instances", "inputs", "signature_name", "examples", "context", "b64", "name", "shape"),
    *("data", "datatype", "parameters", "binary_data_size", "outputs", "classification", "id"),
    *("image", "content_type"),
    *("binary_data", "binary_data_output", "timeout", "alpha", "beta", "text", "seed", "words"),
    *("diversity", "random_seed", "top_k", "tag", "serving_default", "", "__class__", "é"),
)
DATATYPES = ("BOOL", "INT8", "UINT64", "INT32", "FP16", "BF16", "FP32", "FP64", "BYTES", "fp32", "")
TOKENS = (
    *(b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"\\u0000", b"\\ud800", b"null", b"NaN"),
    *(b"Infinity", b"-", b"1e", b"0x", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xc3", b"\r", b"\n"),
    *(b"\r\n", b"\t", b";", b"#", b"=", b"&", b"%", b"%00", b"%u", b"+", b"--", b"/*", b"\x1a"),
    *(b"--" + BOUNDARY.encode(), b"--" + BOUNDARY.encode() + b"--", b"Content-Disposition: "),
    *(b'form-data; name="image"; filename="a"', b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"II*\0"),
)
HEADERS: dict[str, tuple[str, ...]] = {
    "Content-Type": (
        *("application/json", "text/csv", "text/plain", "", "image/jpeg", "multipart/form-data"),
        *(f"multipart/form-data; boundary={BOUNDARY}", "multipart/form-data; boundary="),
        *("multipart/form-data; boundary=" + "b" * 300, "multipart/form-data; boundary=é"),
        *(
            "application/x-www-form-urlencoded",
            "application/octet-stream",
            "a/b;c=d;;;",
            "x" * 3000,
        ),
        *("application/json; charset=utf-16", "text/csv; charset=latin1", "application/ld+json"),
    ),
    "Accept": (
        "*/*",
        "text/html",
        "application/json",
        "text/event-stream",
        "image/png",
        "",
        "a;q=x",
    ),
    "Accept-Encoding": ("gzip", "deflate", "br", "gzip, deflate", "identity;q=0", "*", ""),
    "Content-Encoding": ("gzip", "deflate", "br", "identity", "gzip, gzip", "", "x" * 500),
    "Inference-Header-Content-Length": (
        "0",
        "1",
        "-1",
        "99999999999999999999",
        "x",
        "",
        "1_0",
        "²",
    ),
    "Expect": ("100-continue", "200-ok"),
    "Host": ("", "localhost:99999", "é", "a b", "[::1]", "x" * 300),
    "Connection": ("close", "keep-alive", "Upgrade", "close, x"),
    "Upgrade": ("websocket", "h2c"),
    "Origin": ("null", "https://example.org", "x" * 200),
    "X-Request-ID": ("a", "x" * 500, "\t", "é"),
    "X-Forwarded-For": ("1.2.3.4", "x" * 500, "1.2.3.4, 5.6.7.8"),
    "X-Forwarded-Proto": ("https", "javascript"),
    "Authorization": ("Bearer x", "Basic eDp4", "Bearer", "x" * 500),
    "X-API-Key": ("x", ""),
    "Cookie": ("a=b", "x" * 3000, "=;=;"),
    "Range": ("bytes=0-0", "bytes=-1", "bytes=5-1", "x"),
    "If-None-Match": ("*", '"x"', "x" * 300),
    "If-Modified-Since": ("Sun, 29 Nov 2026 01:32:01 GMT", "x"),
    "Sec-Fetch-Site": ("cross-site", "same-origin"),
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "FUZZ")
QUERIES = (
    *("?version=1", "?version=", "?version=9", "?version=x", "?version=-1", "?version=%00", "?"),
    *("?version=" + "9" * 400, "?download", "?empty", "?q=%ff", "?q=a&q=b", "?a=" + "b" * 7000),
    *("?marker", "?replica=self", "?%", "?version=1&version=2"),
)
PATHS = (
    *("//", "/..", "/%2e%2e/", "/%00", "/é", "/%ff", "/.", ";a=b", "/versions/1", "/versions/0"),
    *(
        "/versions/" + "9" * 30,
        "/labels/x",
        "/infer",
        ":predict",
        ":classify",
        ":regress",
        "/",
        "#",
    ),
    *("/" + "a" * 7000, "/../../etc/passwd", "/static/../app", "/%2f"),
)


def mutated(rng: random.Random, request: Request) -> Request:
    """One valid request, changed in one way or several."""
    made = replace(request, origin=f"mutated {request.path}")
    kind = dict(request.headers).get("Content-Type", "")
    action = rng.random()
    if made.body and kind == "application/json" and action < 0.6:
        made = _json(rng, made)
    elif "text/csv" in kind and action < 0.5:
        made = made.with_body(_csv(rng, made.content))
    elif made.body and action < 0.85:
        made = made.with_body(havoc(rng, made.content))
    else:
        made = _head(rng, made)
    if rng.random() < 0.1:
        made = _head(rng, made)
    if made.body and rng.random() < 0.1:
        made = _coded(rng, made)
    if made.body and rng.random() < 0.1:
        made = replace(made, framing="chunked", chunk=rng.choice((1, 7, 1000, 65536)))
    return made


def picture_request(rng: random.Random, inputs: dict[str, str]) -> Request:
    """A picture that may be damaged, in one of the ways that pictures are sent."""
    data = changed_picture(rng) if rng.random() < 0.8 else havoc(rng, changed_picture(rng))
    model = rng.choice(("three", "three", "three", "cats-dogs"))
    way = rng.randrange(9)
    if way == 0:
        made = form(f"/api/{model}", *[part("image", data, "a")] * rng.choice((1, 2, 20)))
    elif way == 1:
        body = json.dumps({"instances": [b64(data)] * rng.choice((1, 3))}).encode()
        made = Request(f"/v1/models/{model}:predict").with_body(body)
    elif way == 2:
        made = v2_binary(model, inputs[model], "BYTES", [2], v2_bytes([data, data]))
    elif way == 3:
        made = form(f"/models/{model}", part("image", data, "a.png", "image/png"))
    elif way == 4:
        made = form(rng.choice(("/predict", "/compare")), part("image", data, "a"))
    elif way == 5:
        one = in_json(data, url=rng.random() < 0.5)
        made = post_json(f"/api/{model}", rng.choice((one, [one, one])))
    elif way == 6:
        made = v2_base64(model, inputs[model], [data])
    else:
        kind = rng.choice(("image/png", "image/avif", "application/octet-stream", "image/tiff"))
        made = Request(f"/api/{model}", headers=(("Content-Type", kind),)).with_body(data)
    return replace(made, origin="picture")


def havoc(rng: random.Random, data: bytes) -> bytes:
    """Bytes flipped, inserted, dropped, doubled, as byte fuzzers do, with the words of formats."""
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(made) + 1)
        length = rng.choice((1, 2, 4, 16, 200))
        action = rng.randrange(6)
        if action == 0 and at < len(made):
            made[at] ^= 1 << rng.randrange(8)
        elif action == 1:
            made[at:at] = rng.choice(TOKENS) * rng.choice((1, 1, 2, 50))
        elif action == 2:
            del made[at : at + length]
        elif action == 3:
            made[at:at] = made[at : at + length] * rng.choice((1, 2, 100))
        elif action == 4 and at < len(made):
            made[at : at + length] = rng.randbytes(min(length, len(made) - at))
        else:
            token = rng.choice(TOKENS)
            made[at : at + len(token)] = token
        if len(made) > 1_000_000:
            break
    return bytes(made)


def _json(rng: random.Random, request: Request) -> Request:
    try:
        value = json.loads(request.content)
    except (ValueError, RecursionError):  # changed before
        return request.with_body(havoc(rng, request.content))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        value = _changed(rng, value)
    text = json.dumps(
        value, ensure_ascii=rng.random() < 0.5, separators=rng.choice(((",", ":"), (" , ", " : ")))
    )
    return request.with_body(text.encode("utf-8", "surrogatepass"))


def _changed(rng: random.Random, value: Any) -> Any:
    """The value with one place of it changed."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        made = dict(value)
        action = rng.random()
        if action < 0.1:
            del made[key]
        elif action < 0.2:
            made[rng.choice(NAMES)] = made.pop(key)
        elif action < 0.3:
            made[rng.choice(NAMES)] = rng.choice(VALUES)
        elif key == "datatype" and action < 0.7:
            made[key] = rng.choice(DATATYPES)
        else:
            made[key] = _changed(rng, made[key])
        return made
    if isinstance(value, list) and value and rng.random() < 0.8:
        i = rng.randrange(len(value))
        action = rng.random()
        if action < 0.1:
            return value[:i] + value[i + 1 :]
        if action < 0.25:
            return value[:i] + [value[i]] * rng.choice((2, 3, 200, 2000)) + value[i + 1 :]
        if action < 0.35:
            return [*value, rng.choice(VALUES)]
        return [*value[:i], _changed(rng, value[i]), *value[i + 1 :]]
    if rng.random() < 0.15:
        for _ in range(rng.choice((1, 2, 60, 70, 300))):
            value = [value] if rng.random() < 0.7 else {rng.choice(NAMES): value}
        return value
    return rng.choice(VALUES)


def _csv(rng: random.Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True) or [b""]
    cells = (b"", b'"', b'""', b'"a\nb"', b"1e999", b"NaN", b"\0", b"x" * 200_000, b"=1+1", b"\xff")
    for _ in range(rng.choice((1, 2, 3))):
        i = rng.randrange(len(lines)) if lines else 0
        action = rng.randrange(6)
        if action == 0:
            lines.insert(i, rng.choice((b"\n", b"\r", b",,,\n", b"alpha\n", b'"')))
        elif action == 1 and lines:
            lines[i] = lines[i].replace(b",", rng.choice((b";", b"\t", b",,", b", ", b"|")))
        elif action == 2 and lines:
            parts = lines[i].rstrip().split(b",")
            parts[rng.randrange(len(parts))] = rng.choice(cells)
            lines[i] = b",".join(parts) + rng.choice((b"\n", b"\r\n", b"\r", b""))
        elif action == 3:
            lines[i:i] = lines[i : i + 1] * rng.choice((2, 100))
        elif action == 4:
            lines[:1] = [rng.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\r\n\r\n")) + lines[0]]
        elif lines:
            del lines[i]
        lines = lines or [b""]
    return b"".join(lines)


def _head(rng: random.Random, request: Request) -> Request:
    """Another method, address or header; what is then answered may be of another kind."""
    action = rng.random()
    request = replace(request, strict=False, origin=f"head {request.path}")
    if action < 0.2:
        return replace(request, method=rng.choice(METHODS))
    if action < 0.35:
        return replace(request, target=request.target + rng.choice(QUERIES))
    if action < 0.5:
        cut = rng.randrange(1, len(request.target) + 1)
        return replace(request, target=request.target[:cut] + rng.choice(PATHS))
    if action < 0.9:
        name = rng.choice(list(HEADERS))
        return request.with_headers(**{name: rng.choice(HEADERS[name])})
    extra = tuple((f"X-{i}", "a" * rng.choice((1, 100))) for i in range(rng.choice((10, 90, 300))))
    return replace(request, headers=(*request.headers, *extra))


def _coded(rng: random.Random, request: Request) -> Request:
    """The body compressed, sometimes with damage."""
    coding = rng.choice(("gzip", "deflate"))
    content = request.content
    packed = gzip.compress(content, mtime=0) if coding == "gzip" else zlib.compress(content)
    if rng.random() < 0.4:
        packed = havoc(rng, packed)
    return request.with_body(Piece(packed)).with_headers(Content_Encoding=coding)
