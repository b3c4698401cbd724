"""Valid requests of every protocol: mutation begins with them, their answers must stay right."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlencode

import numpy as np

from tests.fuzz.folder import COLUMNS
from tests.fuzz.request import Piece, Request, post, post_json
from tests.sounds import recording
from tests.support import CAR, picture

BOUNDARY = "fuzzed-boundary"
ROWS = [dict(zip(COLUMNS, row, strict=True)) for row in ((1.5, 2, 3), (0, -1, 0.25), (7, 8, 9))]
SUMS = [sum(row.values()) for row in ROWS]
FACTS = {"weight": 40, "height": 1.5}
CARS = [CAR, CAR | {"cylinders": 4, "weight": 2000, "origin": 3}]


@dataclass(frozen=True, slots=True)
class Seed:
    """A valid request. stable: whether every answer must be the same, but for numbers that are
    almost equal. expected: texts that the answer holds."""

    request: Request
    stable: bool = True
    expected: tuple[bytes, ...] = ()


def b64(data: bytes) -> dict[str, str]:
    """Bytes as TensorFlow Serving has them in JSON."""
    return {"b64": base64.b64encode(data).decode()}


def in_json(data: bytes, kind: str = "png", *, url: bool = True) -> dict[str, str]:
    """A picture as the native API has it in JSON. url: as a data URL, else web-safe base64."""
    if url:
        return {"image": f"data:image/{kind};base64,{base64.b64encode(data).decode()}"}
    return {"image": base64.urlsafe_b64encode(data).decode().rstrip("=")}


def v2_base64(model: str, name: str, files: Sequence[bytes]) -> Request:
    """Inference of pictures in base64, by MLServer's content type."""
    data = [base64.b64encode(file).decode() for file in files]
    sent = {
        "name": name,
        "datatype": "BYTES",
        "shape": [len(files)],
        "parameters": {"content_type": "base64"},
        "data": data,
    }
    return post_json(f"/v2/models/{model}/infer", {"inputs": [sent]})


def part(name: str, data: bytes, filename: str | None = None, kind: str = "") -> bytes:
    """One part of a form, with the delimiter before it."""
    file = "" if filename is None else f'; filename="{filename}"'
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n'
    if kind:
        head += f"Content-Type: {kind}\r\n"
    return head.encode() + b"\r\n" + data + b"\r\n"


def form(target: str, *parts: Piece | bytes, origin: str = "") -> Request:
    """A POST of a form of these parts."""
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    return post(target, kind, *parts, f"--{BOUNDARY}--\r\n".encode(), origin=origin)


def table(rows: Sequence[Mapping[str, Any]], delimiter: str = ",", end: str = "\r\n") -> bytes:
    """The rows as CSV."""
    lines = [delimiter.join(rows[0]), *(delimiter.join(map(str, row.values())) for row in rows)]
    return (end.join(lines) + end).encode()


def v2_binary(model: str, name: str, datatype: str, shape: list[int], data: bytes) -> Request:
    """Inference of one binary tensor, answered as JSON."""
    sent = {"name": name, "datatype": datatype, "shape": shape}
    head = json.dumps({"inputs": [sent | {"parameters": {"binary_data_size": len(data)}}]}).encode()
    request = post(f"/v2/models/{model}/infer", "application/octet-stream", head, data)
    return request.with_headers(Inference_Header_Content_Length=str(len(head)))


def v2_bytes(values: Sequence[bytes]) -> bytes:
    """Elements of BYTES, each after its length."""
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def seeds(inputs: Mapping[str, str]) -> list[Seed]:
    """All of them. inputs: the name of each model's (first) input."""
    return [*_native(), *_v1(), *_v2(inputs), *_pages(), *_reading()]


