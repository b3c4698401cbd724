"""Requests whose framing is ambiguous or broken, and ones that look odd and are well-formed.

Behind each that must not be read lies a marker: a request that a reader which got the length wrong
would take for the next one.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass

MARKER_PATH = "/smuggled-marker"
MARKER = f"GET {MARKER_PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
_N = str(len(MARKER)).encode()
_POST = b"POST /v1/models/mpg:predict HTTP/1.1\r\n"
_TYPE = b"Content-Type: application/json\r\n"


@dataclass(frozen=True, slots=True)
class Case:
    """raw: all that is sent. status: of the answer, 0 for none."""

    raw: bytes
    status: int = 400


def _head(lines: bytes, line: bytes = _POST) -> bytes:
    return line + b"Host: x\r\n" + _TYPE + lines + b"\r\n\r\n"


def _with(lines: bytes) -> Case:
    return Case(_head(lines) + MARKER)


def _chunks(body: bytes) -> Case:
    return Case(_head(b"Transfer-Encoding: chunked") + body + MARKER)


def _line(line: bytes, status: int = 400) -> Case:
    return Case(line + b"Host: x\r\n\r\n" + MARKER, status)


# What is refused in the head.
HEADS: dict[str, Case] = {
    "space before the colon": _with(b"Content-Length : " + _N),
    "tab before the colon": _with(b"Content-Length\t: " + _N),
    "space before the name": _with(b"X: y\r\n Content-Length: " + _N),
    "folded value": _with(b"X: y\r\n\tz\r\nContent-Length: " + _N),
    "folded length": _with(b"Content-Length:\r\n " + _N),
    "folded first header": Case(
        _POST + b" Host: x\r\nContent-Length: " + _N + b"\r\n\r\n" + MARKER
    ),
    "no colon": _with(b"nonsense\r\nContent-Length: " + _N),
    "no name": _with(b": y\r\nContent-Length: " + _N),
    "name beyond ASCII": _with("Größe: 1\r\nContent-Length: ".encode() + _N),
    "name of a hard space": _with(b"Content-Length\xa0: " + _N),
    "name in quotes": _with(b'"Content-Length": ' + _N),
    "name with a NUL": _with(b"X\0: y\r\nContent-Length: " + _N),
    "value with a NUL": _with(b"X: a\0b\r\nContent-Length: " + _N),
    "value with an escape": _with(b"X: a\x1bb\r\nContent-Length: " + _N),
    "bare CR in a value": _with(b"X: a\rContent-Length: 0\r\nContent-Length: " + _N),
    "bare CR in the length": _with(b"Content-Length: " + _N + b"\r"),
    "bare CR before the end": _with(b"Content-Length: " + _N + b"\r\n\rX: y"),
    "bare LF ends a header": _with(b"X: y\nContent-Length: " + _N),
    "bare LF ends the head": Case(_POST + b"Host: x\r\nContent-Length: " + _N + b"\r\n\n" + MARKER),
    "two lengths": _with(b"Content-Length: " + _N + b"\r\nContent-Length: 0"),
    "two lengths, the other way": _with(b"Content-Length: 0\r\nContent-Length: " + _N),
    "two equal lengths": _with(b"Content-Length: " + _N + b"\r\nContent-Length: " + _N),
    "list of equal lengths": _with(b"Content-Length: " + _N + b", " + _N),
    "list of lengths": _with(b"Content-Length: 0, " + _N),
    "length -0": _with(b"Content-Length: -0"),
    "length -1": _with(b"Content-Length: -1"),
    "length with a plus": _with(b"Content-Length: +" + _N),
    "length with an underscore": _with(b"Content-Length: 4_3"),
    "length in hex": _with(b"Content-Length: 0x2b"),
    "length with a point": _with(b"Content-Length: 43.0"),
    "length with an exponent": _with(b"Content-Length: 4e1"),
    "length with a space": _with(b"Content-Length: 4 3"),
    "length in quotes": _with(b'Content-Length: "43"'),
    "length of no digits": _with(b"Content-Length:"),
    "length in other digits": _with("Content-Length: ٤٣".encode()),
    "length with a vertical tab": _with(b"Content-Length: \x0b43"),
    "length of many digits": _with(b"Content-Length: " + b"9" * 20),
    "length of many zeros": _with(b"Content-Length: " + b"0" * 5000 + _N),
    "both lengths": _with(b"Transfer-Encoding: chunked\r\nContent-Length: " + _N),
    "both lengths, the other way": _with(
        b"Content-Length: " + _N + b"\r\nTransfer-Encoding: chunked"
    ),
    "coding and empty length": _with(b"Transfer-Encoding: chunked\r\nContent-Length:"),
    "two codings": _with(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    "two codings, one other": _with(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
    "coding gzip": _with(b"Transfer-Encoding: gzip"),
    "coding identity": _with(b"Transfer-Encoding: identity"),
    "coding gzip, chunked": _with(b"Transfer-Encoding: gzip, chunked"),
    "coding chunked, chunked": _with(b"Transfer-Encoding: chunked, chunked"),
    "coding chunked, identity": _with(b"Transfer-Encoding: chunked, identity"),
    "coding of no name": _with(b"Transfer-Encoding:"),
    "coding with a comma": _with(b"Transfer-Encoding: ,chunked"),
    "coding with a parameter": _with(b"Transfer-Encoding: chunked;q=1"),
    "coding in quotes": _with(b'Transfer-Encoding: "chunked"'),
    "coding xchunked": _with(b"Transfer-Encoding: xchunked"),
    "coding with a vertical tab": _with(b"Transfer-Encoding: \x0bchunked"),
    "coding with a space before the colon": _with(b"Transfer-Encoding : chunked"),
    "coding under HTTP/1.0": Case(
        _head(b"Transfer-Encoding: chunked", _POST.replace(b"1.1", b"1.0")) + MARKER
    ),
    "no host": Case(_POST + b"Content-Length: " + _N + b"\r\n\r\n" + MARKER),
    "no headers": Case(b"GET / HTTP/1.1\r\n\r\n" + MARKER),
    "two hosts": _with(b"Host: y\r\nContent-Length: " + _N),
    "two equal hosts": _with(b"Host: x\r\nContent-Length: " + _N),
    "two hosts under HTTP/1.0": Case(
        _head(b"Host: y\r\nContent-Length: " + _N, _POST.replace(b"1.1", b"1.0")) + MARKER
    ),
    "host with a space": Case(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n" + MARKER),
    "host with a path": Case(b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n" + MARKER),
    "host with a user": Case(b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n" + MARKER),
    "host with a bad port": Case(b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n" + MARKER),
    "host that opens a bracket": Case(b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n" + MARKER),
    "unknown expectation": Case(_head(b"Expect: gold\r\nContent-Length: " + _N) + MARKER, 417),
    "101 headers": Case(_head(b"\r\n".join([b"X: y"] * 99)) + MARKER, 431),
    "large headers": Case(_head(b"X: " + b"y" * 70_000) + MARKER, 431),
    "many large headers": Case(_head(b"\r\n".join([b"X: " + b"y" * 8000] * 9)) + MARKER, 431),
    # --- request lines ---
    "extra space": _line(b"GET  / HTTP/1.1\r\n"),
    "extra space before the version": _line(b"GET /  HTTP/1.1\r\n"),
    "space at the end": _line(b"GET / HTTP/1.1 \r\n"),
    "space at the start": _line(b" GET / HTTP/1.1\r\n"),
    "tab for a space": _line(b"GET\t/ HTTP/1.1\r\n"),
    "space in the address": _line(b"GET /a b HTTP/1.1\r\n"),
    "NUL in the address": _line(b"GET /a\0b HTTP/1.1\r\n"),
    "escape in the address": _line(b"GET /a\x1bb HTTP/1.1\r\n"),
    "bare CR in the request line": _line(b"GET / HTTP/1.1\rX: y\r\n"),
    "bare LF ends the request line": _line(b"GET / HTTP/1.1\n"),
    "method that is no token": _line(b"GE(T / HTTP/1.1\r\n"),
    "no version": _line(b"GET /\r\n"),
    "no address": _line(b"GET HTTP/1.1\r\n"),
    "garbage": _line(b"\x16\x03\x01\x02\x00\x01\r\n"),
    "version in lower case": _line(b"GET / http/1.1\r\n"),
    "version without a point": _line(b"GET / HTTP/11\r\n"),
    "version of two digits": _line(b"GET / HTTP/1.10\r\n"),
    "version with a sign": _line(b"GET / HTTP/+1.1\r\n"),
    "version 0.9": _line(b"GET / HTTP/0.9\r\n", 505),
    "version 2.0": _line(b"PRI * HTTP/2.0\r\n", 505),
    "relative address": _line(b"GET livez HTTP/1.1\r\n"),
    "address of another scheme": _line(b"GET ftp://x/livez HTTP/1.1\r\n"),
    "absolute address without a host": _line(b"GET http:///livez HTTP/1.1\r\n"),
    "absolute address with a user": _line(b"GET http://a@x/livez HTTP/1.1\r\n"),
    "asterisk": _line(b"GET * HTTP/1.1\r\n"),
    "tunnel": _line(b"CONNECT x:443 HTTP/1.1\r\n"),
    "long address": _line(b"GET /" + b"a" * 8300 + b" HTTP/1.1\r\n", 414),
    "two empty lines": Case(b"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n" + MARKER),
}
# What is refused in the body. Where the error is in what comes after the data, the request may
# have been answered before it is found.
BODIES: dict[str, Case] = {
    "size in C's hex": _chunks(b"0x2\r\n[]\r\n0\r\n\r\n"),
    "size with a plus": _chunks(b"+2\r\n[]\r\n0\r\n\r\n"),
    "size with a minus": _chunks(b"-2\r\n[]\r\n0\r\n\r\n"),
    "size with an underscore": _chunks(b"0_2\r\n[]\r\n0\r\n\r\n"),
    "size after a space": _chunks(b" 2\r\n[]\r\n0\r\n\r\n"),
    "size before a space": _chunks(b"2 \r\n[]\r\n0\r\n\r\n"),
    "size in quotes": _chunks(b'"2"\r\n[]\r\n0\r\n\r\n'),
    "size of no digits": _chunks(b"\r\n[]\r\n0\r\n\r\n"),
    "size of an extension alone": _chunks(b";a=b\r\n[]\r\n0\r\n\r\n"),
    "size that is no hex": _chunks(b"g\r\n[]\r\n0\r\n\r\n"),
    "size of many digits": _chunks(b"0" * 20 + b"2\r\n[]\r\n0\r\n\r\n"),
    "size beyond 64 bits": _chunks(b"10000000000000002\r\n[]\r\n0\r\n\r\n"),
    "bare LF after the size": _chunks(b"2\n[]\r\n0\r\n\r\n"),
    "bare CR after the size": _chunks(b"2\r[]\r\n0\r\n\r\n"),
    "bare CR in an extension": _chunks(b"2;a\rb\r\n[]\r\n0\r\n\r\n"),
    "NUL in an extension": _chunks(b"2;a\0b\r\n[]\r\n0\r\n\r\n"),
    "endless extension": _chunks(b"2;" + b"a" * 20_000 + b"\r\n[]\r\n0\r\n\r\n"),
    "many extensions": _chunks((b"1;" + b"a" * 1000 + b"\r\n[\r\n") * 20 + b"0\r\n\r\n"),
    "nothing after the data": _chunks(b"2\r\n[]0\r\n\r\n"),
    "bare LF after the data": _chunks(b"2\r\n[]\n0\r\n\r\n"),
    "more data than the size": _chunks(b"2\r\n[[]]\r\n0\r\n\r\n"),
    "less data than the size": _chunks(b"5\r\n[]\r\n0\r\n\r\n"),
    "folded trailer": _chunks(b"2\r\n[]\r\n0\r\n a: b\r\n\r\n"),
    "trailer without a colon": _chunks(b"2\r\n[]\r\n0\r\nab\r\n\r\n"),
    "trailer with a space before the colon": _chunks(b"2\r\n[]\r\n0\r\nA : b\r\n\r\n"),
    "bare LF ends a trailer": _chunks(b"2\r\n[]\r\n0\r\nA: b\n\r\n"),
    "large trailer": _chunks(b"2\r\n[]\r\n0\r\nA: " + b"b" * 20_000 + b"\r\n\r\n"),
    "101 trailers": _chunks(b"2\r\n[]\r\n0\r\n" + b"A: b\r\n" * 101 + b"\r\n"),
}

_LIVE = b"GET /livez HTTP/1.1\r\n"
_BODY = b'{"instances": [[8, 307, 130, 3504, 12, 70, 1]]}'
_LENGTH = b"Content-Length: %d" % len(_BODY)
_CHUNKED = _head(b"Transfer-Encoding: chunked")
_SIZE = b"%x" % len(_BODY)
# What is well-formed: each is answered, once, and the next request on the connection as well.
GOOD: dict[str, Case] = {
    "plain": Case(_head(_LENGTH) + _BODY, 200),
    "no space after the colon": Case(_head(_LENGTH.replace(b": ", b":")) + _BODY, 200),
    "space around the value": Case(_head(_LENGTH + b" \t ") + _BODY, 200),
    "zeros before the length": Case(_head(_LENGTH.replace(b": ", b": 00")) + _BODY, 200),
    "length of another name": Case(_head(_LENGTH + b"\r\nContent_Length: 5") + _BODY, 200),
    "bytes above ASCII in a value": Case(_head(_LENGTH + b"\r\nX: \xe9\xff") + _BODY, 200),
    "empty value": Case(_head(_LENGTH + b"\r\nX:") + _BODY, 200),
    "empty line before": Case(b"\r\n" + _head(_LENGTH) + _BODY, 200),
    "chunked": Case(_CHUNKED + _SIZE + b"\r\n" + _BODY + b"\r\n0\r\n\r\n", 200),
    "chunked in capitals": Case(
        _head(b"TRANSFER-ENCODING: CHUNKED") + _SIZE + b"\r\n" + _BODY + b"\r\n0\r\n\r\n", 200
    ),
    "a byte a chunk": Case(
        _CHUNKED + b"".join(b"1\r\n%c\r\n" % byte for byte in _BODY) + b"00\r\n\r\n", 200
    ),
    "extensions and trailers": Case(
        _CHUNKED
        + _SIZE
        + b' ; a="b c"\r\n'
        + _BODY
        + b"\r\n0;z\r\nContent-Length: 9\r\nX:\r\n\r\n",
        200,
    ),
    "upgrade that is not taken": Case(
        _head(_LENGTH + b"\r\nConnection: upgrade\r\nUpgrade: websocket") + _BODY, 200
    ),
    "body of a GET": Case(_LIVE + b"Host: x\r\nContent-Length: 5\r\n\r\nhello", 200),
    "body that is thrown away": Case(_head(_LENGTH, b"POST /nowhere HTTP/1.1\r\n") + _BODY, 404),
    "absolute address": Case(b"GET http://other:81/livez?x=1 HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    "absolute address in capitals": Case(b"GET HTTP://X/livez HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    "absolute address without a path": Case(b"GET http://x HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    "empty host": Case(_LIVE + b"Host:\r\n\r\n", 200),
    "host by IPv6": Case(_LIVE + b"Host: [::1]:5000\r\n\r\n", 200),
    "later minor version": Case(b"GET /livez HTTP/1.9\r\nHost: x\r\n\r\n", 200),
    "100 headers": Case(_head(b"\r\n".join([b"X: y"] * 98), _LIVE), 200),
    "headers at their limit": Case(_head(b"X: " + b"y" * 65_000, _LIVE), 200),
    "server as a whole": Case(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 204),
    "expects to go on": Case(_head(_LENGTH + b"\r\nExpect: 100-Continue") + _BODY, 200),
    "expects to go on with nothing": Case(_LIVE + b"Host: x\r\nExpect: 100-continue\r\n\r\n", 200),
}


def converse(connection: socket.socket, raw: bytes) -> bytes:
    """All that comes back for `raw`, up to the end of the connection."""
    connection.settimeout(60)
    received = b""
    try:
        if raw:
            connection.sendall(raw)
        while data := connection.recv(65536):
            received += data
    except ConnectionError:
        pass  # a reset, behind the answer or in its place
    return received


def statuses(received: bytes) -> list[int]:
    """The status of each answer, interim ones left out."""
    return [int(s) for s in re.findall(rb"HTTP/1\.1 ([2-5]\d\d) [^\r\n]*\r\n", received)]
