"""Framing on the bare port: nothing ambiguous is served, no client causes a trace in the log, and a
client that has finished sending still gets its answer."""

from __future__ import annotations

import json
import socket
import struct
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.framing import (
    BODIES,
    GOOD,
    HEADS,
    MARKER,
    MARKER_PATH,
    Case,
    converse,
    statuses,
)
from tests.support import V1_CAR, ServerProcess, eventually, serving

LIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
CLOSE = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
LONG, QUICK = b"[[100.0]]", b"[[1.0]]"


def connect(server: ServerProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=60)


def talk(server: ServerProcess, raw: bytes) -> bytes:
    with connect(server) as connection:
        return converse(connection, raw)


@pytest.fixture(autouse=True)
def no_trace(shipped: ServerProcess) -> Iterator[None]:
    """Whatever a client does, nothing of it is an error in the log."""
    start = len(shipped.log())
    yield
    shipped.get("/livez")
    for line in shipped.lines(start):
        assert "exception" not in line, line
        assert line["level"] not in ("error", "critical"), line
        assert line.get("path") != MARKER_PATH, line


@pytest.mark.parametrize("case", HEADS.values(), ids=HEADS)
def test_heads_that_are_refused(shipped: ServerProcess, case: Case) -> None:
    received = talk(shipped, case.raw)
    assert statuses(received) == [case.status]
    assert b"\r\nConnection: close\r\n" in received


@pytest.mark.parametrize("case", BODIES.values(), ids=BODIES)
def test_bodies_that_are_refused(shipped: ServerProcess, case: Case) -> None:
    received = talk(shipped, case.raw)
    assert statuses(received) == [400]
    assert b"\r\nConnection: close\r\n" in received
    assert json.loads(received.partition(b"\r\n\r\n")[2])["error"].startswith("the body cannot be")


@pytest.mark.parametrize("case", BODIES.values(), ids=BODIES)
def test_broken_chunks_in_a_body_that_is_thrown_away(shipped: ServerProcess, case: Case) -> None:
    for path in (b"/nowhere", b"/livez"):
        received = talk(shipped, case.raw.replace(b"/v1/models/mpg:predict", path))
        assert statuses(received) == [404 if path == b"/nowhere" else 405]


@pytest.mark.parametrize("case", GOOD.values(), ids=GOOD)
def test_what_is_well_formed(shipped: ServerProcess, case: Case) -> None:
    received = talk(shipped, case.raw + CLOSE)
    assert statuses(received) == [case.status, 200]


