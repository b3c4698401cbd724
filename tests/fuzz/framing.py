"""How a body's length may be announced, rightly and wrongly (RFC 9112, sections 2.2, 5 and 6).

Behind the body of each comes another request, for `/livez`. Where the framing is good, both are
answered; where it is wrong or may be read in two ways, one answer of 400 and the end of the
connection is all that may come: the body must never be answered as if it were a request.
"""

from __future__ import annotations

import random

from tests.fuzz.connection import Connection, Exchange
from tests.fuzz.request import Piece, Request, post_json
from tests.fuzz.seeds import ROWS

_BODY = b'[{"alpha": 1, "beta": 2, "gamma": 3}]'
# What a body would be taken for that is read as a request.
_MARKER = b"GET /livez?marker HTTP/1.1\r\nHost: localhost\r\n\r\n"
_CHUNKS = b"25\r\n" + _BODY + b"\r\n0\r\n\r\n"
_LENGTH = b"Content-Length: %d"
_CODED = b"Transfer-Encoding: chunked"
# 501 for a coding that the server does not know (section 6.1).
REFUSALS = (400, 501)
# Seconds in which an answer to what follows would have come.
QUIET_S = 2.0

# Header lines, and whether the body is the marker (to be smuggled) or what the lines say.
GOOD: dict[str, tuple[list[bytes], bytes]] = {
    "length": ([_LENGTH % len(_BODY)], _BODY),
    "length-spaces": ([b"Content-Length:  %d\t " % len(_BODY)], _BODY),
    "length-zeros": ([b"Content-Length: 000%d" % len(_BODY)], _BODY),
    "length-case": ([b"content-LENGTH: %d" % len(_BODY)], _BODY),
    "chunked": ([_CODED], _CHUNKS),
    "chunked-case": ([b"transfer-encoding: Chunked"], _CHUNKS),
    "chunked-pieces": (
        [_CODED],
        b"".join(b"1\r\n%c\r\n" % byte for byte in _BODY) + b"0\r\n\r\n",
    ),
    "chunked-zeros": ([_CODED], b"000025\r\n" + _BODY + b"\r\n000\r\n\r\n"),
    "chunked-extension": ([_CODED], b"25;a=b\r\n" + _BODY + b"\r\n0\r\n\r\n"),
}
BAD: dict[str, tuple[list[bytes], bytes]] = {
    "space-before-colon": ([b"Content-Length : %d" % len(_MARKER)], _MARKER),
    "tab-before-colon": ([b"Content-Length\t: %d" % len(_MARKER)], _MARKER),
    "line-without-colon": ([b"nonsense", _LENGTH % len(_MARKER)], _MARKER),
    "name-not-ascii": ([b"X-\xe9: 1", _LENGTH % len(_MARKER)], _MARKER),
    "name-empty": ([b": 1", _LENGTH % len(_MARKER)], _MARKER),
    "name-with-space": ([b"X Y: 1", _LENGTH % len(_MARKER)], _MARKER),
    "folded": ([b"X-A: 1", b" Content-Length: 0", _LENGTH % len(_MARKER)], _MARKER),
    "nul": ([b"X-A: a\0b", _LENGTH % len(_MARKER)], _MARKER),
    "two-lengths": ([_LENGTH % len(_MARKER), _LENGTH % 0], _MARKER),
    "two-lengths-reversed": ([_LENGTH % 0, _LENGTH % len(_MARKER)], _MARKER),
    "length-list": ([b"Content-Length: %d, 0" % len(_MARKER)], _MARKER),
    "length-minus-zero": ([b"Content-Length: -0"], _MARKER),
    "length-minus": ([b"Content-Length: -5"], _MARKER),
    "length-plus": ([b"Content-Length: +%d" % len(_MARKER)], _MARKER),
    "length-underscore": ([b"Content-Length: 4_9"], _MARKER),
    "length-hex": ([b"Content-Length: 0x31"], _MARKER),
    "length-empty": ([b"Content-Length: "], _MARKER),
    "length-text": ([b"Content-Length: ten"], _MARKER),
    "length-fraction": ([b"Content-Length: 10.0"], _MARKER),
    "length-other-digits": (["Content-Length: ٤٩".encode()], _MARKER),
    "length-huge": ([b"Content-Length: " + b"9" * 400], _MARKER),
    "both": ([_LENGTH % len(_MARKER), _CODED], b"0\r\n\r\n" + _MARKER),
    "both-reversed": ([_CODED, _LENGTH % len(_CHUNKS)], _CHUNKS),
    "two-codings": ([_CODED, _CODED], _CHUNKS),
    "coding-list": ([b"Transfer-Encoding: chunked, chunked"], _CHUNKS),
    "coding-identity": ([_CODED, b"Transfer-Encoding: identity"], _CHUNKS),
    "coding-gzip": ([b"Transfer-Encoding: gzip, chunked"], _CHUNKS),
    "coding-not-last": ([b"Transfer-Encoding: chunked, gzip"], _CHUNKS),
    "coding-unknown": ([b"Transfer-Encoding: xchunked"], _CHUNKS),
    "coding-empty": ([b"Transfer-Encoding:"], _CHUNKS),
    "coding-quoted": ([b'Transfer-Encoding: "chunked"'], _CHUNKS),
    "coding-control": ([b"Transfer-Encoding: \x0bchunked"], _CHUNKS),
    "chunk-minus": ([_CODED], b"-1\r\n" + _MARKER),
    "chunk-plus": ([_CODED], b"+25\r\n" + _BODY + b"\r\n0\r\n\r\n"),
    "chunk-prefix": ([_CODED], b"0x25\r\n" + _BODY + b"\r\n0\r\n\r\n"),
    "chunk-underscore": ([_CODED], b"2_5\r\n" + _BODY + b"\r\n0\r\n\r\n"),
    "chunk-text": ([_CODED], b"zz\r\n" + _MARKER),
    "chunk-empty-size": ([_CODED], b"\r\n" + _MARKER),
    "chunk-too-long": ([_CODED], b"26\r\n" + _BODY + b"\r\n0\r\n\r\n"),
    "chunk-too-short": ([_CODED], b"24\r\n" + _BODY + b"\r\n0\r\n\r\n"),
    "chunk-huge": ([_CODED], b"f" * 300 + b"\r\n" + _MARKER),
}
_EDGE = b"POST /api/sums HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def cases(rng: random.Random) -> Request:
    """One of the table, with other headers around it."""
    good = rng.random() < 0.3
    name = rng.choice(list(GOOD if good else BAD))
    return case(name, target=rng.choice(("/api/sums", "/v1/models/sums:predict", "/nowhere", "/")))


