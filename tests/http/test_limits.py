"""Both sides of the limits on requests, in each protocol: a request at the limit passes, one beyond
it is refused in the protocol's own shape, and the next good one is answered."""

from __future__ import annotations

import socket
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import (
    CAR,
    V1_CAR,
    ServerProcess,
    eventually,
    picture,
    serving,
    shipped_models,
)

ROW = list(CAR.values())
HEADER = ",".join(CAR)
LINE = ",".join(map(str, ROW))
SQUARE = [[1.0, 2.0]]
PICTURE = picture(size=(8, 8), format="PNG")
EVENTS = {"Accept": "text/event-stream"}


def _csv(rows: int) -> bytes:
    return "\n".join([HEADER, *[LINE] * rows]).encode()


def _v2(rows: int) -> dict[str, Any]:
    data = [1.0, 2.0] * rows
    return {"inputs": [{"name": "X", "datatype": "FP32", "shape": [rows, 1, 2], "data": data}]}


def _pictures(rows: int) -> dict[str, Any]:
    return {"files": [("image", (f"{i}.png", PICTURE)) for i in range(rows)]}


def _base64(rows: int) -> dict[str, Any]:
    return {"json": {"instances": [{"b64": b64encode(PICTURE).decode()}] * rows}}


def _input_name(server: ServerProcess, model: str) -> str:
    name: str = server.get(f"/v2/models/{model}").json()["inputs"][0]["name"]
    return name


ASKED: dict[str, tuple[str, Callable[[int], dict[str, Any]]]] = {
    "json": ("/api/mpg", lambda n: {"json": [CAR] * n}),
    "csv": ("/api/mpg", lambda n: {"content": _csv(n), "headers": {"Content-Type": "text/csv"}}),
    "csv file": ("/api/mpg", lambda n: {"files": {"file": ("cars.csv", _csv(n))}}),
    "tensors": ("/api/square", lambda n: {"json": [SQUARE] * n}),
    "pictures": ("/api/three", _pictures),
    "picture to all": ("/predict", _pictures),
    "v1 instances": ("/v1/models/square:predict", lambda n: {"json": {"instances": [SQUARE] * n}}),
    "v1 inputs": ("/v1/models/mpg:predict", lambda n: {"json": {"inputs": [ROW] * n}}),
    "v1 pictures": ("/v1/models/three:predict", _base64),
    "v1 examples": (
        "/v1/models/half:regress",
        lambda n: {"json": {"signature_name": "regress_x_to_y", "examples": [{"x": 1.0}] * n}},
    ),
    "v2": ("/v2/models/square/infer", lambda n: {"json": _v2(n)}),
}


@pytest.mark.parametrize("kind", ASKED)
def test_rows(limited: ServerProcess, kind: str) -> None:
    path, body = ASKED[kind]
    if kind == "v2":
        name = _input_name(limited, "square")
        (tensor,) = body(3)["json"]["inputs"]
        assert tensor["name"] == "X"

        def body(n: int, made: Any = body) -> dict[str, Any]:
            asked: dict[str, Any] = made(n)
            asked["json"]["inputs"][0]["name"] = name
            return asked

    for rows, good in ((3, True), (4, False), (3, True)):
        answer = limited.post(path, **body(rows))
        protocol = path.startswith(("/v1", "/v2"))
        wanted = 200 if good else 400 if protocol else 422
        assert answer.status_code == wanted, answer.text
        if not good:
            error = answer.json()["error"]
            said = error if protocol else error["message"]
            assert "KERAPORT_MAX_ROWS" in said
            assert protocol or error["code"] == "invalid_input"


def test_rows_of_a_file_on_the_page(limited: ServerProcess) -> None:
    """Without JavaScript."""
    for rows, status in ((3, 200), (4, 422)):
        answer = limited.post("/models/mpg", files={"file": ("cars.csv", _csv(rows))})
        assert answer.status_code == status
        assert ("KERAPORT_MAX_ROWS" in answer.text) is (rows == 4)


def test_a_dimension_that_counts_no_rows_may_be_longer(limited: ServerProcess) -> None:
    data = [1.0] * 5
    tensor = {"name": "x", "datatype": "FP32", "shape": [5], "data": data}
    for path, body in (
        ("/api/fixed", data),
        ("/v1/models/fixed:predict", {"inputs": data}),
        ("/v2/models/fixed/infer", {"inputs": [tensor]}),
    ):
        answer = limited.post(path, json=body)
        assert answer.status_code == 200, answer.text


