"""The status of the other replicas.

Native threads ask for it: a peer that hangs delays the page by a second or two, and never blocks
the hub. However many clients look, one thread at a time asks a peer, about once a second. A name
may stand for many addresses, which change: each is a peer for as long as DNS lists it.
"""

from __future__ import annotations

import socket
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
from app.status.schema import LostReplica, SelfStatus

PEER_PATH = "/api/status?replica=self"
SIBLING_PATH = "/api/status?worker=self"
# Seconds: for each network operation with a peer, and for the answers of all peers.
STEP_TIMEOUT_S = 1.0
TOTAL_TIMEOUT_S = 1.5
# Seconds to wait for DNS; later answers count the next time.
LOOKUP_TIMEOUT_S = 0.5
# Seconds for which an answer is reused.
FRESH_S = 0.9
# Peers that are asked at once; more take turns.
MAX_THREADS = 64
MAX_BYTES = 8_000_000
UNREADABLE = "its answer cannot be read: does it run this version of Keraport?"


class _Peer:
    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        # From its last answer; shown while it does not answer.
        self.name = self.url
        self.asked_at = 0.0
        self.answer: Any = None  # an AsyncResult of SelfStatus or of a problem in words


class _Setting:
    """An address as it is set, and the peers that are found there."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.peers = [_Peer(url)]
        self.looked_up_at = 0.0
        self.lookup: Any = None  # an AsyncResult of URLs

    def take_lookup(self) -> None:
        """Take the peers of a lookup that has ended."""
        if self.lookup.ready():
            known = {peer.url: peer for peer in self.peers}
            self.peers = [known.get(url) or _Peer(url) for url in self.lookup.value]


@dataclass(frozen=True, slots=True)
class PeerAnswers:
    """The answers of peers, and the peers that gave none."""

    answers: list[SelfStatus]
    unreachable: list[LostReplica]


class Peers:
    """The other replicas, or workers. urls: the addresses of their servers. keys: the API keys, if
    there are any, by which replicas recognise each other. path: what to ask them."""

    def __init__(
        self, urls: Sequence[str], keys: KeyRing | None = None, path: str = PEER_PATH
    ) -> None:
        self._path = path
        self._keys = keys
        self._settings = [_Setting(url.rstrip("/")) for url in urls]
        self._pool: Any = None

    def ask(self) -> PeerAnswers:
        """Ask all peers at once. Blocks the greenlet for at most `LOOKUP_TIMEOUT_S` and
        `TOTAL_TIMEOUT_S`."""
        if not self._settings:
            return PeerAnswers([], [])
        if self._pool is None:
            # Made at the first use, in the thread whose hub serves: a pool belongs to its hub.
            self._pool = ThreadPool(MAX_THREADS)
        _wait([self._look_up(setting) for setting in self._settings], LOOKUP_TIMEOUT_S)
        for setting in self._settings:
            setting.take_lookup()
        answers, unreachable = [], []
        peers = [peer for setting in self._settings for peer in setting.peers]
        pending = [self._answer(peer) for peer in peers]
        _wait(pending, TOTAL_TIMEOUT_S)
        for peer, answer in zip(peers, pending, strict=True):
            result = answer.value if answer.ready() else "it does not answer"
            if isinstance(result, SelfStatus):
                peer.name = result.replicas[0].name
                answers.append(result)
            else:
                unreachable.append(LostReplica(name=peer.name, url=peer.url, problem=result))
        return PeerAnswers(answers, unreachable)

    def _look_up(self, setting: _Setting) -> Any:
        now = time.monotonic()
        if setting.lookup is None or (
            setting.lookup.ready() and now - setting.looked_up_at >= FRESH_S
        ):
            setting.looked_up_at = now
            setting.lookup = self._pool.spawn(look_up, setting.url)
        return setting.lookup

    def _answer(self, peer: _Peer) -> Any:
        now = time.monotonic()
        if peer.answer is not None:
            fresh = now - peer.asked_at < FRESH_S
            if fresh or not peer.answer.ready():
                return peer.answer
        peer.asked_at = now
        peer.answer = self._pool.spawn(_ask, peer.url + self._path, self._keys)
        return peer.answer


def _wait(pending: list[Any], seconds: float) -> None:
    # gevent.wait's own timeout counts from when the hub last looked at its clock.
    with gevent.Timeout(seconds, False):  # type: ignore[arg-type]
        gevent.wait(pending)


def look_up(url: str) -> list[str]:
    """Return the URLs of all addresses of its host. The URL itself if there are none, and for
    HTTPS, whose certificate is that of a name. Blocks the thread."""
    address = urlsplit(url)
    if address.scheme == "https":
        return [url]
    try:
        found = socket.getaddrinfo(address.hostname, address.port or 80, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return [url]
    hosts = sorted({f"[{a[0]}]" if ":" in str(a[0]) else str(a[0]) for *_, a in found})
    return [address._replace(netloc=f"{host}:{address.port or 80}").geturl() for host in hosts]


def _ask(url: str, keys: KeyRing | None) -> SelfStatus | str:
    """Return the status of a replica, or the problem in words. Runs in a native thread, and never
    raises, since the pool would print the error."""
    body = fetch(url, keys)
    if isinstance(body, str):
        return body
    try:
        return SelfStatus.model_validate_json(body)
    except ValidationError:
        return UNREADABLE


def fetch(url: str, keys: KeyRing | None) -> bytes | str:
    """Return what a replica, or another worker, answers, or the problem in words. Blocks the
    thread."""
    address = urlsplit(url)
    kind = HTTPSConnection if address.scheme == "https" else HTTPConnection
    # Follows no redirects and no proxies of the environment: the settings say where a peer is.
    connection = kind(address.hostname or "", address.port, timeout=STEP_TIMEOUT_S)
    credentials = {} if keys is None else {REPLICA_HEADER: keys.credentials}
    headers = {"Connection": "close", **credentials}
    try:
        connection.request("GET", f"{address.path}?{address.query}", headers=headers)
        response = connection.getresponse()
        body = response.read(MAX_BYTES + 1)
        if response.status == 401:
            return "it does not recognise this replica: do both have the same file of API keys?"
        if response.status != 200:
            return f"it answers with status {response.status}"
        return "its answer is too long" if len(body) > MAX_BYTES else body
    except TimeoutError:
        return "it does not answer"
    except OSError as error:
        return (error.strerror or str(error) or type(error).__name__).lower()
    except (HTTPException, ValueError):
        return UNREADABLE
    finally:
        connection.close()