def _native() -> list[Seed]:
    photo = picture(3, (40, 30))
    avif = picture(3, (40, 30), "AVIF")
    sums = tuple(json.dumps({"sum": float(value)}).replace(" ", "").encode() for value in SUMS)
    tagged = {"tag": ["a"], "signal": [[1, 2, 3, 4, 5]], "sensor": [[[1, 2], [3, 4]]]}
    text = {"seed": "w1 w2 w3", "words": 10, "random_seed": 3, "diversity": 0.5}
    two = {"size": [[1, 2, 3, 4]], "place": [[0.5, 1]]}
    event_stream = post_json("/api/writer", text).with_headers(Accept="text/event-stream")
    return [
        Seed(post_json("/api/sums", ROWS), expected=sums),
        Seed(post_json("/api/sums", ROWS[0]), expected=sums[:1]),
        Seed(post("/api/sums", "text/csv", table(ROWS)), expected=sums),
        Seed(form("/api/sums", part("file", table(ROWS, ";"), "rows.csv", "text/csv"))),
        Seed(post_json("/api/mpg", CARS), expected=(b'{"mpg":16.',)),
        Seed(post("/api/mpg", "text/csv", table(CARS, "\t", "\n"))),
        Seed(post_json("/api/apart", [{"left": 1, "right": 2.5}]), expected=(b'{"sum":3.5}',)),
        Seed(post_json("/api/words", [{"text": "a good thing"}, {"text": ""}])),
        Seed(post_json("/api/numbers", [[1.5, -2], [0, 1e9]]), expected=(b"[1.5,-2.0]",)),
        Seed(post_json("/api/texts", [["a", "é"]])),
        Seed(post_json("/api/half", [[1], [-3]]), expected=(b"[[2.5],[0.5]]",)),
        Seed(post_json("/api/tagged", tagged)),
        Seed(post_json("/api/two", two)),
        Seed(post_json("/api/writer", text)),
        Seed(event_stream, stable=False, expected=(b"event: done",)),
        Seed(post("/api/three", "image/jpeg", photo)),
        Seed(form("/api/three", part("image", photo, "a.jpg"), part("image", photo, "b.jpg"))),
        Seed(post("/api/three", "image/avif", avif)),
        Seed(post_json("/api/three", in_json(photo, "jpeg"))),
        Seed(post_json("/api/three", [in_json(avif, "avif"), in_json(photo, url=False)])),
        Seed(post_json("/predict", in_json(photo, "jpeg"))),
        Seed(post_json("/api/couple", _couple(photo, avif)), expected=(b'"gender":{',)),
        Seed(post_json("/api/couple", [_couple(photo, avif), _couple(avif, photo)])),
        Seed(
            post("/api/three?explain=occlusion", "image/jpeg", photo),
            stable=False,
            expected=(b'"drops":{',),
        ),
        Seed(
            post_json("/api/couple?explain=occlusion", _couple(photo, avif)),
            stable=False,
            expected=(b'"method":"occlusion"',),
        ),
        Seed(
            form(
                "/api/couple",
                part("left", photo, "a.jpg"),
                part("right", avif, "b.avif"),
                part("facts", json.dumps(FACTS).encode()),
            ),
            expected=(b'"features":[',),
        ),
        Seed(post_json("/api/sentiment", ["A good film", "bad"]), expected=(b'"label":',)),
        Seed(post_json("/api/stars", "a good film"), expected=(b'"unknown_share":0.333',)),
        Seed(post_json("/api/stars", [{"ids": "good"}, {"text": "bad film"}])),
        Seed(post("/api/stars", "text/csv", b'text\r\n"a good, film"\r\nbad\r\n')),
        Seed(form("/api/stars", part("text", b"good film"), part("ids", b"bad", "a.txt"))),
        Seed(form("/api/stars", part("file", b"ids\ngood film\n", "a.csv", "text/csv"))),
        Seed(post_json("/api/advert", {"title": "good", "facts": {"price": 1, "age": 2}})),
        Seed(
            form(
                "/api/advert",
                part("title", b"good film"),
                part("facts", b'{"price": 0.5, "age": 1}'),
            )
        ),
        Seed(
            form(
                "/api/couple",
                part("left", photo, "a.jpg"),
                part("right", avif, "b.avif"),
                *(part(name, str(value).encode()) for name, value in FACTS.items()),
            ),
            expected=(b'"features":[',),
        ),
        Seed(post("/api/ssd", "image/jpeg", photo), expected=(b'"boxes":[',)),
        Seed(form("/api/ssd", part("image", photo, "a.jpg"), part("image", avif, "b.avif"))),
        Seed(post("/api/membranes", "image/jpeg", photo), expected=(b'"png":"data:image/png',)),
        Seed(post("/api/membranes?size=model", "image/avif", avif)),
        Seed(
            post("/api/membranes", "image/jpeg", photo).with_headers(Accept="image/png"),
            expected=(b"PNG",),
        ),
        Seed(form("/models/membranes", part("image", photo, "a.jpg")), False, (b"image/png",)),
        Seed(post_json("/v1/models/membranes:predict", {"instances": [b64(photo)]})),
        Seed(post_json("/v1/models/ssd:predict", {"instances": [b64(photo)]})),
        Seed(post_json("/api/sentiment?explain=occlusion", "A good film"), False, (b'"drops":{',)),
        Seed(post_json("/api/picture-tensor", [{"scene": in_json(photo)["image"]}] * 5)),
        Seed(
            form(
                "/api/picture.fields.words-vector",
                part("scene", photo, "a.jpg"),
                part("facts", b'{"a": 1, "b": 2, "smokes": "daily"}'),
                part("review", b"good film"),
            ),
            expected=(b'"its_vector":[',),
        ),
        Seed(form("/api/digits", part("image", photo, "a.jpg"), part("image", avif, "b.avif"))),
        *_times(),
        Seed(post("/api/cats-dogs", "image/jpeg", photo)),
        Seed(form("/predict", part("image", photo, "a.jpg", "image/jpeg"))),
    ]


