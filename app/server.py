"""The gevent server: its socket, its limits, its signals and its end.

pywsgi as it comes has no timeouts, drains bodies of any length after an error and cuts requests
off when it stops. nginx stands in front in production; what is here makes the bare port behave.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import Any

import gevent
import orjson
from gevent.event import Event
from gevent.pywsgi import Input, WSGIHandler, WSGIServer
from gevent.pywsgi import _InvalidClientInput as InvalidClientInput  # type: ignore[attr-defined]
from gevent.socket import socket as gevent_socket

from app import __version__
from app.access_log import GONE, GONE_CODE, AccessLog
from app.api.metrics import Metrics
from app.api.record import record_of
from app.api.requests import SOCKET_KEY
from app.errors import ClientDisconnected
from app.factory import create_app
from app.hub_watch import every_s
from app.launch import Turns
from app.lifecycle import Lifecycle
from app.logs import access_logger, kind, tell_of_hub, trace
from app.serving.entry import Entry
from app.serving.registry import Registry
from app.serving.reload import What
from app.serving.tasks.base import Limits
from app.serving.watchdog import Watchdog
from app.settings import Settings
from app.status.journal import Journal
from app.supervisor import HUNG_EXIT, PASSED_ON

log = logging.getLogger(__name__)

BACKLOG = 1024
# Seconds that a kept connection may idle, and that a request's headers may take.
IDLE_TIMEOUT_S = 75
HEADER_TIMEOUT_S = 15
# Of a body that was refused, so much is read and thrown away for the client to see the answer;
# then the connection closes.
DISCARD_BYTES = 64 * 1024 * 1024
DISCARD_TIMEOUT_S = 10
# Bytes read ahead on each connection. pywsgi's 8 kB would take a picture in several small reads.
READ_BUFFER = 64 * 1024
# How the errors of pywsgi begin, before they quote the client.
_OWN_WORDS = re.compile(r"[A-Za-z][A-Za-z -]*")
# How long no request must be in flight before the server believes that it was the last one.
QUIET_S = 0.05
# How much longer than a request may take a model that was replaced is kept for it.
LEASE_MARGIN_S = 30


class _Body(Input):
    """A request's body of which at most a part is read in vain. received: bytes so far."""

    received = 0

    def read(self, length: int | None = None) -> bytes:
        """Raises ClientDisconnected where it ends before its time."""
        try:
            data: bytes = super().read(length)
        except OSError as error:
            if isinstance(error, InvalidClientInput) and "EOF" not in str(error):
                raise
            raise ClientDisconnected(
                "the client closed the connection before its body was sent"
            ) from None
        self.received += len(data)
        return data

    def _discard(self) -> None:
        # A client that waits for "100 Continue" has sent nothing yet, and never will.
        if self.socket is not None:
            return
        # Nearly every request: its body was read, and the timer below is not free.
        if not self.chunked_input and self.position >= (self.content_length or 0):
            return
        left = DISCARD_BYTES
        gone = suppress(ClientDisconnected)
        with gone, gevent.Timeout(DISCARD_TIMEOUT_S, False):  # type: ignore[arg-type]
            while left > 0 and (read := len(self.read(min(left, 65536)))):
                left -= read


