"""Requests with many or large pictures: limits in every protocol, turns, and their end."""

from __future__ import annotations

import base64
import io
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.models import save_picture_model
from tests.support import ServerProcess, picture, serving

SIDE = 3000
# Of a request, eight times as many.
MAX_PIXELS = SIDE * SIDE
JSON = {"Content-Type": "application/json"}
CARD = "task: image-classification\nlabels: [ant, bee, fly]\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("pictures")
    for name, more in (("three", ""), ("hasty", "runtime: {timeout_s: 0.2}\n")):
        (folder / "models" / name).mkdir(parents=True)
        save_picture_model(folder / "models" / name / "model.keras", rescales=True)
        (folder / "models" / name / "model.yaml").write_text(CARD + more)
    with serving(folder / "models", folder, max_pixels=MAX_PIXELS, request_timeout_s=120) as server:
        yield server


@pytest.fixture(scope="module")
def large() -> bytes:
    """The largest picture that is taken: half-transparent, from a palette, in few bytes."""
    image = Image.new("P", (SIDE, SIDE))
    image.putpalette(bytes(6))
    out = io.BytesIO()
    image.save(out, "PNG", transparency=b"\x64\xff")
    assert out.tell() < 30_000
    return out.getvalue()


def form(pictures: list[bytes]) -> dict[str, Any]:
    return {"files": [("image", ("a.png", data)) for data in pictures]}


def ask(server: ServerProcess, way: str, pictures: list[bytes]) -> httpx.Response:
    texts = [base64.b64encode(data).decode() for data in pictures]
    if way == "v1":
        return server.post(
            "/v1/models/three:predict", json={"instances": [{"b64": text} for text in texts]}
        )
    if way == "v2":
        body = b"".join(len(data).to_bytes(4, "little") + data for data in pictures)
        name = server.get("/v2/models/three").json()["inputs"][0]["name"]
        parameters = f'"parameters": {{"binary_data_size": {len(body)}}}'
        shape = f'"datatype": "BYTES", "shape": [{len(pictures)}]'
        head = f'{{"inputs": [{{"name": "{name}", {shape}, {parameters}}}]}}'.encode()
        return server.post(
            "/v2/models/three/infer",
            content=head + body,
            headers={"Inference-Header-Content-Length": str(len(head))},
        )
    return server.post(
        {"native": "/api/three", "all": "/predict", "page": "/models/three"}[way], **form(pictures)
    )


@pytest.mark.parametrize(
    ("way", "status"),
    [("native", 422), ("v1", 400), ("v2", 400), ("all", 422), ("page", 422)],
)
def test_pixels_of_a_request_count_in_every_protocol(
    server: ServerProcess, large: bytes, way: str, status: int
) -> None:
    if way != "all":  # where "hasty" answers 504
        assert ask(server, way, [large] * 8).status_code == 200
    answer = ask(server, way, [large] * 9)
    assert answer.status_code == status, answer.text
    assert "9 pictures with 81,000,000 pixels to decode in one request" in answer.text
    assert "at most 72,000,000 (8 times KERAPORT_MAX_PIXELS)" in answer.text


def test_a_hundred_of_the_largest_pictures_cost_next_to_nothing(
    server: ServerProcess, large: bytes
) -> None:
    ask(server, "native", [picture()])
    before = server.rss
    for _ in range(3):
        assert ask(server, "native", [large] * 100).status_code == 422
    assert server.rss - before < 30_000_000


def admitted(server: ServerProcess, model: str) -> int:
    waiting = server.get(f"/api/models/{model}").json()["waiting"]
    assert isinstance(waiting, int)
    return waiting


def await_admitted(server: ServerProcess, count: int, model: str) -> None:
    until = time.monotonic() + 60
    while (waiting := admitted(server, model)) != count:
        assert time.monotonic() < until, f"{waiting} requests wait, not {count}"
        time.sleep(0.005)


@pytest.fixture(scope="module")
def slow() -> bytes:
    """Takes long for its size: each pixel has an alpha of its own to be put onto white."""
    out = io.BytesIO()
    Image.new("RGBA", (SIDE, SIDE), (10, 20, 30, 40)).save(out, "PNG")
    assert out.tell() < 200_000
    return out.getvalue()


