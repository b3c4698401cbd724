"""What the other replicas say of themselves.

They are asked in native threads: a peer that hangs costs whoever looks at the page a second, and
the hub nothing. However many look, a peer is asked by one thread at a time and about once a second.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

import gevent
from gevent.threadpool import ThreadPool
from pydantic import ValidationError

from app.keys.ring import REPLICA_HEADER, KeyRing
from app.status.shape import LostReplica, SelfStatus

PATH = "/api/status?replica=self"
# Seconds: for each step of the network, and for all of them together.
TIMEOUT_S = 1.0
PATIENCE_S = 1.5
# For so long an answer is good enough for the next who asks.
FRESH_S = 0.9
MAX_BYTES = 2_000_000


class _Peer:
    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        # From its last answer, to call it by when there is none.
        self.name = self.url
        self.asked_at = 0.0
        self.answer: Any = None  # an AsyncResult of SelfStatus or of a problem in words


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking all peers."""

    answers: list[SelfStatus]
    lost: list[LostReplica]


class Peers:
    """The other replicas, by the addresses of their servers. keys: where there are API keys, by
    which replicas know each other."""

    def __init__(self, urls: Sequence[str], keys: KeyRing | None = None) -> None:
        self._keys = keys
        self._peers = [_Peer(url) for url in urls]
        self._pool: Any = None

    def ask(self) -> Asked:
        """All of them at once. Blocks the greenlet, for `PATIENCE_S` at most."""
        answers, lost = [], []
        pending = [self._answer(peer) for peer in self._peers]
        # gevent.wait's own timeout counts from when the hub last looked at its clock.
        with gevent.Timeout(PATIENCE_S, False):  # type: ignore[arg-type]
            gevent.wait(pending)
        for peer, answer in zip(self._peers, pending, strict=True):
            result = answer.value if answer.ready() else "it gives no answer"
            if isinstance(result, SelfStatus):
                peer.name = result.replicas[0].name
                answers.append(result)
            else:
                lost.append(LostReplica(name=peer.name, url=peer.url, problem=result))
        return Asked(answers, lost)

    def _answer(self, peer: _Peer) -> Any:
        now = time.monotonic()
        if peer.answer is not None:
            fresh = now - peer.asked_at < FRESH_S
            if fresh or not peer.answer.ready():
                return peer.answer
        if self._pool is None:
            # Belongs to the hub that serves.
            self._pool = ThreadPool(len(self._peers))
        peer.asked_at = now
        peer.answer = self._pool.spawn(_ask, peer.url, self._headers())
        return peer.answer

    def _headers(self) -> dict[str, str]:
        shown = {} if self._keys is None else {REPLICA_HEADER: self._keys.credentials}
        return {"Connection": "close", **shown}


def _ask(url: str, headers: dict[str, str]) -> SelfStatus | str:
    """The answer of a replica, or what is wrong with it. In a native thread; never raises, since
    the pool would print it."""
    address = urlsplit(url)
    kind = HTTPSConnection if address.scheme == "https" else HTTPConnection
    # Neither redirects nor proxies of the environment: a peer is where the settings say.
    connection = kind(address.hostname or "", address.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", address.path + PATH, headers=headers)
        response = connection.getresponse()
        body = response.read(MAX_BYTES + 1)
        if response.status == 401:
            return "it does not know this one: do both have the same file of API keys?"
        if response.status != 200:
            return f"it answers with status {response.status}"
        if len(body) > MAX_BYTES:
            return "its answer is too long"
        return SelfStatus.model_validate_json(body)
    except TimeoutError:
        return "it gives no answer"
    except OSError as error:
        return (error.strerror or str(error) or type(error).__name__).lower()
    except (HTTPException, ValidationError, ValueError):
        return "its answer cannot be read: is it a Keraport of this version?"
    finally:
        connection.close()