class _Handler(WSGIHandler):
    """pywsgi's handler with timeouts, a bounded discard and an eye on the server's lifecycle."""

    server: _Server

    def __init__(self, sock: Any, address: Any, server: Any) -> None:
        buffered = sock.makefile("rb", READ_BUFFER)
        super().__init__(sock, address, server, rfile=buffered)  # type: ignore[call-arg]

    def read_requestline(self) -> str:
        """An empty line, which ends the connection, when none comes."""
        with gevent.Timeout(IDLE_TIMEOUT_S, False):  # type: ignore[arg-type]
            line: str = super().read_requestline()
            return line
        return ""

    def read_request(self, raw_requestline: str) -> Any:
        """Raises ValueError, which pywsgi answers through `_handle_client_error`."""
        with gevent.Timeout(HEADER_TIMEOUT_S, False):  # type: ignore[arg-type]
            read = super().read_request(raw_requestline)
            # pywsgi compares it literally; anything else would be read as a request of no body
            # whose body is then taken for the next request.
            coding = self.headers.get("transfer-encoding")
            if coding is not None and coding.lower() != "chunked":
                raise ValueError(f"Transfer-Encoding {coding!r} is not supported")
            return read
        raise ValueError(f"the headers did not arrive within {HEADER_TIMEOUT_S} s")

    def get_environ(self) -> dict[str, Any]:
        """Adds the socket, for `app.api.requests.watching`, and bounds the body."""
        environ: dict[str, Any] = super().get_environ()
        environ[SOCKET_KEY] = self.socket
        plain: Any = self.wsgi_input
        self.wsgi_input = _Body(
            plain.rfile, plain.content_length, plain.socket, plain.chunked_input
        )
        if environ["wsgi.input"] is plain:
            environ["wsgi.input"] = self.wsgi_input
        return environ

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        """Closes the connection after this answer where no other request should follow."""
        if self.server.lifecycle.draining or not self._body_is_bounded():
            headers = [*headers, ("Connection", "close")]
        return super().start_response(status, headers, exc_info)

    def _body_is_bounded(self) -> bool:
        """Whether what is left of the body will be read before the next request."""
        length = self.content_length
        waits = self.wsgi_input is not None and self.wsgi_input.socket is not None
        return not waits and (length is None or length <= DISCARD_BYTES)

    def handle_one_request(self) -> Any:
        """Logs and counts what is refused before the application sees it."""
        self._problem = "the request line is too long"
        result = super().handle_one_request()
        if isinstance(result, tuple):
            status = int(result[0])
            self.server.access.refused(self.client_address, status, self._problem)
            self.server.metrics.observe_refused(status)
            if status == 414:  # which pywsgi answers with nothing
                return "414", _refusal("414 URI Too Long", "the address is longer than 8 kB")
        return result

    def handle_one_response(self) -> None:
        """Counts the request while it is in flight, and tells of it when it has ended."""
        self._orig_status = None  # that of the request before, on a connection that is kept
        started = time.monotonic()
        self.server.in_flight += 1
        try:
            super().handle_one_response()
        finally:
            self.server.in_flight -= 1
            self._tell(time.monotonic() - started)

    def _write_with_headers(self, data: bytes) -> None:
        """Headers and body leave in one packet, where pywsgi makes two of them."""
        handler: Any = self  # what the types of gevent do not know
        handler.headers_sent = True
        handler.finalize_headers()
        lines = b"".join(b"%b: %b\r\n" % header for header in handler.response_headers)
        if data and handler.response_use_chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        handler._sendall(b"HTTP/1.1 %b\r\n%b\r\n%b" % (handler.status, lines, data))

    def log_request(self) -> None:
        """Nothing: pywsgi formats a line even where there is no log to write it to."""

    def _tell(self, seconds: float) -> None:
        """The log and the metrics of a request that has ended after so many seconds."""
        handler: Any = self  # what the types of gevent do not know
        record = record_of(handler.environ)
        answered = handler._orig_status
        # pywsgi leaves its own words there when the client does not take the answer.
        gone = not answered or isinstance(handler.status, str) or record.code == GONE_CODE
        status = GONE if gone else int(answered[:3])
        self.server.metrics.observe(handler.environ, status, seconds)
        self.server.access.answered(
            handler.environ,
            record,
            handler.path,
            status,
            seconds=seconds,
            bytes_in=handler.wsgi_input.received,
            bytes_out=handler.response_length,
        )

    def _log_error(self, t: Any, v: Any, tb: Any) -> None:
        """What an answer that had begun has met."""
        if not issubclass(t, gevent.GreenletExit):
            record = record_of(self.environ or {})
            record.code = record.code or "internal"
            told = {"id": record.id, "exception": trace(v)}
            log.error("the answer breaks off: %s", kind(v), extra=told)

    def _handle_client_error(self, ex: BaseException) -> tuple[str, bytes]:
        # Its words up to what it quotes.
        words = _OWN_WORDS.match(str(ex))
        self._problem = words[0].strip() if words else kind(ex)
        return "400", _refusal("400 Bad Request", f"not an HTTP request that can be read: {ex}")


def _refusal(status: str, message: str) -> bytes:
    """The answer to what is no request."""
    error = {"code": "bad_request", "message": message[:500], "details": []}
    body = orjson.dumps({"id": None, "error": error})
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Server(WSGIServer):
    in_flight = 0

    def __init__(
        self,
        listener: gevent_socket,
        app: Any,
        lifecycle: Lifecycle,
        access: AccessLog,
        metrics: Metrics,
    ) -> None:
        super().__init__(listener, app, log=None, error_log=log, handler_class=_Handler)
        self.lifecycle = lifecycle
        self.access = access
        self.metrics = metrics
        metrics.watch_in_flight(lambda: self.in_flight)


