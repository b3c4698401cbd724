"""The HTTP server: pywsgi with a handler of our own.

pywsgi as it comes has no timeouts, reads requests leniently and drains bodies of any length after
an error. nginx stands in front in production; what is here makes the bare port behave.
"""

from __future__ import annotations

import errno
import logging
import socket
import time
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import gevent
import orjson
from gevent.pywsgi import WSGIHandler, WSGIServer
from gevent.socket import socket as gevent_socket

from app.api.bodies.body import Body
from app.api.bodies.body_room import LEASE_KEY, BodyLease, BodyRoom
from app.api.bodies.framing import FramingError, Request, read_fields, read_request_line
from app.api.http.disconnect import CONNECTION_KEY, CONTINUE, Connection
from app.api.http.errors import error_body
from app.api.telemetry.access_log import GONE, GONE_CODE, AccessLog
from app.api.telemetry.metrics import Metrics
from app.api.telemetry.protocols import speaks_protocol
from app.api.telemetry.record import record_of
from app.api.telemetry.spans import Spans
from app.lifecycle import Lifecycle
from app.logs import kind, trace
from app.serving.call import Alarm

log = logging.getLogger(__name__)

# Seconds that a kept connection may idle, and that a request's headers may take.
IDLE_TIMEOUT_S = 75
HEADER_TIMEOUT_S = 15
# How long, and how many bytes, a connection that closes is read from: see `_linger`.
LINGER_S = 2
LINGER_BYTES = 1024 * 1024
# Bytes read ahead on each connection. pywsgi's 8 kB would take a picture in several small reads.
READ_BUFFER = 64 * 1024
# Bytes of an answer that are sent at once, if the socket takes them.
ONE_SEND = 64 * 1024
# Header fields whose WSGI names have no prefix.
_WITHOUT_PREFIX = frozenset({"CONTENT_TYPE", "CONTENT_LENGTH"})


class _Late(BaseException):
    """The next request, or its headers, did not arrive in time."""


