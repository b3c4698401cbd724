"""Bodies: sizes, spooling, slow and broken clients."""

from __future__ import annotations

import gzip
import io
import json
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from tests.support import (
    CAR,
    ROOT,
    V1_CAR,
    V2_CAR,
    ServerProcess,
    in_chunks,
    padded_picture,
    picture,
    serving,
    shipped_models,
)

LIMIT = 2_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("uploads-test")
    models = folder / "models"
    models.mkdir()
    (models / "cats-dogs").symlink_to(ROOT / "models" / "cats-dogs")
    (models / "mpg").symlink_to(ROOT / "models" / "mpg")
    with serving(models, folder, max_body_mb=LIMIT / 1e6, request_timeout_s=2) as server:
        yield server


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("size", "status"), [(LIMIT, 200), (LIMIT + 1, 413), (3 * LIMIT, 413)])
def test_raw_bodies_at_the_limit(
    server: ServerProcess, size: int, status: int, chunked: bool
) -> None:
    body = padded_picture(size)
    answer = server.post("/api/cats-dogs", content=in_chunks(body) if chunked else body)
    assert answer.status_code == status
    if status == 413:
        assert answer.json()["error"]["code"] == "too_large"
        assert "2 MB" in answer.json()["error"]["message"]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("size", "status"), [(LIMIT, 422), (LIMIT + 1, 413)])
def test_json_bodies_at_the_limit(
    server: ServerProcess, size: int, status: int, chunked: bool
) -> None:
    body = b'{"x": "' + b"a" * (size - 9) + b'"}'
    assert len(body) == size
    answer = server.post(
        "/api/mpg",
        content=in_chunks(body) if chunked else body,
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == status


@pytest.mark.parametrize(("over", "status"), [(0, 200), (1, 413)])
def test_multipart_bodies_at_the_limit(server: ServerProcess, over: int, status: int) -> None:
    boundary = "b" * 32
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    ).encode()
    tail = f"\r\n--{boundary}--\r\n".encode()
    body = head + padded_picture(LIMIT + over - len(head) - len(tail)) + tail
    assert len(body) == LIMIT + over
    answer = server.post(
        "/api/cats-dogs",
        content=body,
        headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
    )
    assert answer.status_code == status


def _open_uploads(server: ServerProcess) -> list[int]:
    """Sizes of the open files of the server that lie in its uploads folder, unlinked or not."""
    sizes = []
    for fd in Path(f"/proc/{server.pid}/fd").iterdir():
        try:
            if str(fd.readlink()).startswith(str(server.uploads.resolve())):
                sizes.append(fd.stat().st_size)
        except OSError:
            continue
    return sizes


def _send_part(server: ServerProcess, size: int) -> socket.socket:
    """A request that announces 1.5 MB and stops after `size` bytes."""
    connection = socket.create_connection(("127.0.0.1", server.port))
    head = "POST /api/cats-dogs HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
    connection.sendall(f"{head}Content-Length: 1500000\r\n\r\n".encode() + bytes(size))
    return connection


def test_large_uploads_spool_to_files_without_a_name(server: ServerProcess) -> None:
    small = _send_part(server, 400_000)
    time.sleep(0.5)
    assert _open_uploads(server) == []
    large = _send_part(server, 900_000)
    until = time.monotonic() + 10
    while not any(size > 500_000 for size in _open_uploads(server)):
        assert time.monotonic() < until
        time.sleep(0.01)
    assert list(server.uploads.iterdir()) == []
    small.close()
    large.close()
    until = time.monotonic() + 10
    while _open_uploads(server):
        assert time.monotonic() < until, "the spool outlived its client"
        time.sleep(0.01)


def test_kill_leaves_no_upload_behind(tmp_path: Path) -> None:
    with serving(shipped_models(tmp_path / "models", "cats-dogs"), tmp_path) as server:
        connection = _send_part(server, 1_400_000)
        until = time.monotonic() + 10
        while not _open_uploads(server):
            assert time.monotonic() < until
            time.sleep(0.01)
        server.process.kill()
        server.process.wait(30)
        assert list(server.uploads.iterdir()) == []
        connection.close()


def test_spooled_and_small_uploads_answer_the_same(server: ServerProcess) -> None:
    rng = np.random.default_rng(1)
    noise = Image.fromarray(rng.integers(0, 256, (700, 600, 3), np.uint8))
    out = io.BytesIO()
    noise.save(out, "PNG")
    assert out.tell() > 500_000
    answers = [
        server.post("/api/cats-dogs", content=out.getvalue()),
        server.post("/api/cats-dogs", files={"image": out.getvalue()}),
        server.post("/api/cats-dogs", files={"file": ("x.txt", out.getvalue(), "text/plain")}),
    ]
    assert [a.status_code for a in answers] == [200] * 3
    assert len({str(a.json()["predictions"]) for a in answers}) == 1