@cache
def _recordings() -> tuple[bytes, bytes, bytes]:
    """WAV, FLAC and Ogg, whose streams get a number by chance."""
    wave = np.sin(np.arange(2000) / 9)
    stereo = np.stack([wave, wave], 1)
    wav, flac = recording(wave, 8_000), recording(stereo, 44_100, "FLAC")
    return wav, flac, recording(wave, 16_000, "OGG")


def _times() -> list[Seed]:
    """Sound and series."""
    wav, flac, ogg = _recordings()
    rows = [[i, i / 2] for i in range(7)]
    named = [{"temp": a, "wind": b} for a, b in rows]
    text = base64.b64encode(flac).decode()
    lines = table(named)
    both = {"wave": text, "table": rows, "facts": {"a": 1, "b": 2}}
    return [
        Seed(post("/api/voice", "audio/wav", wav), expected=(b'"label":',)),
        Seed(post("/api/voice", "audio/flac", flac)),
        Seed(post("/api/any-sound", "audio/ogg", ogg)),
        Seed(post_json("/api/any-sound", {"audio": f"data:audio/flac;base64,{text}"})),
        Seed(form("/api/voice", part("audio", wav, "a.wav"), part("audio", ogg, "b.ogg"))),
        Seed(post_json("/v1/models/voice:predict", {"instances": [b64(wav), b64(flac)]})),
        Seed(v2_base64("any-sound", "wave", [wav])),
        Seed(post_json("/api/series", rows), expected=(b'"path":[[',)),
        Seed(post_json("/api/series", [{"series": named}, {"table": rows}])),
        Seed(post("/api/series", "text/csv", lines)),
        Seed(form("/api/series", part("file", lines, "rows.csv", "text/csv"))),
        Seed(post_json("/api/together", both)),
        Seed(form("/models/series", part("input0", lines)), False, (b"<polyline",)),
        Seed(form("/models/voice", part("input0", wav, "a.wav")), False, (b"verdict",)),
    ]


def _couple(left: bytes, right: bytes) -> dict[str, Any]:
    """A row of two pictures and fields."""
    return {
        "left": in_json(left)["image"],
        "right": in_json(right, url=False)["image"],
        "facts": FACTS,
    }


