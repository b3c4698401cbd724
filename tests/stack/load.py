"""A steady load over HTTPS and gRPC that counts requests and good answers."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol

import grpc

from tests.stack import grpc_load
from tests.stack.certificates import AUTHORITY_PEM
from tests.support import CAR, V1_CAR, V2_CAR, picture

CONNECTIONS = 32
# Seconds between two requests of one connection.
PACE_S = 0.25
# The same of gRPC, which has as many connections.
GRPC_PACE_S = 0.5


class Target(Protocol):
    """What the load is for."""

    @property
    def hosts(self) -> Sequence[str]:
        """The connections take them in turns."""

    @property
    def https_port(self) -> int:
        """Of each of them."""

    def trust(self) -> ssl.SSLContext:
        """Of the certificate that is served."""


class SteadyLoad:
    """32 kept connections in turns with rows and pictures, for as long as the block runs, but no
    longer than `at_most` seconds. credentials: 32 of gRPC with rows as well, of which every second
    sends nothing again by itself until `nginx_reloads`."""

    def __init__(
        self,
        stack: Target,
        at_most: float = 900,
        *,
        pictures: bool = True,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        self._hosts = stack.hosts
        self._port = stack.https_port
        self._context = stack.trust()
        self._credentials = credentials
        self._at_most = at_most
        self._stop = threading.Event()
        self._reloads = threading.Event()
        self._lock = threading.Lock()
        self.sent = 0
        self.answered: Counter[int] = Counter()
        self.lost: list[str] = []
        self._requests = [
            ("/api/mpg", json.dumps(CAR).encode(), "application/json"),
            ("/api/cats-dogs", picture(), "image/jpeg"),
            ("/v1/models/mpg:predict", json.dumps(V1_CAR).encode(), "application/json"),
            ("/v2/models/mpg/infer", json.dumps(V2_CAR).encode(), "application/json"),
        ]
        if not pictures:
            del self._requests[1]
        self._bursts: list[threading.Thread] = []
        self._threads = [
            threading.Thread(target=target, args=(i,), daemon=True)
            for target in (self._client, *([self._grpc_client] if credentials else []))
            for i in range(CONNECTIONS)
        ]

    def __enter__(self) -> SteadyLoad:
        self._start = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self._start

    def burst(self, count: int) -> None:
        """So many pictures at the same moment, on connections of their own; returns once they are
        sent. They count like all others."""
        ready = threading.Barrier(count + 1)

        def ask() -> None:
            connection = self._connect(0)
            connection.connect()
            ready.wait()
            self._ask(connection, 1)
            connection.close()

        threads = [threading.Thread(target=ask, daemon=True) for _ in range(count)]
        self._bursts += threads
        for thread in threads:
            thread.start()
        ready.wait()

    def nginx_reloads(self) -> None:
        """From now on every client of gRPC may send a call again that nginx has not read: nginx
        closes its connections."""
        self._reloads.set()
        time.sleep(2 * GRPC_PACE_S)

    def trust_test_authority(self) -> None:
        """Take certificates that `tests.stack.certificates` puts."""
        self._context.load_verify_locations(cadata=AUTHORITY_PEM)

    def check(self) -> None:
        """All connections are at work, all bursts over, every request so far answered with 200."""
        assert all(thread.is_alive() for thread in self._threads)
        for thread in self._bursts:
            thread.join(60)
        with self._lock:
            sent, answered, lost = self.sent, dict(self.answered), list(self.lost)
        assert not lost, f"{len(lost)} of {sent} lost, such as {lost[:5]}"
        assert answered == {200: sent}

    def _client(self, number: int) -> None:
        host = number
        connection = self._connect(host)
        time.sleep(PACE_S * number / CONNECTIONS)
        until = self._start + self._at_most
        count = number
        while not self._stop.is_set() and time.monotonic() < until:
            began = time.monotonic()
            if not self._ask(connection, count):
                connection.close()
                # As a client does that knows several addresses.
                host += 1
                connection = self._connect(host)
            count += 1
            time.sleep(max(0.0, began + PACE_S - time.monotonic()))
        connection.close()

    def _grpc_client(self, number: int) -> None:
        time.sleep(GRPC_PACE_S * number / CONNECTIONS)
        until = self._start + self._at_most
        count = number
        with (
            grpc_load.connect(self._port, self._credentials) as usual,
            grpc_load.connect(self._port, self._credentials, retries=False) as bare,
        ):
            while not self._stop.is_set() and time.monotonic() < until:
                began = time.monotonic()
                channel = usual if number % 2 or self._reloads.is_set() else bare
                path, problem = grpc_load.ask(channel, count)
                self._enter(path, 0 if problem else 200, problem)
                count += 1
                time.sleep(max(0.0, began + GRPC_PACE_S - time.monotonic()))

    def _ask(self, connection: http.client.HTTPSConnection, number: int) -> bool:
        """One request, entered in the books. False if the connection is of no use any more."""
        path, body, kind = self._requests[number % len(self._requests)]
        try:
            connection.request("POST", path, body, {"Content-Type": kind})
            response = connection.getresponse()
            text = response.read()
            status = response.status
            if status == 200:
                assert json.loads(text).keys() & {"predictions", "outputs"}
            problem = "" if status == 200 else f"{status} {text[:300]!r}"
        except (OSError, http.client.HTTPException) as error:
            status, problem = 0, repr(error)
        self._enter(f"{connection.host}{path}", status, problem)
        return status != 0

    def _enter(self, path: str, status: int, problem: str) -> None:
        with self._lock:
            self.sent += 1
            self.answered[status] += 1
            if problem:
                self.lost.append(f"after {self.seconds:.1f} s: {path}: {problem}")

    def _connect(self, host: int) -> http.client.HTTPSConnection:
        """Connects with the first request, as after each answer that closes."""
        name = self._hosts[host % len(self._hosts)]
        return http.client.HTTPSConnection(name, self._port, timeout=60, context=self._context)
