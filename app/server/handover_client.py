"""The client of the handover: asks the other replicas whether they serve (see `app.handover`)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

import gevent
from gevent.threadpool import ThreadPool

from app.handover import Peer, Stand

PATH = "/readyz"
# Seconds: for each step of the network, and for all of them together.
STEP_TIMEOUT_S = 1.0
TOTAL_TIMEOUT_S = 1.5
# More threads than requests: one may last longer than the wait for it.
THREADS = 4
MAX_BYTES = 1_000_000


class HandoverClient:
    """Asks the other replicas. urls: the addresses of their servers."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = [url.rstrip("/") for url in urls]
        self._pool: Any = None

    def ask(self) -> list[Peer]:
        """Ask all of them and return the answers. Blocks the greenlet for at most
        `TOTAL_TIMEOUT_S`."""
        if self._pool is None:
            # Belongs to the hub that serves.
            self._pool = ThreadPool(THREADS * len(self._urls))
        pending = [self._pool.spawn(_ask, url) for url in self._urls]
        # gevent.wait's own timeout counts from when the hub last looked at its clock.
        with gevent.Timeout(TOTAL_TIMEOUT_S, False):  # type: ignore[arg-type]
            gevent.wait(pending)
        return [a.value for a in pending if a.ready() and a.value is not None]


def _ask(url: str) -> Peer | None:
    """Return the state of a replica; None without an answer that can be read. Runs in a native
    thread, and never raises, since the pool would print the error."""
    address = urlsplit(url)
    kind = HTTPSConnection if address.scheme == "https" else HTTPConnection
    # Neither redirects nor proxies of the environment: a peer is where the settings say.
    connection = kind(address.hostname or "", address.port, timeout=STEP_TIMEOUT_S)
    try:
        connection.request("GET", address.path + PATH, headers={"Connection": "close"})
        return parse_answer(connection.getresponse().read(MAX_BYTES))
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def parse_answer(body: bytes) -> Peer | None:
    """Parse an answer of `/readyz`. Returns None for anything else."""
    try:
        answer = json.loads(body)
        return Peer(str(answer["process"]), answer["ready"] is True, Stand(answer["stand"]))
    except (ValueError, TypeError, KeyError):
        return None