class _Handler(WSGIHandler):
    """pywsgi's handler with the framing of `app.api.bodies`, timeouts, a bounded discard and the
    server's lifecycle."""

    server: HttpServer
    wsgi_input: Any
    # Errors of a client that disconnects while it is written to: not logged.
    ignored_socket_errors = (
        *WSGIHandler.ignored_socket_errors,
        *(errno.ECONNABORTED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT),
    )

    def __init__(self, sock: Any, address: Any, server: Any) -> None:
        buffered = sock.makefile("rb", READ_BUFFER)
        super().__init__(sock, address, server, rfile=buffered)  # type: ignore[call-arg]
        self._iteration = -1

    def handle(self) -> None:
        """Serve the requests of a connection, which may end at any point."""
        with suppress(OSError):
            super().handle()

    def handle_one_request(self) -> Any:
        """Serve one request. Returns None if the connection ends, else True."""
        self._take_turns()
        try:
            request = self._read_head()
        except FramingError as error:
            return self._refuse(error)
        if request is None:
            return None
        self._request = request
        # What pywsgi reads of them.
        self.command, self.path = request.method, request.target
        self.request_version = request.version
        self.close_connection = not request.keep_alive
        self.response_length = 0
        self.environ = self.get_environ()
        self.handle_one_response()
        if not self.wsgi_input.ended:
            self._linger()
            return None
        return None if self.close_connection else True

    def _take_turns(self) -> None:
        """Let all other connections proceed, if this one has been served since they last could: a
        client that sends faster than it is answered would stop them."""
        loop = self.server.loop
        if loop.iteration == self._iteration:
            gevent.sleep(0)
        self._iteration = loop.iteration

    def _read_head(self) -> Request | None:
        """Return the next request, without its body; None if none comes. Raises FramingError."""
        readline = self.rfile.readline
        try:
            with Alarm(IDLE_TIMEOUT_S, _Late):
                request = read_request_line(readline)
        except _Late:
            return None
        if request is None:
            return None
        try:
            with Alarm(HEADER_TIMEOUT_S, _Late):
                read_fields(readline, request)
        except _Late:
            problem = f"the headers did not arrive within {HEADER_TIMEOUT_S} s"
            raise FramingError(408, problem, path=request.path) from None
        return request

    def get_environ(self) -> dict[str, Any]:
        """Return the environment of PEP 3333, with the connection for `app.api.http.disconnect`."""
        request = self._request
        environ: dict[str, Any] = self.server.get_environ()
        environ["REQUEST_METHOD"] = request.method
        environ["SCRIPT_NAME"] = ""
        environ["PATH_INFO"] = request.path
        environ["QUERY_STRING"] = request.query
        environ["SERVER_PROTOCOL"] = request.version
        if isinstance(self.client_address, tuple):
            environ["REMOTE_ADDR"] = str(self.client_address[0])
            environ["REMOTE_PORT"] = str(self.client_address[1])
        for name, value in request.fields.items():
            # An underscore would pass for a hyphen; and no other protocol is spoken here.
            if "_" not in name and name != "upgrade":
                environ[_environ_name(name)] = value
        proceed = self._send_continue if request.expects_continue else None
        self.wsgi_input = environ["wsgi.input"] = Body(self.rfile, request.length, proceed)
        environ["wsgi.input_terminated"] = True
        self._lease = environ[LEASE_KEY] = BodyLease(self.server.body_room)
        environ[CONNECTION_KEY] = Connection(self.socket, self._may_send_interim)
        return environ

    def _send_continue(self) -> None:
        self.socket.sendall(CONTINUE)

    def _may_send_interim(self) -> bool:
        """Whether an interim (1xx) response may be sent (RFC 9110, section 15.2)."""
        return self.request_version != "HTTP/1.0" and not self.headers_sent

    def run_application(self) -> None:
        """Call the application, except for `OPTIONS *`."""
        everything = self._request.path == "*"
        self.application = _describe_server if everything else self.server.application
        super().run_application()

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        """Start the answer; the connection closes after it if no other request should follow."""
        self.close_connection = (
            self.close_connection or self.server.lifecycle.draining or not self._body_will_end()
        )
        if self.close_connection and self.request_version != "HTTP/1.0":
            headers = [*headers, ("Connection", "close")]
        return super().start_response(status, headers, exc_info)

    def _body_will_end(self) -> bool:
        """Whether what is left of the body will be read before the next request."""
        body, length = self.wsgi_input, self._request.length
        return not body.awaited and not body.failed and (length or 0) <= body.discarded

    def handle_one_response(self) -> None:
        """Answer; count the request while it is in flight, and log it when it has ended."""
        self._orig_status = None  # that of the request before, on a connection that is kept
        started = time.monotonic()
        self.server.in_flight += 1
        if self.server.spans is not None:
            handler: Any = self  # what the types of gevent do not know
            record_of(handler.environ).traced = True
        try:
            super().handle_one_response()
        finally:
            self._lease.end()
            self.server.in_flight -= 1
            self._log_and_count(time.monotonic() - started)

    def finalize_headers(self) -> None:
        """Finalize them as pywsgi does, except that an answer to HEAD is not taken for an empty
        one, and one without a length ends an HTTP/1.0 connection, which knows no other end of
        it."""
        handler: Any = self  # what the types of gevent do not know
        if handler.provided_date is None:
            # pywsgi would format it for each answer.
            handler.provided_date = _date(int(time.time()))
            handler.response_headers.append((b"Date", handler.provided_date))
        super().finalize_headers()
        headers = handler.response_headers
        if handler.command == "HEAD":
            handler.response_use_chunked = False
            if handler.provided_content_length is None:
                handler.response_headers = [h for h in headers if h[0] != b"Content-Length"]
        elif handler.request_version == "HTTP/1.0" and not any(
            name.lower() == b"content-length" for name, _ in headers
        ):
            handler.close_connection = True
            others = [h for h in headers if h[0] != b"Connection"]
            handler.response_headers = [*others, (b"Connection", b"close")]

    def _write(self, data: bytes) -> None:
        if self.command != "HEAD":
            super()._write(data)  # type: ignore[misc]

    def _write_with_headers(self, data: bytes) -> None:
        """Send headers and body in one packet; pywsgi makes two of them."""
        handler: Any = self  # what the types of gevent do not know
        handler.headers_sent = True
        handler.finalize_headers()
        lines = b"".join(b"%b: %b\r\n" % header for header in handler.response_headers)
        if self.command == "HEAD":
            data = b""
        if data and handler.response_use_chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        handler._sendall(b"HTTP/1.1 %b\r\n%b\r\n%b" % (handler.status, lines, data))

    def _sendall(self, data: bytes) -> None:
        """Send as pywsgi does, but without asking for the size of the socket's buffer first, which
        matters for what one packet holds."""
        sent = 0
        if len(data) <= ONE_SEND:
            # An error comes again below, where pywsgi notes it.
            with suppress(OSError):
                sent = self.socket.send(data)
        handler: Any = self  # what the types of gevent do not know
        handler.response_length += sent
        if sent < len(data):
            super()._sendall(data[sent:])  # type: ignore[misc]

    def log_request(self) -> None:
        """Nothing: pywsgi formats a line even where there is no log to write it to."""

    def _log_and_count(self, seconds: float) -> None:
        """Log and count a request that took `seconds`."""
        handler: Any = self  # what the types of gevent do not know
        record = record_of(handler.environ)
        answered = handler._orig_status
        # pywsgi leaves its own words there when the client does not take the answer.
        gone = not answered or isinstance(handler.status, str) or record.code == GONE_CODE
        status = GONE if gone else int(answered[:3])
        if self.server.spans is not None:
            self.server.spans.end(handler.environ, record, handler.path, status, seconds)
        self.server.metrics.observe(record, status, seconds)
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
        """Log an error after the answer has begun."""
        if not issubclass(t, gevent.GreenletExit):
            record = record_of(self.environ or {})
            record.code = record.code or "internal"
            extra = {"id": record.id, "exception": trace(v)}
            log.error("the answer breaks off: %s", kind(v), extra=extra)

    def _refuse(self, error: FramingError) -> None:
        """Answer, log and count a request that cannot be read. The connection ends."""
        self.server.access.refused(self.client_address, error.status, error.problem)
        self.server.metrics.observe_refused(error.status)
        self.socket.sendall(_refusal(error))
        self._linger()

    def _linger(self) -> None:
        """Give the client time to read the answer: closing a connection with unread bytes resets
        it, and the client loses what it has not read yet (RFC 9112, section 9.6)."""
        left = LINGER_BYTES
        with gevent.Timeout(LINGER_S, False):  # type: ignore[arg-type]
            self.socket.shutdown(socket.SHUT_WR)
            while left > 0 and (data := self.socket.recv(READ_BUFFER)):
                left -= len(data)


