"""pywsgi's handler, request bodies and listening socket.

pywsgi as it comes has no timeouts and drains bodies of any length after an error. nginx stands in
front in production; what is here makes the bare port behave.
"""

from __future__ import annotations

import logging
import re
import socket
import time
from contextlib import suppress
from typing import Any

import gevent
import orjson
from gevent.pywsgi import Input, WSGIHandler, WSGIServer
from gevent.pywsgi import _InvalidClientInput as InvalidClientInput  # type: ignore[attr-defined]
from gevent.socket import socket as gevent_socket

from app.access_log import GONE, GONE_CODE, AccessLog
from app.api.metrics import Metrics
from app.api.record import record_of
from app.api.requests import SOCKET_KEY
from app.errors import ClientDisconnected
from app.lifecycle import Lifecycle
from app.logs import kind, trace
from app.settings import Settings

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

    server: HttpServer

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


class HttpServer(WSGIServer):
    """pywsgi's server with what its handlers need, and a count of the requests in flight."""

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
