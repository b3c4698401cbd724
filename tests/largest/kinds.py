"""Texts, recordings and series."""

from __future__ import annotations

import json
from base64 import b64encode
from functools import partial

import numpy as np

from tests.largest.bodies import (
    BODY,
    CSV,
    FORM,
    JSON,
    MULTIPART,
    PAGE,
    ROWS,
    Largest,
    form,
    json_list,
    many_keys,
    v1_rows,
)
from tests.sounds import recording


def texts() -> list[Largest]:
    ids, page = "/api/stars", MULTIPART | PAGE
    one = b"good+" * 2_000
    long = b'"%b"' % one.replace(b"+", b" ")
    longest = BODY // (len(long) + 1)
    count = BODY // 8
    short = _text_bytes(b"good")
    return [
        Largest("words of texts", ids, lambda: json_list(b'"good film"', ROWS), JSON),
        Largest("words of the longest texts", ids, lambda: json_list(long, longest), JSON),
        Largest("longest texts", "/api/sentiment", lambda: json_list(long, longest), JSON),
        Largest(
            "text, explained",
            "/api/sentiment?explain=occlusion",
            lambda: b'"%b"' % one.replace(b"+", b" ")[:10_000],
            JSON,
        ),
        Largest("texts in objects", ids, lambda: json_list(b'{"text":"bad"}', ROWS), JSON),
        Largest("texts without a known word", ids, lambda: json_list(b'"zebra"', ROWS), JSON),
        Largest("texts too many", ids, lambda: json_list(b'"a"', BODY // 4), JSON),
        Largest("text too long", ids, lambda: b'"%b"' % (b"x" * (BODY - 20)), JSON),
        Largest("CSV of texts", ids, lambda: b"ids\n" + b"good film\n" * ROWS, CSV),
        Largest("form of texts", ids, lambda: form(*[("text", None, one)] * 999), MULTIPART),
        Largest("page of a text", "/models/stars", lambda: b"text=" + one, FORM | PAGE),
        Largest(
            "page of texts",
            "/models/stars",
            lambda: form(("file", "a.csv", b"ids\n" + b"good film\n" * ROWS)),
            page,
        ),
        Largest(
            "v1 words of texts", "/v1/models/stars:predict", lambda: v1_rows(b'"good"', ROWS), JSON
        ),
        Largest(
            "v1 text too long",
            "/v1/models/sentiment:predict",
            lambda: v1_rows(b'"%b"' % (b"x " * (BODY // 2 - 20)), 1),
            JSON,
        ),
        _text_tensor("v2 words of texts", ids, short * ROWS, ROWS),
        _text_tensor("v2 texts too many", ids, short * count, count),
        _text_tensor("v2 text too long", ids, _text_bytes(b"x" * (BODY - 20)), 1),
    ]


def sounds() -> list[Largest]:
    def small(count: int) -> bytes:
        wave = recording(np.zeros(1600), 8_000)
        return form(*[("audio", "a.wav", wave)] * count)

    return [
        Largest("sound: WAV", "/api/any-sound", lambda: _silence("WAV", 239_999)),
        Largest("sound: WAV, too long", "/api/any-sound", lambda: _silence("WAV", BODY // 2 - 50)),
        Largest("sound: float WAV in stereo", "/api/sound", _stereo),
        Largest("sound: hours of FLAC", "/api/any-sound", lambda: _silence("FLAC", 20_000_000)),
        Largest("sound: an hour of Ogg", "/api/sound", lambda: _silence("OGG", 10_000_000)),
        Largest("sound: low rate", "/api/any-sound", lambda: _silence("WAV", 29_999, 1_000)),
        Largest("sound: 900 recordings", "/api/sound", partial(small, 900), MULTIPART),
        Largest("sound: 900 of any length", "/api/any-sound", partial(small, 900), MULTIPART),
        Largest(
            "sound: 900 that unpack to 30 s",
            "/api/any-sound",
            lambda: form(*[("audio", "a.flac", _silence("FLAC", 239_999))] * 900),
            MULTIPART,
        ),
        Largest("sound in JSON", "/api/sound", _long_sound, JSON),
        Largest("sound in v1", "/v1/models/sound:predict", _v1_sounds, JSON),
        Largest("sound: 16 MB of none", "/api/sound", lambda: b"RIFF\0\0\0\0WAVE" + bytes(BODY)),
        Largest("sound: chunks", "/api/sound", lambda: b"RIFF\0\0\0\0WAVE" + b"a\0\0\0" * ROWS),
        Largest("sound: pages", "/api/sound", lambda: (b"OggS" + bytes(23)) * (BODY // 27)),
        Largest(
            "page of sound",
            "/models/sound",
            lambda: form(("input0", "a.wav", _silence("WAV", BODY // 2 - 500))),
            MULTIPART | PAGE,
        ),
    ]


def series() -> list[Largest]:
    path, row = "/api/series", b'{"temp":1,"wind":2}'
    return [
        Largest("series", path, lambda: json_list(b"[1,2]", BODY // 6), JSON),
        Largest("series of objects", path, lambda: json_list(row, BODY // 20), JSON),
        Largest("series, many", path, lambda: json_list(json_list(b"[1,2]", 6), ROWS), JSON),
        Largest("series, too many", path, lambda: json_list(b"[[1]]", BODY // 6), JSON),
        Largest("series with a problem each", path, lambda: json_list(b"[[1]]", ROWS), JSON),
        Largest("series in objects", path, lambda: json_list(b'{"series":[]}', ROWS), JSON),
        Largest("series as CSV", path, lambda: b"1,2\n" * ROWS, CSV),
        Largest("series as CSV, too long", path, lambda: b"1,2\n" * (BODY // 4), CSV),
        Largest("series as CSV of many cells", path, lambda: (b"1," * 200_000 + b"\n") * 39, CSV),
        Largest("series of keys", path, many_keys, JSON),
        Largest(
            "series of v1",
            "/v1/models/series:predict",
            lambda: v1_rows(json_list(b"[1,2]", 6), ROWS),
            JSON,
        ),
        Largest(
            "page of a series",
            "/models/series",
            lambda: form(("input0_file", "a.csv", b"1,2\n" * ROWS)),
            MULTIPART | PAGE,
        ),
    ]


def _silence(format: str, samples: int, rate: int = 8_000) -> bytes:
    return recording(np.zeros(samples, np.int16), rate, format)


def _stereo() -> bytes:
    return recording(np.zeros((BODY // 8 - 20, 2), np.float32), 44_100, subtype="FLOAT")


def _long_sound() -> bytes:
    return b'{"audio":"%b"}' % b64encode(_silence("WAV", BODY // 8 * 3 - 500))


def _v1_sounds() -> bytes:
    item = b'{"b64":"%b"}' % b64encode(_silence("WAV", 1600))
    return v1_rows(item, min(1000, BODY // (len(item) + 1)))


def _text_bytes(text: bytes) -> bytes:
    """A text as an element of BYTES."""
    return len(text).to_bytes(4, "little") + text


def _text_tensor(name: str, path: str, data: bytes, count: int) -> Largest:
    """Texts for the ids of `stars`, as binary data."""
    one = {"name": "ids", "datatype": "BYTES", "shape": [count]}
    head = json.dumps({"inputs": [one | {"parameters": {"binary_data_size": len(data)}}]}).encode()
    headers = {
        "Inference-Header-Content-Length": str(len(head)),
        "Content-Type": "application/octet-stream",
    }
    model = path.rpartition("/")[2]
    return Largest(name, f"/v2/models/{model}/infer", lambda: head + data, headers)
