"""The framing of requests, by the table of cases, and by generated ones."""

from __future__ import annotations

import io
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.bodies.body import Body
from app.api.bodies.framing import FramingError, Request, chunk_size, read_fields, read_request_line
from app.errors import BadRequest, ClientDisconnected
from tests.framing import BODIES, GOOD, HEADS, MARKER, Case


def reader(raw: bytes) -> io.BufferedReader:
    return io.BufferedReader(io.BytesIO(raw))


def read(file: io.BufferedReader) -> Request:
    request = read_request_line(file.readline)
    assert request is not None
    read_fields(file.readline, request)
    return request


def head(lines: bytes = b"", line: bytes = b"GET / HTTP/1.1") -> Request:
    return read(reader(line + b"\r\nHost: x\r\n" + lines + b"\r\n"))


@pytest.mark.parametrize("case", HEADS.values(), ids=HEADS)
def test_heads_that_are_refused(case: Case) -> None:
    with pytest.raises(FramingError) as caught:
        read(reader(case.raw))
    assert caught.value.status == case.status


@pytest.mark.parametrize("case", BODIES.values(), ids=BODIES)
def test_bodies_that_are_refused(case: Case) -> None:
    file = reader(case.raw)
    body = Body(file, read(file).length)
    with pytest.raises(BadRequest):
        body.read()
    assert not body.ended
    with pytest.raises(BadRequest):
        body.read(1)


@pytest.mark.parametrize("case", GOOD.values(), ids=GOOD)
def test_what_is_well_formed(case: Case) -> None:
    file = reader(case.raw + MARKER)
    body = Body(file, read(file).length)
    data = body.read()
    assert body.ended
    assert body.received == len(data)
    assert file.read() == MARKER, "the next request begins where this one ends"


@pytest.mark.parametrize("case", GOOD.values(), ids=GOOD)
def test_a_request_that_is_cut_off_is_never_whole(case: Case) -> None:
    for end in range(1, len(case.raw), max(1, len(case.raw) // 200)):
        file = reader(case.raw[:end])
        try:
            body = Body(file, read(file).length)
            body.read()
        except (FramingError, ClientDisconnected, AssertionError):
            continue
        raise AssertionError(case.raw[:end])


def test_nothing_before_the_end_is_no_request() -> None:
    assert read_request_line(reader(b"").readline) is None
    assert read_request_line(reader(b"\r\n").readline) is None


def test_what_a_request_says() -> None:
    request = head(
        b"X-A: 1\r\nx-a:  2\t\r\nCookie: a=1\r\nCookie: b=2\r\n",
        b"GET /a%20%C3%A9?b=%20#c HTTP/1.1",
    )
    assert (request.method, request.version) == ("GET", "HTTP/1.1")
    assert (request.path, request.query) == ("/a \xc3\xa9", "b=%20#c")
    assert request.fields == {"host": "x", "x-a": "1,2", "cookie": "a=1; b=2"}
    assert request.length == 0


def test_an_absolute_address_names_the_host() -> None:
    request = head(line=b"GET http://other:81/a?b HTTP/1.1")
    assert (request.path, request.query) == ("/a", "b")
    assert request.host == request.fields["host"] == "other:81"
    assert head(line=b"GET http://other?b HTTP/1.1").path == "/"


@pytest.mark.parametrize(
    ("version", "options", "kept"),
    [
        ("1.1", b"", True),
        ("1.1", b"Connection: close\r\n", False),
        ("1.1", b"Connection: X, Close\r\n", False),
        ("1.1", b"Connection: X\r\nConnection: close\r\n", False),
        ("1.0", b"", False),
        ("1.0", b"Connection: X, Keep-Alive\r\n", True),
        ("1.0", b"Connection: keep-alive, close\r\n", False),
    ],
)
def test_whether_the_connection_is_kept(version: str, options: bytes, kept: bool) -> None:
    assert head(options, f"GET / HTTP/{version}".encode()).keep_alive is kept


def test_http_1_0_needs_no_host_and_expects_nothing() -> None:
    request = read(reader(b"GET / HTTP/1.0\r\nExpect: gold\r\n\r\n"))
    assert (request.host, request.expects_continue) == (None, False)


@pytest.mark.parametrize(
    ("line", "path"),
    [
        (b"GET  /v1/models HTTP/1.1\r\n", "/v1/models"),
        (b"GET /v2/x\0?a HTTP/1.1\r\n", "/v2/x\0"),
        (b"GET http://x/v1/a HTTP/2.0\r\n", "/v1/a"),
        (b"GET /v2/" + b"a" * 9000 + b"?b HTTP/1.1\r\n", "/v2/" + "a" * 8185),
        (b"nonsense\r\n", ""),
    ],
)
def test_an_error_knows_the_path_where_it_can_be_read(line: bytes, path: str) -> None:
    with pytest.raises(FramingError) as caught:
        read_request_line(reader(line).readline)
    assert caught.value.path == path
    with pytest.raises(FramingError) as caught:
        head(b"Content-Length: x\r\n", b"GET /v1/%61 HTTP/1.1")
    assert caught.value.path == "/v1/a"


@given(st.integers(0, 2**59), st.booleans())
def test_sizes_of_chunks(size: int, capitals: bool) -> None:
    digits = f"{size:X}" if capitals else f"{size:x}"
    assert chunk_size(f"{digits}\r\n".encode()) == size


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=20), st.data())
def test_chunks_come_out_as_they_went_in(chunks: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in chunks) + b"0\r\n\r\n" + MARKER
    file = reader(wire)
    body = Body(file, None)
    received = b""
    while not body.ended:
        received += body.read(data.draw(st.integers(1, 40)))
    assert received == b"".join(chunks)
    assert file.read() == MARKER


@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_refused(raw: bytes) -> None:
    for prefix in (b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n"):
        file = reader(prefix + raw)
        with suppress(FramingError):
            request = read_request_line(file.readline)
            if request is not None:
                read_fields(file.readline, request)


def test_lines_of_a_body() -> None:
    assert list(Body(reader(b"a\nbc\n\nd"), 7)) == [b"a\n", b"bc\n", b"\n", b"d"]
    assert Body(reader(b"abc\n"), 4).readline(2) == b"ab"
    assert Body(reader(b"a\nb"), 3).readlines() == [b"a\n", b"b"]


@pytest.mark.parametrize("filler", [b" ", b"\t", b"a", b" a", b"a "])
def test_long_lines_take_linear_time(filler: bytes) -> None:
    """Of the processor, against lines a fourth as long: a quadratic reader takes 16 times."""
    lines = [b"X:" + filler * (size // len(filler)) + b"\r\n" for size in (15_000, 60_000)]

    def seconds(line: bytes) -> float:
        def once() -> float:
            started = time.thread_time()
            for _ in range(20):
                head(line)
            return time.thread_time() - started

        return min(once() for _ in range(5))

    short, long = map(seconds, lines)
    assert long < 10 * short + 0.01
