"""One call of a method of gRPC, on its way through the hub."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from app.api.bodies.body_room import BodyLease
from app.api.http.answers import environ_id
from app.api.http.errors import FALLBACK_HEADER
from app.api.http.proxy import MAX_USER
from app.api.telemetry.protocols import Protocol
from app.api.telemetry.record import Record, record_of
from app.errors import ClientDisconnected, DeadlineExceeded, KeraportError
from app.serving.call import Call

# The services by protocol; health checks and reflection are none of the two.
_PROTOCOLS: dict[str, Protocol] = {
    "tensorflow.serving.PredictionService": "grpc-tfs",
    "tensorflow.serving.ModelService": "grpc-tfs",
    "inference.GRPCInferenceService": "grpc-v2",
}
# Seconds before its deadline from which on a call that the client's side ends was too late: its
# library ends it at the deadline, by a clock of its own.
_NEARLY_S = 0.05

# Of the client's metadata, what the environment of a request over HTTP has as well.
_KEPT = (
    *("accept-encoding", "authorization", "traceparent", "tracestate"),
    *("x-api-key", "x-request-id"),
)


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies that may name the client in metadata. addresses: theirs. user_header: in which
    they name the user whom they have signed in, if they do."""

    addresses: Container[str] = frozenset()
    user_header: str = ""


class Rpc:
    """A call. All but its making belongs to the hub's thread.

    path: `/package.Service/Method`. data: the request, encoded. metadata: of the client, with names
    in lower case. peer: as gRPC names it. seconds: that the client gives it, None for no limit.
    environ: what of a WSGI environment tells of the client. deadline: the client's, on the clock of
    `time.monotonic`. has_room: called once it has its place in memory, or needs none. fallback:
    what nginx can do if this process does not answer for now. emit: sends a message before the last
    one, on streams.
    """

    def __init__(
        self,
        path: str,
        data: bytes,
        metadata: Iterable[tuple[str, str | bytes]],
        peer: str,
        seconds: float | None,
        lease: BodyLease,
        proxies: Proxies = Proxies(),
        has_room: Callable[[], None] = lambda: None,
        refused: KeraportError | None = None,
        emit: Callable[[bytes], None] | None = None,
    ) -> None:
        self.path = path
        self.data = data
        self.began = time.monotonic()
        self.deadline = float("inf") if seconds is None else self.began + seconds
        self.lease = lease
        self.has_room = has_room
        self.emit = emit
        sent = {key: value for key, value in metadata if isinstance(value, str)}
        address = address_of(peer)
        user = None
        self.fallback: str | None = None
        if address in proxies.addresses:
            self.fallback = sent.get(FALLBACK_HEADER.lower())
            user = sent.get(proxies.user_header.lower(), "").strip()[:MAX_USER] or None
            if forwarded := sent.get("x-forwarded-for"):
                address = forwarded.rpartition(",")[2].strip()
        self.environ: dict[str, Any] = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": path,
            "REMOTE_ADDR": address,
        }
        for name in _KEPT:
            if name in sent:
                self.environ[f"HTTP_{name.upper().replace('-', '_')}"] = sent[name]
        self.record: Record = record_of(self.environ)
        self.record.user = user
        self.record.protocol = _PROTOCOLS.get(path[1:].partition("/")[0], "other")
        environ_id(self.environ)
        self._error = refused

    def check(self) -> None:
        """Raise the error of a cancellation, or that of a message that could not be read."""
        if self._error is not None:
            raise self._error

    def start_call(self, seconds: float) -> Call:
        """Start the call of this request, which may take so many seconds, or what the client gives
        it. Raises the error of a cancellation."""
        call = Call(min(self.began + seconds, self.deadline))
        if self.record.traced:
            call.stages.times = {}
        self.record.calls.append(call)
        self.check()
        return call

    def cancel(self) -> None:
        """End it from a callback of the hub, since no client waits for the answer any more."""
        self._error = ClientDisconnected("the client cancelled the call")
        if time.monotonic() > self.deadline - _NEARLY_S:
            self._error = DeadlineExceeded("the client's deadline is over")
        for call in self.record.calls:
            call.cancel(self._error)


# Answers a call with an encoded message. Blocks the greenlet.
Method = Callable[[Rpc], bytes]


def address_of(peer: str) -> str:
    """Return the address of `ipv4:127.0.0.1:1234` or `ipv6:[::1]:1234`, as gRPC names a client."""
    kind, _, rest = unquote(peer).partition(":")
    return rest.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else rest