def test_a_slow_body_is_cut_at_the_deadline(server: ServerProcess) -> None:
    connection = _send_part(server, 10)
    connection.settimeout(20)
    started = time.monotonic()
    answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 504 ")
    assert b"deadline_exceeded" in answer
    assert time.monotonic() - started >= 1.9
    connection.close()


def test_a_refused_body_does_not_break_the_connection(server: ServerProcess) -> None:
    with httpx.Client(base_url=server.url, timeout=20) as client:
        assert client.post("/api/cats-dogs", content=padded_picture(LIMIT + 1)).status_code == 413
        assert client.post("/api/nothing", content=padded_picture(LIMIT)).status_code == 404
        assert client.post("/api/cats-dogs", content=padded_picture(100_000)).status_code == 200


def test_expect_100_continue_is_refused_before_the_body_is_sent(server: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(
            b"POST /api/cats-dogs HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            + f"Content-Length: {LIMIT + 1}\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_many_refused_uploads_cost_no_memory(server: ServerProcess) -> None:
    server.post("/api/cats-dogs", content=padded_picture(LIMIT))
    before = psutil.Process(server.pid).memory_info().rss
    for _ in range(20):
        assert server.post("/api/cats-dogs", content=bytes(3 * LIMIT)).status_code == 413
    assert server.rss - before < 20_000_000


BOUNDARY = "b" * 32
_PICTURE_PART = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n'
    "Content-Type: image/jpeg\r\n\r\n"
)
_EMPTY = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="x"\r\n\r\n'.encode()
_END = f"\r\n--{BOUNDARY}--\r\n".encode()


def _part(field: str = "image", filename: str = "a.jpg") -> bytes:
    return (_PICTURE_PART % (field, filename)).encode() + picture()


def _post_form(
    server: ServerProcess, body: bytes, content_type: str | None = None
) -> httpx.Response:
    content_type = content_type or f"multipart/form-data; boundary={BOUNDARY}"
    return server.post("/api/cats-dogs", content=body, headers={"Content-Type": content_type})


def test_several_pictures_in_one_form_keep_their_order(server: ServerProcess) -> None:
    note = f'\r\n--{BOUNDARY}\r\nContent-Disposition: form-data; name="note"\r\n\r\nimage'.encode()
    broken = (_PICTURE_PART % ("image", "b.jpg")).encode() + b"not a picture"
    answer = _post_form(server, _part("file") + note + b"\r\n" + _part() + _END)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["predictions"]) == 2
    answer = _post_form(server, _part() + note + b"\r\n" + broken + _END)
    assert [d["field"] for d in answer.json()["error"]["details"]] == ["image[1]"]


@pytest.mark.parametrize(
    ("body", "content_type", "says"),
    [
        (_part(), None, "multipart"),  # the end is missing
        (_part() + _END, "multipart/form-data", "boundary"),
        (_part() + _END, "multipart/form-data; boundary=other", "multipart"),
        (b"", None, "multipart"),
        (b"\r\n".join([_EMPTY] * 1001) + _END, None, "segment"),
        (b"\r\n".join([_EMPTY] * 1000) + _END, None, "no picture"),
    ],
    ids=["cut", "no boundary", "other boundary", "empty", "1001 parts", "1000 parts"],
)
def test_broken_forms_are_bad_requests(
    server: ServerProcess, body: bytes, content_type: str | None, says: str
) -> None:
    answer = _post_form(server, body, content_type)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "bad_request"
    assert says in answer.json()["error"]["message"].lower()


def _text_part(name: str) -> bytes:
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\ncat'.encode()


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (_text_part("note"), "found the field 'note'"),
        (_text_part("a") + b"\r\n" + _part("picture"), "found the field 'a', 'picture'"),
        (_part(filename=""), "found nothing"),  # a browser's field left empty
    ],
)
def test_a_form_without_an_upload_says_what_it_has(
    server: ServerProcess, body: bytes, found: str
) -> None:
    answer = _post_form(server, body + _END)
    assert answer.status_code == 400
    message = answer.json()["error"]["message"]
    assert message == f"no picture: expected it as the field 'image', {found}"


