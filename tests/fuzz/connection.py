"""Raw connections that send anything and read answers strictly."""

from __future__ import annotations

import select
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field

import h11

# Larger answers are not read to their end.
MAX_ANSWER = 128 * 1024 * 1024
# More than any head or chunk line has; Swagger's files come in one piece.
_BUFFER = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. headers: by lower-case names. body: no longer framed, but compressed if the
    server did so."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What came back for what was sent. problem: why there is nothing more: `silent` (no answer
    in time), `closed` (before an answer), `broken` (within one), `malformed`, `huge`, or nothing.
    closed: whether the server has closed the connection."""

    answers: tuple[Answer, ...]
    problem: str
    closed: bool
    seconds: float


class Connection:
    """A connection over loopback. Takes part in one exchange at a time."""

    def __init__(self, port: int, patience: float) -> None:
        """patience: seconds without progress before an exchange is given up."""
        self._patience = patience
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=patience)
        self._socket.setblocking(False)
        self.used = False

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def ask(
        self,
        wire: bytes,
        method: str = "GET",
        *,
        count: int = 1,
        end: bool = False,
        quiet: float | None = None,
    ) -> Exchange:
        """Send `wire` and read up to `count` answers, while it is sent as well: a refused body is
        not sent to its end. end: half-close when all is sent. quiet: seconds without anything
        after which there will be no more answers than came."""
        self.used = True
        began = time.monotonic()
        reader = _Reader(method)
        left = memoryview(wire)
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | (select.POLLOUT if left else 0))
        problem, closed = "", False
        last = began
        while len(reader.answers) < count:
            events = poll.poll(500)
            if not events:
                waited = time.monotonic() - last
                if quiet is not None and reader.answers and waited > quiet:
                    break
                if waited > self._patience:
                    problem = "silent"
                    break
                continue
            last = time.monotonic()
            mask = events[0][1]
            if mask & select.POLLOUT and left:
                left = self._send(left)
                if not left:
                    poll.modify(self._socket, select.POLLIN)
                    if end:
                        self._half_close()
            if mask & (select.POLLIN | select.POLLHUP | select.POLLERR):
                data = self._receive()
                if data is None:
                    continue
                closed = not data
                problem = reader.take(data)
                if closed or problem:
                    break
        if closed and not problem and len(reader.answers) < count and quiet is None:
            problem = "broken" if reader.began else "closed"
        seconds = time.monotonic() - began
        return Exchange(tuple(reader.answers), problem, closed or bool(left), seconds)

    def _send(self, left: memoryview) -> memoryview:
        try:
            return left[self._socket.send(left[:262144]) :]
        except BlockingIOError:
            return left
        except OSError:
            return left[:0]  # the server reads no more; its answer may still be there

    def _half_close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def _receive(self) -> bytes | None:
        try:
            return self._socket.recv(262144)
        except BlockingIOError:
            return None
        except OSError:
            return b""


class _Reader:
    """Answers out of bytes, as RFC 9112 has them."""

    def __init__(self, method: str) -> None:
        self._method = method if method.isascii() and method.isalpha() else "POST"
        self.answers: list[Answer] = []
        self._begin()

    def _begin(self, trailing: bytes = b"") -> None:
        self.began = bool(trailing)
        self._head: h11.Response | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_BUFFER)
        # CONNECT would turn the rest into a tunnel, which this server never opens.
        method = "GET" if self._method == "CONNECT" else self._method
        head = h11.Request(method=method, target="/", headers=[("Host", "localhost")])
        self._http.send(head)
        self._http.send(h11.EndOfMessage())
        if trailing:
            self._http.receive_data(trailing)

    def take(self, data: bytes) -> str:
        """Read on; `data` is empty at the end of the connection. Returns a problem, or nothing."""
        self.began = self.began or bool(data)
        try:
            self._http.receive_data(data)
            return self._events()
        except h11.RemoteProtocolError as error:
            return "" if not data else f"malformed: {error}"

    def _events(self) -> str:
        while True:
            event = self._http.next_event()
            if event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
                return ""
            if isinstance(event, h11.Response):
                self._head = event
            elif isinstance(event, h11.Data):
                self._parts.append(bytes(event.data))
                self._size += len(event.data)
                if self._size > MAX_ANSWER:
                    return "huge"
            elif isinstance(event, h11.EndOfMessage) and self._head is not None:
                headers = {n.decode().lower(): v.decode("latin-1") for n, v in self._head.headers}
                body = b"".join(self._parts)
                self.answers.append(Answer(self._head.status_code, headers, body))
                # What follows belongs to the next request, which is always a GET.
                trailing = bytes(self._http.trailing_data[0])
                self._method = "GET"
                self._begin(trailing)
                if not trailing:
                    return ""