@contextmanager
def busy(server: ServerProcess, slow: bytes) -> Iterator[list[Future[httpx.Response]]]:
    """Four clients with many pictures to `three`, not all of them answered when the block ends:
    what happens in it did not wait for them."""
    with ThreadPoolExecutor(4) as pool:
        many = [pool.submit(ask, server, "native", [slow] * 8) for _ in range(4)]
        await_admitted(server, 4, "three")
        yield many
        assert not all(request.done() for request in many)
        assert [request.result().status_code for request in many] == [200] * 4


def test_pictures_of_others_do_not_wait_for_a_whole_request(
    server: ServerProcess, slow: bytes
) -> None:
    with busy(server, slow) as many:
        assert server.post("/api/three", content=picture()).status_code == 200
        assert not any(request.done() for request in many)


def test_the_deadline_ends_the_wait_for_decoding(server: ServerProcess, slow: bytes) -> None:
    with busy(server, slow):
        assert server.post("/api/hasty", **form([slow] * 8)).status_code == 504
        await_admitted(server, 0, "hasty")
    # Nothing is left of it that others would have to wait for.
    until = time.monotonic() + 60
    while server.post("/api/hasty", content=picture()).status_code != 200:
        assert time.monotonic() < until


def test_a_client_that_leaves_ends_its_decoding(server: ServerProcess, slow: bytes) -> None:
    request = httpx.Request("POST", server.url + "/api/three", **form([slow] * 8))
    head = "".join(f"{k}: {v}\r\n" for k, v in request.headers.items())
    before = len(server.requests(status=499))
    with busy(server, slow):
        gone = []
        for _ in range(3):
            connection = socket.create_connection(("127.0.0.1", server.port))
            connection.sendall(f"POST /api/three HTTP/1.1\r\n{head}\r\n".encode() + request.read())
            gone.append(connection)
        await_admitted(server, 7, "three")
        for connection in gone:
            connection.close()
        await_admitted(server, 4, "three")
    assert len(server.requests(status=499)) == before + 3


# --- pictures in JSON


def in_json(data: bytes, kind: str = "png") -> dict[str, str]:
    return {"image": f"data:image/{kind};base64,{base64.b64encode(data).decode()}"}


def predictions(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


@pytest.mark.parametrize("size", [(32, 24), (640, 480)])
def test_pictures_in_json_are_those_in_a_form(server: ServerProcess, size: Any) -> None:
    """Also where they are read in a native thread, and under the type that curl sends."""
    files = [picture(i, size, format) for i, format in enumerate(("PNG", "JPEG", "AVIF"))]
    wanted = predictions(ask(server, "native", files))
    assert predictions(server.post("/api/three", json=[in_json(data) for data in files])) == wanted
    assert predictions(server.post("/api/three", json=in_json(files[2]))) == wanted[2:]
    body = json.dumps([in_json(data) for data in files])
    for kind in ("application/x-www-form-urlencoded", "application/vnd.x+json"):
        answer = server.post("/api/three", content=body, headers={"Content-Type": kind})
        assert predictions(answer) == wanted
    every = server.post("/predict", json=in_json(files[0])).json()
    assert every["three"]["predictions"] == wanted[:1]


def test_problems_of_pictures_in_json_have_their_place(server: ServerProcess) -> None:
    answer = server.post("/api/three", json=[in_json(picture()), {}, {"image": "?"}, 7])
    assert answer.status_code == 422
    details = answer.json()["error"]["details"]
    assert [(d["field"], d["problem"]) for d in details] == [
        ("[1].image", "missing"),
        ("[2].image", "not base64"),
        ("[3]", "wrong type"),
    ]
    answer = server.post("/predict", json=in_json(b"no picture"))
    assert answer.status_code == 422
    assert [d["field"] for d in answer.json()["error"]["details"]] == ["image"]
    assert server.post("/api/three", content=b"{", headers=JSON).status_code == 400


def test_json_is_for_programs(server: ServerProcess) -> None:
    answer = server.post("/models/three", json=in_json(picture()))
    assert answer.status_code == 415
    answer = server.post("/api/three", content=b"a,b", headers={"Content-Type": "text/csv"})
    assert answer.status_code == 415
    assert 'or in JSON: {"image": "data:…"}' in answer.json()["error"]["message"]


@pytest.mark.parametrize(("count", "status"), [(8, 200), (9, 422)])
def test_pixels_in_json_count(server: ServerProcess, large: bytes, count: int, status: int) -> None:
    answer = server.post("/api/three", json=[in_json(large)] * count)
    assert answer.status_code == status, answer.text