def _v1() -> list[Seed]:
    rows = [list(row.values()) for row in ROWS]
    examples = {"signature_name": "classify_x_to_y", "examples": [{"x": 1.0}, {"x": -3.0}]}
    x = {"signature_name": "regress_x_to_y", "context": {"x2": 2.0}, "examples": [{"x": 1.0}]}
    image = {"image": b64(b"aa"), "caption": "abc"}
    captions = {"signature_name": "classify_objects", "examples": [image]}
    tagged = {"tag": "a", "signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]}
    scale = {"signature_name": "scale", "inputs": {"factor": 2, "pair": [3, 4]}}
    photo = b64(picture(3, (40, 30)))
    url = f"data:image/jpeg;base64,{photo['b64']}"
    sums = (json.dumps(SUMS[0]).encode(),)
    return [
        Seed(post_json("/v1/models/sums:predict", {"instances": rows}), expected=sums),
        Seed(post_json("/v1/models/sums:predict", {"inputs": rows}), expected=sums),
        Seed(post_json("/v1/models/half/versions/3:predict", {"instances": [1.0, -3.0]})),
        Seed(post_json("/v1/models/half:classify", examples), expected=(b'["",2.5]',)),
        Seed(post_json("/v1/models/half:regress", x), expected=(b"[2.5]",)),
        Seed(post_json("/v1/models/caption:classify", captions), expected=(b'["abc",1.5]',)),
        Seed(post_json("/v1/models/tagged:predict", {"instances": [tagged]})),
        Seed(post_json("/v1/models/tagged:predict", scale), expected=(b"6.0",)),
        Seed(post_json("/v1/models/writer:predict", {"instances": [[2, 3, 4]]})),
        Seed(post_json("/v1/models/three:predict", {"instances": [photo, photo]})),
        Seed(post_json("/v1/models/three:predict", {"instances": [url, {"b64": url}]})),
        Seed(post_json("/v1/models/numbers:predict", {"instances": [[1.5, -2]]})),
        Seed(post_json("/v1/models/stars:predict", {"instances": ["good film", b64(b"bad")]})),
        Seed(post_json("/v1/models/sentiment:predict", {"inputs": [["good film"], ["bad"]]})),
    ]


def _v2(inputs: Mapping[str, str]) -> list[Seed]:
    photo = picture(3, (40, 30))
    data = [value for row in ROWS for value in row.values()]
    sums: dict[str, Any] = {"name": inputs["sums"], "datatype": "FP32", "shape": [3, 3]}
    outputs = [{"name": "same_fp32", "parameters": {"binary_data": True}}]
    one = {"name": "fp32", "datatype": "FP32", "shape": [1, 2], "data": [[1.5, -2]]}
    both = {"id": "a", "inputs": [one], "outputs": outputs}
    texts = {"name": "bytes", "datatype": "BYTES", "shape": [1, 2], "data": ["a", "é"]}
    sent = struct.pack(f"<{len(data)}f", *data)
    pictures = v2_bytes([photo, photo])
    return [
        Seed(post_json("/v2/models/sums/infer", {"inputs": [sums | {"data": data}]})),
        Seed(v2_binary("sums", inputs["sums"], "FP32", [3, 3], sent)),
        Seed(post_json("/v2/models/numbers/infer", both)),
        Seed(post_json("/v2/models/texts/infer", {"inputs": [texts]})),
        Seed(v2_binary("texts", "bytes", "BYTES", [1, 2], v2_bytes([b"a", b"\xc3\xa9"]))),
        Seed(v2_binary("three", inputs["three"], "BYTES", [2], pictures)),
        Seed(v2_base64("three", inputs["three"], [photo, photo])),
        Seed(v2_binary("stars", inputs["stars"], "BYTES", [2], v2_bytes([b"good", b"bad film"]))),
        Seed(post_json("/v2/repository/index", {"ready": True})),
    ]


def _pages() -> list[Seed]:
    photo = picture(3, (40, 30))
    row = urlencode({f"field{i}": value for i, value in enumerate(ROWS[0].values())})
    text = urlencode({"seed": "w1 w2", "words": 10, "diversity": 0.5})
    file = part("file", table(ROWS), "rows.csv", "text/csv")
    encoded = "application/x-www-form-urlencoded"
    return [
        Seed(post("/models/sums", encoded, row.encode()), stable=False, expected=(b">6.5<",)),
        Seed(form("/models/sums?download", file), expected=(b"1.5,2,3,6.5",)),
        Seed(form("/models/sums", file), stable=False, expected=(b"6.5",)),
        Seed(form("/models/three", part("image", photo, "a.jpg")), False, (b"verdict",)),
        Seed(post("/models/writer", encoded, text.encode()), stable=False),
        Seed(post("/models/stars", encoded, b"text=good+film"), False, (b"reading-value",)),
        Seed(form("/compare", part("image", photo, "a.jpg", "image/jpeg")), stable=False),
    ]


def _reading() -> list[Seed]:
    changing = (
        "/ /models/mpg /models/three /models/writer /models/numbers /compare /status /docs"
        " /metrics /api/status /api/models/mpg /v2/models/mpg/stats /v2/models/stats"
        " /v1/models/half/metadata"
    )
    constant = (
        "/openapi.json /v1/models /v1/models/mpg /v2 /v2/models/mpg"
        " /v2/models/mpg/config /livez /readyz /static/keraport.css"
    )
    return [
        *(Seed(Request(target, "GET"), stable=False) for target in changing.split()),
        *(Seed(Request(target, "GET")) for target in constant.split()),
        Seed(Request("/api/models", "GET"), stable=False),
    ]