@lru_cache(maxsize=256)
def _environ_name(field: str) -> str:
    """Return the name that WSGI has for a header field."""
    name = field.upper().replace("-", "_")
    return name if name in _WITHOUT_PREFIX else f"HTTP_{name}"


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    """Return the value of the header Date. second: since the epoch."""
    return formatdate(second, usegmt=True).encode()


def _describe_server(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer `OPTIONS *`: the methods of the whole server (RFC 9110, section 9.3.7)."""
    start_response("204 No Content", [("Allow", "GET, HEAD, OPTIONS, POST")])
    return []


def _refusal(error: FramingError) -> bytes:
    """Return the answer to a request that cannot be read, in the shape of the protocol of its
    path."""
    message = f"not an HTTP request that can be read: {error.problem}"
    if error.quoted:
        message += f", found {error.quoted!r}"
    if speaks_protocol(error.path):
        body = orjson.dumps({"error": message})
    else:
        body = orjson.dumps({"id": None, "error": error_body("bad_request", message, [])})
    head = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body


class HttpServer(WSGIServer):
    """pywsgi's server with the objects of its handlers, and a count of the requests in flight."""

    in_flight = 0

    def __init__(
        self,
        listener: gevent_socket,
        app: Any,
        lifecycle: Lifecycle,
        access: AccessLog,
        metrics: Metrics,
        body_room: BodyRoom,
        spans: Spans | None = None,
    ) -> None:
        super().__init__(listener, app, log=None, error_log=log, handler_class=_Handler)
        self.lifecycle = lifecycle
        self.access = access
        self.metrics = metrics
        self.body_room = body_room
        self.spans = spans
