"""JSON as clients get it wrong: read where it can be, or an error with the line that fixes it."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.support import CAR, V1_CAR, V2_CAR, ServerProcess, picture
from tests.v1 import b64

SENT: dict[str, tuple[str, Any]] = {
    "a row": ("/api/mpg", CAR),
    "rows": ("/api/mpg", [CAR, CAR]),
    "a picture": ("/api/cats-dogs", {"image": b64(picture())["b64"]}),
    "a picture to all": ("/predict", {"image": b64(picture())["b64"]}),
    "a text": ("/api/spam", {"text": "See you at six?"}),
    "the beginning of a text": ("/api/patents", {"seed": "a neural network", "words": 10}),
    "v1": ("/v1/models/mpg:predict", V1_CAR),
    "v1 texts": ("/v1/models/spam:predict", {"instances": ["See you at six?"]}),
    "v2": ("/v2/models/mpg/infer", V2_CAR),
}
JSON = {"Content-Type": "application/json"}


def _post(server: ServerProcess, path: str, body: bytes) -> httpx.Response:
    return server.post(path, content=body, headers=JSON)


def _message(answer: httpx.Response) -> str:
    error = answer.json()["error"]
    return str(error if isinstance(error, str) else error["message"])


@pytest.mark.parametrize("kind", SENT)
def test_a_byte_order_mark_is_no_part_of_json(shipped: ServerProcess, kind: str) -> None:
    path, value = SENT[kind]
    text = json.dumps(value).encode()
    assert _post(shipped, path, codecs.BOM_UTF8 + text).status_code == 200
    # Large enough to be read in pieces.
    assert _post(shipped, path, codecs.BOM_UTF8 + b" " * 200_000 + text).status_code == 200
    # The type that curl's -d declares.
    answer = shipped.post(
        path,
        content=codecs.BOM_UTF8 + text,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("kind", SENT)
@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_told(shipped: ServerProcess, kind: str, codec: str) -> None:
    path, value = SENT[kind]
    answer = _post(shipped, path, f"\ufeff{json.dumps(value)}".encode(codec))
    assert answer.status_code == 400
    assert "it is UTF-16: expected UTF-8" in _message(answer)


MISTAKES: dict[str, tuple[Callable[[str, Any], httpx.Request], str]] = {
    "json=json.dumps(row)": (
        lambda url, row: httpx.Request("POST", url, json=json.dumps(row)),
        "not json=json.dumps(row)",
    ),
    "json=json.dumps(row, indent=1)": (
        lambda url, row: httpx.Request("POST", url, json=json.dumps(row, indent=1) + "\n"),
        "not json=json.dumps(row)",
    ),
    "data=row": (
        lambda url, row: httpx.Request("POST", url, data=row if isinstance(row, dict) else row[0]),
        "not data=row",
    ),
    "data=str(row)": (
        lambda url, row: httpx.Request("POST", url, content=str(row)),
        "not data=str(row)",
    ),
}


@pytest.mark.parametrize("kind", SENT)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_error_has_the_line_that_fixes_it(
    shipped: ServerProcess, kind: str, mistake: str
) -> None:
    path, value = SENT[kind]
    make, line = MISTAKES[mistake]
    request = make(f"{shipped.url}{path}", value)
    headers = dict(request.headers)
    if mistake == "data=str(row)":
        headers |= JSON
    answer = shipped.post(path, content=request.content, headers=headers)
    assert answer.status_code == 400
    assert f"requests.post(url, json=row), {line}" in _message(answer)


def test_a_form_in_parts_in_place_of_a_row(shipped: ServerProcess) -> None:
    parts = {name: (None, str(value)) for name, value in CAR.items()}
    answer = shipped.post("/api/mpg", files=parts)
    assert answer.status_code == 400
    assert _message(answer).endswith("; send a row as JSON, not as fields of a form")
    for path in ("/v1/models/mpg:predict", "/v2/models/mpg/infer"):
        answer = shipped.post(path, files=parts)
        assert answer.status_code == 400
        assert "a form of fields: send JSON" in _message(answer)


@pytest.mark.parametrize(
    "text", ['{"subject": "hello"}', '["text"]', '{"text": "a", "b": 1}', "{}"]
)
def test_a_text_may_hold_json(shipped: ServerProcess, text: str) -> None:
    assert shipped.post("/api/spam", json=text).status_code == 200
    assert shipped.post("/api/spam", json=[text]).status_code == 200
    assert shipped.post("/api/spam", json=[json.dumps({"text": text})]).status_code == 200
