"""What the log says about requests, and what it must never contain."""

from __future__ import annotations

import os
import pty
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import (
    CAR,
    ROOT,
    V1_CAR,
    V2_CAR,
    ServerProcess,
    eventually,
    picture,
    picture_that_says,
)

# The fields of a form have numbers.
FORM = {f"field{i}": str(value) for i, value in enumerate(CAR.values())}


def line_of(server: ServerProcess, id: str) -> dict[str, Any]:
    """The line of the request with this id, which is the only one."""
    (line,) = eventually(lambda: server.requests(id=id), every=0.05)
    return dict(line)


def asked(server: ServerProcess, path: str, **kwargs: Any) -> tuple[httpx.Response, dict[str, Any]]:
    """An answer, and the line that the log has of it."""
    answer = server.post(path, **kwargs) if kwargs else server.get(path)
    return answer, line_of(server, answer.headers["x-request-id"])


def raw(server: ServerProcess, *parts: bytes, read: bool = True) -> bytes:
    """What the server says to bytes that no library would send; a cut connection if not `read`."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        for part in parts:
            connection.sendall(part)
        return connection.recv(65536) if read else b""


def test_a_line_says_what_was_asked_and_where_the_time_went(shipped: ServerProcess) -> None:
    before = datetime.now().astimezone() - timedelta(seconds=1)
    answer, line = asked(shipped, "/api/mpg?secret=1", json=[CAR] * 3)
    assert datetime.fromisoformat(line.pop("time")) >= before
    for key in ("ms", "decode_ms", "queue_ms", "infer_ms"):
        assert line.pop(key) > 0
    assert len(answer.content) < line.pop("bytes_out") < len(answer.content) + 500
    assert line == {
        "level": "info",
        "logger": "app.access",
        "replica": socket.gethostname(),
        "event": "request",
        "id": answer.json()["id"],
        "client": "127.0.0.1",
        "method": "POST",
        "path": "/api/mpg",
        "status": 200,
        "protocol": "native",
        "model": "mpg",
        "version": 1,
        "rows": 3,
        "batch": 3,
        "bytes_in": len(answer.request.content),
    }


def test_the_protocols_are_distinguished(shipped: ServerProcess) -> None:
    # Path, body, protocol, status, code, model, rows.
    cases: list[tuple[str, Any, str, int, str | None, str | None, int | None]] = [
        ("/api/mpg", {"json": CAR}, "native", 200, None, "mpg", 1),
        ("/api/mpg", {"json": {}}, "native", 422, "invalid_input", "mpg", None),
        ("/api/mpg?version=7", {"json": CAR}, "native", 404, "model_not_found", None, None),
        ("/api/models/mpg", {}, "native", 200, None, "mpg", None),
        ("/api/models", {}, "native", 200, None, None, None),
        ("/v1/models/mpg:predict", {"json": V1_CAR}, "v1", 200, None, "mpg", 1),
        ("/v1/models/mpg:predict", {"json": {}}, "v1", 400, "bad_request", "mpg", None),
        ("/v1/models/nothing:predict", {"json": {}}, "v1", 404, "model_not_found", None, None),
        ("/v2/models/mpg/infer", {"json": V2_CAR}, "v2", 200, None, "mpg", 1),
        ("/v2/models/mpg/infer", {"content": b"["}, "v2", 400, "bad_request", "mpg", None),
        ("/v2/repository/index", {"json": {}}, "v2", 200, None, None, None),
        ("/models/mpg", {}, "page", 200, None, "mpg", None),
        ("/models/mpg", {"data": FORM}, "page", 200, None, "mpg", 1),
        ("/models/mpg", {"data": {"field0": "x"}}, "page", 422, "invalid_input", "mpg", None),
        ("/", {}, "page", 200, None, None, None),
        ("/nothing", {}, "other", 404, "not_found", None, None),
    ]
    for path, body, *wanted in cases:
        answer, line = asked(shipped, path, **body)
        keys = ("protocol", "status", "code", "model", "rows")
        assert [line.get(key) for key in keys] == wanted, path
        assert line["path"] == path.partition("?")[0]
        assert line["status"] == answer.status_code
        assert line["level"] == "info"


def test_texts_have_words_and_pictures_one_line_for_all_models(shipped: ServerProcess) -> None:
    whole, line = asked(shipped, "/api/patents", json={"seed": None, "words": 12})
    assert whole.status_code == 200, whole.text
    assert (line["model"], line["words"], line["rows"]) == ("patents", 12, 1)
    streamed, line = asked(
        shipped,
        "/api/patents",
        json={"seed": None, "words": 11},
        headers={"Accept": "text/event-stream"},
    )
    assert streamed.text.count("event: word") == line["words"] == 11
    _, line = asked(shipped, "/predict", files={"image": picture()})
    assert line["models"] == ["cats-dogs", "membranes"]
    assert (line["rows"], line["protocol"]) == (2, "native")


def test_what_happens_to_the_server_has_lines_too(shipped: ServerProcess) -> None:
    # What TensorFlow says of the machine may come before.
    lines = [each for each in shipped.lines() if each["logger"].startswith("app.")]
    assert [each["address"] for each in lines if "address" in each] == [shipped.url]
    ready = {each["model"]: each for each in lines if "ready in" in each["event"]}
    assert ready.keys() == {"cats-dogs", "membranes", "mpg", "patents", "spam"}
    assert all(each["seconds"] > 0 and each["version"] == 1 for each in ready.values())
    for each in ready.values():
        assert each["event"].endswith(", from the cache") == each["from_cache"]
    # Loading is no alarm.
    assert {each["level"] for each in shipped.requests(path="/readyz")} == {"info"}


def test_health_checks_are_sampled_and_failures_are_not(shipped: ServerProcess) -> None:
    before = len(shipped.requests(path="/livez", status=200))
    with httpx.Client(base_url=shipped.url) as client:
        for _ in range(250):
            assert client.get("/livez").status_code == 200
    _, line = asked(shipped, "/livez", json={})
    assert line["status"] == 405
    logged = shipped.requests(path="/livez", status=200)
    assert 2 <= len(logged) - before <= 3


def test_what_is_no_http_has_a_line_too(shipped: ServerProcess) -> None:
    start = len(shipped.log())
    garbage = [
        b"hush-garbage\r\n\r\n",
        b"GET /?hush-garbage HTTP/9\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: hush-garbage\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: hush-garbage\r\n\r\n",
        b"GET /" + b"x" * 10_000 + b"hush-garbage HTTP/1.1\r\n\r\n",
    ]
    for sent in garbage:
        assert re.match(rb"HTTP/1.1 4(00|14) ", raw(shipped, sent)), sent
    found = eventually(
        lambda: shipped.requests(start)[len(garbage) - 1 :] and shipped.requests(start), every=0.05
    )
    assert [line["status"] for line in found] == [400] * 4 + [414]
    assert {(line["protocol"], line["code"]) for line in found} == {("other", "bad_request")}
    assert all(line["problem"] and line["client"] == "127.0.0.1" for line in found)
    assert "hush-garbage" not in shipped.log()[start:]


@pytest.mark.parametrize(
    "body",
    [b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n5\r\n{", b""],
    ids=["length", "chunked", "words"],
)
def test_a_client_that_goes_away_is_499(shipped: ServerProcess, body: bytes) -> None:
    id = uuid.uuid4().hex
    head = b"POST /api/patents HTTP/1.1\r\nHost: x\r\nX-Request-ID: %b\r\n" % id.encode()
    if not body:
        order = b'{"seed": null, "words": 100}'
        head += b"Accept: text/event-stream\r\nContent-Length: %d\r\n\r\n%b" % (len(order), order)
    raw(shipped, head + body, read=not body)
    line = line_of(shipped, id)
    assert (line["status"], line["code"]) == (499, "client_disconnected")


def test_a_client_cannot_forge_a_line(shipped: ServerProcess) -> None:
    id = uuid.uuid4().hex
    forged = b'/\x9b2J[2Jx{"event":"forged"}'
    raw(shipped, b"GET %b HTTP/1.1\r\nHost: x\r\nX-Request-ID: %b\r\n\r\n" % (forged, id.encode()))
    line = line_of(shipped, id)
    assert line["path"].startswith("/\x9b2J[2Jx{")
    assert b"\x9b" not in shipped.log().encode()
    # An id of its own, since this one could not be found by it.
    answer = httpx.get(f"{shipped.url}/nothing", headers={"X-Request-ID": 'a"b'})
    assert answer.headers["x-request-id"] != 'a"b'


def test_under_load_each_request_has_one_line(shipped: ServerProcess) -> None:
    """16 connections, all kinds of requests, mistakes and clients that go away among them."""
    start = len(shipped.log())
    jpeg = picture()
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "row": ("/api/mpg", {"json": CAR}),
        "mistake": ("/api/mpg", {"json": {"weight": "heavy\n{}"}}),
        "rows": ("/api/mpg", {"json": [CAR] * 50}),
        "v1": ("/v1/models/mpg:predict", {"json": V1_CAR}),
        "v2": ("/v2/models/mpg/infer", {"json": V2_CAR}),
        "picture": ("/api/cats-dogs", {"files": {"image": jpeg}}),
        "text": ("/api/patents", {"json": {"seed": None, "words": 20}}),
        "missing": ("/api/none", {"json": CAR}),
        "page": ("/models/mpg", {"data": FORM}),
    }
    sent: dict[str, int] = {}

    def work(seed: int) -> None:
        choices = random.Random(seed)
        with httpx.Client(base_url=shipped.url, timeout=150) as client:
            for i in range(40):
                id = f"load-{seed}-{i}"
                if i % 13 == 12:
                    head = (
                        b"POST /api/mpg HTTP/1.1\r\nHost: x\r\nX-Request-ID: %b\r\n"
                        b"Content-Length: 9\r\n\r\n{"
                    )
                    raw(shipped, head % id.encode(), read=False)
                    sent[id] = 499
                    continue
                path, body = kinds[choices.choice(list(kinds))]
                answer = client.post(path, headers={"X-Request-ID": id}, **body)
                assert answer.headers["x-request-id"] == id
                sent[id] = answer.status_code

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    assert {200, 404, 422, 499} <= set(sent.values())

    def found() -> list[dict[str, Any]]:
        lines = shipped.requests(start)
        return [line for line in lines if str(line.get("id")).startswith("load-")]

    eventually(lambda: len(found()) >= len(sent))
    assert {line["id"]: line["status"] for line in found()} == sent
    assert set(Counter(line["id"] for line in found()).values()) == {1}


def test_nothing_that_clients_send_is_in_the_log(shipped: ServerProcess) -> None:
    start = len(shipped.log())
    secret = f"hush{uuid.uuid4().hex}"
    headers = {
        "Authorization": f"Bearer {secret}",
        "X-API-Key": secret,
        "Cookie": f"session={secret}",
        "Referer": f"http://localhost/?token={secret}",
        "User-Agent": secret,
    }
    text, csv = {"Content-Type": "text/plain"}, {"Content-Type": "text/csv"}
    jpeg = picture_that_says(secret)
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/api/mpg", {"json": CAR}),
        ("/api/mpg", {"json": {**CAR, "year": secret}}),
        ("/api/mpg", {"json": {**CAR, secret: 1}}),
        ("/api/mpg", {"content": f"{{{secret}".encode(), "headers": text}),
        ("/api/mpg", {"content": f"weight\n{secret}".encode(), "headers": csv}),
        ("/api/mpg", {"files": {"file": (secret, f"{secret}\n1".encode())}}),
        ("/api/cats-dogs", {"files": {"image": (f"{secret}.jpg", jpeg, "image/jpeg")}}),
        ("/api/cats-dogs", {"files": {"image": (secret, secret.encode())}}),
        ("/api/cats-dogs", {"content": jpeg[:-900], "headers": {"Content-Type": "image/jpeg"}}),
        ("/predict", {"files": {secret: (secret, jpeg)}}),
        ("/api/patents", {"json": {"seed": secret, "words": 2}}),
        ("/api/patents", {"json": {"seed": f"a network {secret}", "words": 2}}),
        ("/v1/models/mpg:predict", {"json": {"instances": [[secret] * 7]}}),
        ("/v2/models/mpg/infer", {"json": {"id": secret, "inputs": [{"name": secret}]}}),
        ("/v2/models/mpg/infer", {"json": {"id": secret, **V2_CAR}}),
        ("/models/mpg", {"data": {**FORM, "field3": secret}}),
        ("/models/cats-dogs", {"files": {"image": (f"{secret}.jpg", jpeg)}}),
    ]
    ids = set()
    for path, body in bodies:
        given = {**headers, **body.pop("headers", {})}
        answer = shipped.post(f"{path}?token={secret}", headers=given, **body)
        assert answer.status_code < 500
        ids.add(answer.headers["x-request-id"])
    eventually(lambda: ids <= {line.get("id") for line in shipped.requests(start)})
    assert secret not in shipped.log()[start:]


def test_text_for_people_on_a_terminal(tmp_path: Path) -> None:
    """Also what a client sends that would move the cursor of a terminal."""
    (tmp_path / "models").mkdir()
    controller, terminal = pty.openpty()
    environ = {
        **os.environ,
        "KERAPORT_PORT": "0",
        "KERAPORT_MODELS_DIR": str(tmp_path / "models"),
        "KERAPORT_UPLOADS_DIR": str(tmp_path),
        "NO_COLOR": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "serve"],
        cwd=ROOT,
        env=environ,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    shown = ""

    def read_until(pattern: str) -> re.Match[str]:
        nonlocal shown
        until = time.monotonic() + 120
        while not (found := re.search(pattern, shown)):
            assert time.monotonic() < until, shown
            shown += os.read(controller, 65536).decode()
        return found

    try:
        url = read_until(r"Keraport \S+ on (http://\S+),")[1]
        assert read_until(r"\d\d:\d\d:\d\dZ \[info +\] listening on (\S+)")[1] == url
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(b"GET /[2J\x9bx?hush HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 404 ")
        line = read_until(r"request .*bytes_out=")[0]
        assert "status=404" in line
        assert "code=not_found" in line
        assert "[2J\\x9bx" in shown
        assert "\x1b" not in shown
        assert "hush" not in shown
        assert "{" not in shown
    finally:
        process.kill()
        process.wait(60)
        os.close(controller)


def test_the_level_says_how_much_is_written(tmp_path: Path) -> None:
    """And text away from a terminal, if a setting asks for it."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "x.onnx").touch()
    with tempfile.TemporaryDirectory() as uploads:
        server = ServerProcess(
            tmp_path / "models", Path(uploads), log_level="warning", log_format="text"
        )
        try:
            server.await_ready()
            assert server.get("/nothing").status_code == 404
            server.terminate()
            assert server.process.wait(60) == 0
            assert "is not looked at" in server.log()
            assert "[warning" in server.log()
            for text in ("request", "listening", "drain", "[info"):
                assert text not in server.log()
        finally:
            server.stop()