def case(name: str, target: str = "/api/sums") -> Request:
    """The request called `name` in one of the tables, for this address."""
    lines, body = GOOD[name] if name in GOOD else BAD[name]
    head = _EDGE.replace(b"/api/sums", target.encode()) + b"\r\n".join(lines) + b"\r\n\r\n"
    wire = head + body + _MARKER
    return Request(target, framing="raw", body=(Piece(wire),), origin=f"framing {name}")


def judge(name: str, exchange: Exchange) -> list[tuple[str, str]]:
    """The rules that were broken when the request called `name` was sent."""
    statuses = [answer.status for answer in exchange.answers]
    shown = f"{name}: answers {statuses}, then {exchange.problem or 'the end'}"
    if exchange.problem.startswith(("malformed", "silent", "broken", "huge")):
        return [(f"framing-{exchange.problem.partition(':')[0]}", shown)]
    if name in GOOD:
        good = len(statuses) == 2 and statuses[1] == 200 and 200 <= statuses[0] < 500
        return [] if good else [("framing-good", shown)]
    # Ambiguous framing is refused alone; a broken chunk may be behind an answer.
    chunk = name.startswith("chunk-")
    refused = statuses[:1] and (statuses[0] in REFUSALS or (chunk and 400 <= statuses[0] < 500))
    alone = len(statuses) == 1 and exchange.closed
    return [] if refused and alone else [("framing-bad", shown)]


def half_closed() -> Request:
    """A client that sends a request and closes its side: it still reads its answer."""
    request = post_json("/api/sums", ROWS[0])
    return Request(
        request.target,
        body=(Piece(request.wire()),),
        framing="raw",
        origin="framing half-closed",
    )


def judge_half_closed(exchange: Exchange) -> list[tuple[str, str]]:
    """The rules that were broken when that was sent."""
    statuses = [answer.status for answer in exchange.answers]
    return [] if statuses == [200] else [("half-closed", f"answers {statuses}")]


def exchange(port: int, request: Request, patience: float) -> tuple[Exchange, str]:
    """Send a request of this module on a connection of its own. Returns its name as well."""
    connection = Connection(port, patience)
    try:
        name = request.origin.removeprefix("framing ")
        # Good ones keep the connection, which is closed behind the second answer.
        half = name == "half-closed"
        count = 2 if name in GOOD else 9
        quiet = None if name in GOOD else QUIET_S
        wire, method = request.wire(), request.method
        return connection.ask(wire, method, count=count, end=half, quiet=quiet), name
    finally:
        connection.close()
