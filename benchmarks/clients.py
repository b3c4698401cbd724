"""Many clients in one process, each with one connection that it keeps busy: what it is refused it
asks for again at once, as the rudest of clients do. `wrk` does not tell answers from refusals in
its latencies.

`python -m benchmarks.clients URL CONTENT_TYPE BODY_FILE CONNECTIONS SECONDS` prints a JSON object.
"""

from __future__ import annotations

import select
import socket
import ssl
import sys
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import orjson

# Seconds before the measurement in which the queue fills.
WARM_UP_S = 2.0


class _Client:
    """One connection. sent: bytes of the request that the socket has taken."""

    __slots__ = ("asked", "connection", "got", "sent", "wants_more")

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.asked = 0.0
        self.sent = 0
        self.got = b""
        self.wants_more = False


class Clients:
    """Sends one request again and again."""

    def __init__(self, url: str, content_type: str, body: bytes) -> None:
        parts = urlsplit(url)
        self._tls = ssl._create_unverified_context() if parts.scheme == "https" else None
        usual = 80 if self._tls is None else 443
        self._address = (parts.hostname or "localhost", parts.port or usual)
        self._request = (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        self._poll = select.epoll()
        self._clients: dict[int, _Client] = {}
        self.times: dict[int, list[float]] = {}
        self.broken: Counter[str] = Counter()

    def run(self, connections: int, seconds: float) -> None:
        """Keep `connections` busy; what is answered after the warm-up counts."""
        for _ in range(connections):
            self._connect()
        self._from = time.monotonic() + WARM_UP_S
        until = self._from + seconds
        while (left := until - time.monotonic()) > 0:
            for number, events in self._poll.poll(min(left, 0.1)):
                client = self._clients[number]
                try:
                    if client.wants_more:
                        self._send(client)
                    if events & ~select.EPOLLOUT:
                        self._receive(client)
                except OSError as error:
                    self._again(client, type(error).__name__)

    def _connect(self) -> None:
        connection = socket.create_connection(self._address, timeout=10)
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_hostname=self._address[0])
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        client = self._clients[connection.fileno()] = _Client(connection)
        self._poll.register(connection, select.EPOLLIN)
        self._ask(client)

    def _ask(self, client: _Client) -> None:
        client.asked, client.sent, client.got = time.monotonic(), 0, b""
        self._send(client)

    def _send(self, client: _Client) -> None:
        try:
            while client.sent < len(self._request):
                client.sent += client.connection.send(self._request[client.sent :])
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        wants_more = client.sent < len(self._request)
        if wants_more != client.wants_more:
            client.wants_more = wants_more
            mask = select.EPOLLIN | (select.EPOLLOUT if wants_more else 0)
            self._poll.modify(client.connection, mask)

    def _receive(self, client: _Client) -> None:
        try:
            while data := client.connection.recv(65536):
                client.got += data
                if self._tls is None:
                    break
        except (BlockingIOError, ssl.SSLWantReadError):
            if not client.got:  # TLS alone has sent something: a session's ticket
                return
            data = client.got
        if not data:
            self._again(client, "closed")
            return
        head, found, body = client.got.partition(b"\r\n\r\n")
        if not found:
            return
        lower = head.lower()
        length = int(lower.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        if len(body) < length:
            return
        now = time.monotonic()
        if now >= self._from:
            self.times.setdefault(int(head[9:12]), []).append(now - client.asked)
        if b"connection: close" in lower:
            self._again(client, "told to close")
        else:
            self._ask(client)

    def _again(self, client: _Client, why: str) -> None:
        self.broken[why] += 1
        number = client.connection.fileno()
        self._poll.unregister(number)
        del self._clients[number]
        client.connection.close()
        self._connect()


def _quantile(times: list[float], part: float) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * part))] * 1000


def main(url: str, content_type: str, body: str, connections: str, seconds: str) -> None:
    """Measure, and print by status how many a second and their latencies in milliseconds."""
    clients = Clients(url, content_type, Path(body).read_bytes())
    clients.run(int(connections), float(seconds))
    statuses = {
        str(status): {
            "per_s": len(times) / float(seconds),
            "p50_ms": _quantile(times, 0.5),
            "p99_ms": _quantile(times, 0.99),
        }
        for status, times in sorted(clients.times.items())
    }
    print(orjson.dumps({"statuses": statuses, "broken": clients.broken}).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