@pytest.mark.parametrize("case", GOOD.values(), ids=GOOD)
def test_the_connection_may_end_at_any_point(shipped: ServerProcess, case: Case) -> None:
    for end in sorted({0, 1, len(case.raw) // 3, len(case.raw) // 2, len(case.raw) - 1}):
        for reset in (False, True):
            with connect(shipped) as connection:
                connection.sendall(case.raw[:end])
                if reset:
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    with connect(shipped) as connection:
        connection.sendall(case.raw[:-1])
        connection.shutdown(socket.SHUT_WR)
        # If no one reads the body, its end is not missed.
        assert statuses(converse(connection, b"")) in ([400], [case.status])


@pytest.mark.parametrize("path", ["/v1/models/mpg:predict", "/v2/models/mpg/infer", "/api/mpg"])
@pytest.mark.parametrize(
    ("line", "lines", "status"),
    [
        ("POST {} HTTP/1.1", "Content-Length: +1", 400),
        ("POST  {} HTTP/1.1", "", 400),
        ("POST http://x{} HTTP/1.1", "Host: y", 400),
        ("POST {} HTTP/2.0", "", 505),
        ("POST {}?" + "a" * 9000 + " HTTP/1.1", "", 414),
        ("POST {} HTTP/1.1", "X: " + "a" * 70_000, 431),
        ("POST {} HTTP/1.1", "Expect: gold", 417),
    ],
    ids=["length", "line", "hosts", "version", "address", "headers", "expectation"],
)
def test_errors_have_the_shape_of_the_protocol(
    shipped: ServerProcess, path: str, line: str, lines: str, status: int
) -> None:
    head = f"{line.format(path)}\r\nHost: x\r\n{lines}\r\n\r\n"
    received = talk(shipped, head.replace("\r\n\r\n\r\n", "\r\n\r\n").encode())
    assert statuses(received) == [status]
    answer = json.loads(received.partition(b"\r\n\r\n")[2])
    if path.startswith("/v"):
        assert list(answer) == ["error"]
        message = answer["error"]
    else:
        assert (list(answer), answer["error"]["code"]) == (["id", "error"], "bad_request")
        message = answer["error"]["message"]
    assert message.startswith("not an HTTP request that can be read: ")


# --- HEAD, OPTIONS, Expect, absolute addresses ---------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/livez", "/api/models", "/nowhere", "/static/app.css", "/api/mpg", "/metrics"]
)
def test_head_has_the_headers_and_no_body(shipped: ServerProcess, path: str) -> None:
    with httpx.Client(base_url=shipped.url, timeout=60) as client:
        got, headed = client.get(path), client.head(path)
        assert headed.status_code == got.status_code
        assert headed.content == b""
        varies = {"date", "x-request-id", "content-length"}
        assert {k: v for k, v in headed.headers.items() if k not in varies} == {
            k: v for k, v in got.headers.items() if k not in varies
        }
    received = talk(shipped, f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + CLOSE)
    assert statuses(received) == [got.status_code, 200]


def test_the_server_as_a_whole(shipped: ServerProcess) -> None:
    received = talk(shipped, b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 204 ")
    assert b"\r\nAllow: GET, HEAD, OPTIONS, POST\r\n" in received


def test_an_absolute_address_is_served_as_its_path(shipped: ServerProcess) -> None:
    id, start = uuid.uuid4().hex, len(shipped.log())
    body = json.dumps(V1_CAR).encode()
    received = talk(
        shipped,
        b"POST http://elsewhere/v1/models/mpg:predict?a=b HTTP/1.1\r\nHost: x\r\n"
        b"X-Request-ID: %b\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
        % (id.encode(), len(body), body),
    )
    assert statuses(received) == [200]
    (line,) = shipped.requests(start, id=id)
    assert (line["path"], line["protocol"]) == ("/v1/models/mpg:predict", "v1")


def test_a_stream_ends_an_old_connection(shipped: ServerProcess) -> None:
    body = b'{"seed": null, "words": 20}'
    received = talk(
        shipped,
        b"POST /api/patents HTTP/1.0\r\nConnection: keep-alive\r\nAccept: text/event-stream\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body),
    )
    assert b"\r\nConnection: close\r\n" in received
    assert b"event: done" in received


@pytest.mark.parametrize("word", [b"100-continue", b"100-Continue"])
def test_a_client_that_waits_is_sent_a_word(shipped: ServerProcess, word: bytes) -> None:
    body = json.dumps(V1_CAR).encode()
    with connect(shipped) as connection:
        connection.sendall(
            b"POST /v1/models/mpg:predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Expect: %b\r\nContent-Length: %d\r\n\r\n" % (word, len(body))
        )
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert statuses(converse(connection, body)) == [200]


@pytest.mark.parametrize(
    ("request_bytes", "words"),
    [
        (b"nonsense\r\n\r\n", b"not an HTTP request"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", b"Transfer-Encoding"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"Content-Length"),
        (b"POST / HTTP/1.1\r\nContent-Length: ten\r\n\r\n", b"ten"),
    ],
)
def test_what_is_not_http_gets_400_in_json(
    shipped: ServerProcess, request_bytes: bytes, words: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", shipped.port), timeout=20) as connection:
        connection.sendall(request_bytes)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"bad_request"' in answer
    assert words in answer


@pytest.mark.parametrize(
    ("length", "status", "code"), [(8100, 404, "not_found"), (8300, 414, "bad_request")]
)
def test_addresses_have_a_limit(
    shipped: ServerProcess, length: int, status: int, code: str
) -> None:
    with httpx.Client(base_url=shipped.url, timeout=20) as client:
        answer = client.get("/nothing?" + "a" * (length - 9))
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


# --- Clients that have finished sending, and clients that have gone ------------------------------


@pytest.fixture(scope="module")
def slow(slow_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("framing")
    with serving(slow_models, folder, request_timeout_s=120) as server:
        yield server


def asking(body: bytes, version: bytes = b"1.1", id: str = "x") -> bytes:
    return (
        b"POST /api/slow HTTP/%b\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"X-Request-ID: %b\r\nContent-Length: %d\r\n\r\n%b"
        % (version, id.encode(), len(body), body)
    )


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("late", [False, True], ids=["at once", "later"])
def test_a_half_closed_client_gets_its_answer(
    slow: ServerProcess, version: bytes, late: bool
) -> None:
    with ThreadPoolExecutor(1) as pool, connect(slow) as connection:
        running = pool.submit(slow.post, "/api/slow", content=LONG)
        slow.await_waiting(1)
        connection.sendall(asking(QUICK, version))
        if late:
            slow.await_waiting(2)
        connection.shutdown(socket.SHUT_WR)
        received = converse(connection, b"")
        assert running.result().status_code == 200
    assert statuses(received) == [200]
    assert json.loads(received.rpartition(b"\r\n\r\n")[2])["predictions"] == [[1.0]]
    # HTTP/1.0 knows no interim answers.
    assert (b" 100 Continue" in received) is (version == b"1.1")


@pytest.mark.parametrize("ahead", [b"", LIVE], ids=["alone", "with a request sent ahead"])
@pytest.mark.parametrize("how", ["closes", "closes later", "resets"])
def test_a_client_that_has_gone_leaves_the_queue(
    slow: ServerProcess, how: str, ahead: bytes
) -> None:
    id = uuid.uuid4().hex
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(slow.post, "/api/slow", content=b"[[300.0]]")
        slow.await_waiting(1)
        with connect(slow) as connection:
            connection.sendall(asking(QUICK, id=id) + ahead)
            slow.await_waiting(2)
            if how == "resets":
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            if how == "closes later":
                connection.shutdown(socket.SHUT_WR)
                time.sleep(0.3)
        slow.await_waiting(1)
        assert not running.done(), "the queue was left before its turn came"
        assert running.result().status_code == 200
    (line,) = slow.requests(id=id)
    assert line["status"] == 499
    assert not [line for line in slow.lines() if "exception" in line]


@pytest.mark.parametrize("request_", [LIVE, LIVE.replace(b"livez", b"nowhere")], ids=["200", "404"])
def test_a_client_that_sends_without_a_break_stops_no_one(
    shipped: ServerProcess, request_: bytes
) -> None:
    many, received = 4000, bytearray()

    def read() -> None:
        while chunk := greedy.recv(65536):
            received.extend(chunk)

    with connect(shipped) as greedy, connect(shipped) as other, ThreadPoolExecutor(2) as pool:
        other.sendall(LIVE)  # its connection is accepted before the others' requests
        assert other.recv(65536)
        sending = pool.submit(greedy.sendall, request_ * (many - 1) + CLOSE)
        reading = pool.submit(read)
        eventually(lambda: bool(received))
        other.sendall(LIVE)
        assert other.recv(65536)
        assert len(statuses(bytes(received))) < many // 2, "it waited for most of them"
        sending.result()
        reading.result()
    assert len(statuses(bytes(received))) == many


def test_the_table_has_a_marker_behind_each_case() -> None:
    for case in (*HEADS.values(), *BODIES.values()):
        assert case.raw.endswith(MARKER)