def listen(settings: Settings) -> gevent_socket:
    """The listening socket.

    TCP_NODELAY, which accepted connections inherit, is worth a factor of thirty: headers and body
    leave in two writes, and without it the second waits for the client's delayed acknowledgement.
    Raises OSError when the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = gevent_socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if settings.reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


class Server:
    """One server process over one registry. Raises CardError where there is no folder of models,
    OSError when the address cannot be had."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lifecycle = Lifecycle()
        self._journal = Journal(settings.events_file, settings.replica_name)
        self._registry = Registry(
            settings.models_dir,
            Limits.of(settings),
            reload=settings.reload,
            # Reading the body and answering take no longer; the rest is for writing the answer.
            lease_s=settings.request_timeout_s + LEASE_MARGIN_S,
            note=self._note,
        )
        self._metrics = Metrics(self._registry)
        self._registry.find()
        self._app = create_app(
            settings, self._registry, self._lifecycle, self._journal, self._metrics
        )
        access = AccessLog(access_logger(), settings.log_health_every)
        self._server = _Server(listen(settings), self._app, self._lifecycle, access, self._metrics)
        self._told = Event()
        self._signals: Counter[str] = Counter()

    @property
    def address(self) -> str:
        """Where the server listens, as a URL."""
        host, port = self._server.socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def run(self, turns: Turns) -> None:
        """Serve until SIGTERM or SIGINT, or until a model hangs; finish what is in flight, and end
        the process, with 0 or HUNG_EXIT."""
        hub: Any = gevent.get_hub()
        hub.print_exception = tell_of_hub
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, self._on_signal, number, "sent")
            gevent.signal_handler(PASSED_ON[number], self._on_signal, number, "passed on")
        gevent.signal_handler(signal.SIGHUP, self._reload)
        turning = hub.loop.timer(0, every_s(self._settings.watchdog_s))
        turning.start(turns.tell)
        self._journal.start()
        self._registry.start()
        self._server.start()
        told = {"address": self.address, "program": f"keraport {__version__}"}
        log.info("listening on %s", self.address, extra=told)
        gevent.spawn(self._watch)
        self._told.wait()
        left = self._drain()
        self._registry.stop()
        how = f"{left} requests were cut off" if left else "every request was answered"
        hung = self._lifecycle.hung
        self._journal.note("stopped", reason=how if hung is None else f"{hung}; {how}")
        _exit(0 if hung is None else HUNG_EXIT)

    def _note(self, what: What, entry: Entry, seconds: float | None, reason: str | None) -> None:
        self._metrics.loaded(what, entry, seconds)
        self._journal.note(what, model=entry.label, seconds=seconds, reason=reason)

    def _reload(self) -> None:
        log.info("SIGHUP: looking for changed models")
        self._registry.reload()

    def _watch(self) -> None:
        """Give up models that hang, while draining as well: who waits for one is answered."""
        limit_s = self._settings.watchdog_s
        watchdog = Watchdog(limit_s, self._registry.alive)
        reason = f"a run has not ended within {limit_s:g} s (KERAPORT_WATCHDOG_S)"
        while True:
            gevent.sleep(watchdog.every_s)
            for entry in watchdog.check():
                log.error("model %s hangs: %s", entry.label, reason)
                self._registry.abandon(entry, reason)
                self._journal.note("hung", model=entry.label, reason=reason)
                if not self._told.is_set():
                    log.error("draining, to be restarted: the other models finish what they have")
                    self._lifecycle.hung = f"the model {entry.label!r} hangs: {reason}"
                    self._lifecycle.draining = True
                    self._told.set()

    def _on_signal(self, number: signal.Signals, way: str) -> None:
        """way: how it came here. What is sent to a whole group of processes comes both ways."""
        self._signals[way] += 1
        if self._signals[way] > 1:
            log.warning("second signal: ending at once")
            self._journal.note("stopped", reason="at once, on a second signal")
            _exit(128 + number)
        if self._signals.total() > 1:
            return
        log.info("%s: draining", number.name)
        self._lifecycle.draining = True
        self._told.set()

    def _drain(self) -> int:
        """Stay open until load balancers have noticed, then close the port and let requests in
        flight finish. Returns how many did not."""
        if self._registry.loaded:
            gevent.sleep(self._settings.drain_delay_s)
        self._server.close()
        self._lifecycle.refusing = True
        log.info("port closed, %d requests in flight", self._server.in_flight)
        until = time.monotonic() + self._settings.drain_timeout_s
        quiet_since = time.monotonic()
        while time.monotonic() < until:
            if self._server.in_flight:
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since >= QUIET_S:
                log.info("drained")
                return 0
            gevent.sleep(QUIET_S / 5)
        log.warning("%d requests did not finish within the drain", self._server.in_flight)
        return self._server.in_flight


def _exit(code: int) -> None:
    """End here and now. Threads that still load or run a model hold nothing worth waiting for,
    and TensorFlow's own may crash an orderly shutdown."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