@pytest.mark.parametrize(
    ("model", "name", "example"),
    [("cats-dogs", "image", "cat.jpg"), ("mpg", "file", "rows.csv")],
)
def test_a_forgotten_at_sign_is_reported(
    server: ServerProcess, model: str, name: str, example: str
) -> None:
    """`-F image=cat.jpg`: also beside an upload, whose answer would pass for that of both."""
    for before in (b"", _part("file") + b"\r\n"):
        answer = server.post(
            f"/api/{model}",
            content=before + _text_part(name) + _END,
            headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
        )
        assert answer.status_code == 400
        assert answer.json()["error"]["message"] == (
            f"the field '{name}' is text, not a file: with curl, -F {name}=@{example}"
        )


def test_a_csv_in_another_field_is_reported(server: ServerProcess) -> None:
    table = b"weight\n1\n"
    for fields, found in ((["data"], "the field 'data'"), (["file", "file"], "2 files")):
        answer = server.post("/api/mpg", files=[(f, ("ok.csv", table)) for f in fields])
        assert answer.status_code == 400
        message = answer.json()["error"]["message"]
        assert message == f"expected one CSV as the field 'file', found {found}"


def test_chunked_forms_at_the_limit(server: ServerProcess) -> None:
    rest = len(_part()) + len(_END)
    for size, status in [(LIMIT, 200), (LIMIT + 1, 413)]:
        body = _part() + bytes(size - rest) + _END
        answer = server.post(
            "/api/cats-dogs",
            content=in_chunks(body),
            headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
        )
        assert answer.status_code == status


# --- Content-Encoding: one reader for all protocols ----------------------------------------------

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
}
_CSV = ",".join(CAR) + "\n" + ",".join(map(str, CAR.values()))
_JSON = {"Content-Type": "application/json"}
BODIES: dict[str, tuple[str, bytes, dict[str, str]]] = {
    "row": ("/api/mpg", json.dumps(CAR).encode(), _JSON),
    "table": ("/api/mpg", _CSV.encode(), {"Content-Type": "text/csv"}),
    "picture": ("/api/cats-dogs", picture(), {"Content-Type": "image/jpeg"}),
    "form": (
        "/api/cats-dogs",
        _part() + _END,
        {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
    ),
    "table in a form": (
        "/api/mpg",
        (_PICTURE_PART % ("file", "cars.csv") + _CSV).encode() + _END,
        {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
    ),
    "picture to all": ("/predict", picture(), {}),
    "v1": ("/v1/models/mpg:predict", json.dumps(V1_CAR).encode(), _JSON),
    "v2": ("/v2/models/mpg/infer", json.dumps(V2_CAR).encode(), _JSON),
}


def _predictions(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    found = answer.json()
    if "predictions" in found:
        return found["predictions"]
    return found.get("outputs") or [found["cats-dogs"]["predictions"]]


@pytest.mark.parametrize("kind", BODIES)
def test_compressed_bodies_are_read_in_every_protocol(server: ServerProcess, kind: str) -> None:
    path, body, headers = BODIES[kind]
    plain = _predictions(server.post(path, content=body, headers=headers))
    for coding, pack in PACK.items():
        for content in (pack(body), in_chunks(pack(body))):
            packed = {**headers, "Content-Encoding": coding}
            assert _predictions(server.post(path, content=content, headers=packed)) == plain


@pytest.mark.parametrize("kind", BODIES)
def test_unsupported_codings_are_no_bad_bodies(server: ServerProcess, kind: str) -> None:
    path, body, headers = BODIES[kind]

    def message(answer: httpx.Response) -> str:
        error = answer.json()["error"]
        return str(error if path.startswith("/v") else error["message"])

    for coding in ("br", "gzip, gzip", "zstd"):
        answer = server.post(path, content=body, headers={**headers, "Content-Encoding": coding})
        assert answer.status_code == 415
        assert message(answer).endswith("is not supported: expected gzip or deflate")
        assert answer.headers["Accept-Encoding"] == "gzip, x-gzip, deflate"
    for content in (b"no", gzip.compress(body)[:-1], gzip.compress(b"") * 10_001):
        gzipped = {**headers, "Content-Encoding": "gzip"}
        answer = server.post(path, content=content, headers=gzipped)
        assert answer.status_code == 400
        assert "gzip" in message(answer)
    bomb = gzip.compress(bytes(LIMIT + 1))
    answer = server.post(path, content=bomb, headers={**headers, "Content-Encoding": "gzip"})
    assert answer.status_code == 413


@pytest.mark.parametrize(("over", "status"), [(0, 200), (1, 413)])
def test_the_limit_counts_what_is_unpacked(server: ServerProcess, over: int, status: int) -> None:
    content = gzip.compress(padded_picture(LIMIT + over))
    answer = server.post("/api/cats-dogs", content=content, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == status