def _nested(depth: int, inside: str = "1") -> str:
    return "[" * depth + inside + "]" * depth


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/square", lambda n: _nested(n)),
        ("/api/mpg", lambda n: _nested(n)),
        ("/api/writer", lambda n: f'{{"seed": {_nested(n - 1)}}}'),
        ("/v1/models/square:predict", lambda n: f'{{"instances": {_nested(n - 1)}}}'),
        ("/v1/models/square:predict", lambda n: f'{{"instances": {_nested(n - 1, "NaN")}}}'),
        ("/v1/models/half:regress", lambda n: f'{{"examples": {_nested(n - 1)}}}'),
        ("/v2/models/square/infer", lambda n: f'{{"inputs": {_nested(n - 1)}}}'),
        ("/v2/repository/index", lambda n: f'{{"ready": true, "more": {_nested(n - 1)}}}'),
    ],
)
def test_json_depth(limited: ServerProcess, path: str, body: Callable[[int], str]) -> None:
    at_the_limit = limited.post(path, content=body(4).encode())
    # Whatever else is wrong with it.
    assert at_the_limit.status_code in (200, 400, 422)
    assert "levels" not in at_the_limit.text
    for depth in (5, 64, 2000):
        beyond = limited.post(path, content=body(depth).encode())
        assert beyond.status_code == 400
        error = beyond.json()["error"]
        said = error if path.startswith(("/v1", "/v2")) else error["message"]
        assert said == (
            "the body has lists or objects in more than 4 levels, the limit of this server "
            "(KERAPORT_MAX_JSON_DEPTH)"
        )


def test_what_is_as_deep_as_the_limit_is_answered(limited: ServerProcess) -> None:
    answer = limited.post("/v1/models/square:predict", json={"instances": [SQUARE]})
    assert answer.json() == {"predictions": [SQUARE]}


# --- Texts ---------------------------------------------------------------------------------------


def _writing(server: ServerProcess) -> int:
    waiting: int = server.get("/api/models/writer").json()["waiting"]
    return waiting


@pytest.fixture
def two_texts(limited: ServerProcess) -> Iterator[Any]:
    """One in pieces and one in one, that take a while."""
    order = {"seed": "w1 w2", "words": 400}
    url = f"{limited.url}/api/writer"
    eventually(lambda: _writing(limited) == 0)
    with ThreadPoolExecutor(1) as pool, ExitStack() as streams:
        stream = httpx.stream("POST", url, json=order, headers=EVENTS, timeout=120)
        streams.enter_context(stream)
        whole = pool.submit(limited.post, "/api/writer", json=order)
        eventually(lambda: _writing(limited) == 2)
        yield streams, whole


def test_texts_at_once(limited: ServerProcess, two_texts: Any) -> None:
    streams, whole = two_texts
    for headers in ({}, EVENTS):
        refused = limited.post("/api/writer", json={"seed": "w1", "words": 1}, headers=headers)
        assert refused.status_code == 503, refused.text
        error = refused.json()["error"]
        assert error["code"] == "overloaded"
        assert "2 texts" in error["message"]
        assert "KERAPORT_MAX_STREAMS" in error["message"]
        assert int(refused.headers["Retry-After"]) >= 1
    # Other models have nothing to do with it, and neither have tensors of the same one.
    assert limited.post("/v1/models/mpg:predict", json=V1_CAR).status_code == 200
    streams.close()  # disconnecting makes room
    eventually(lambda: _writing(limited) < 2)
    answer = limited.post("/api/writer", json={"seed": "w1", "words": 1})
    assert answer.status_code == 200
    assert whole.result().status_code == 200


# --- What the contract says of them --------------------------------------------------------------


def test_the_contract_has_the_limits(limited: ServerProcess) -> None:
    document = limited.get("/openapi.json").json()
    body = document["paths"]["/api/mpg"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"]["anyOf"][1]["maxItems"] == 3
    assert document["components"]["schemas"]["square.input"]["maxItems"] == 3
    rows, _ = document["components"]["schemas"]["v1.PredictRequest"]["oneOf"]
    assert rows["properties"]["instances"]["maxItems"] == 3
    examples = document["components"]["schemas"]["v1.ExamplesRequest"]["properties"]["examples"]
    assert examples["maxItems"] == 3


def test_bodies_of_all_requests_have_a_limit_together(tmp_path: Path) -> None:
    """With sixteen of the largest under way, another large one waits; small ones do not."""
    head = (
        "POST /api/mpg HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
        "Content-Length: 15999999\r\n\r\nx"
    )
    large: dict[str, Any] = {"content": b"x" * 2_000_000, "headers": {"Content-Type": "text/csv"}}
    models = shipped_models(tmp_path / "models", "mpg")
    with serving(models, tmp_path, request_timeout_s=6) as server:
        with ExitStack() as stack:
            for _ in range(16):
                address = ("127.0.0.1", server.port)
                client = stack.enter_context(socket.create_connection(address, timeout=60))
                client.sendall(head.encode())
            time.sleep(0.5)
            assert server.post("/api/mpg", json=CAR).status_code == 200
            began = time.monotonic()
            # Until the others are given up.
            assert server.post("/api/mpg", **large).status_code in (400, 503, 504)
            assert time.monotonic() - began > 4
        assert server.post("/api/mpg", **large).status_code == 400
