"""How requests are read: bodies, uploads, deadlines, and clients that hang up."""

from __future__ import annotations

import io
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, cast

import gevent
from flask import Request
from gevent import get_hub
from werkzeug.exceptions import RequestEntityTooLarge

from app.errors import BadRequest, ClientDisconnected, DeadlineExceeded, UnsupportedMediaType
from app.serving.batching import Call
from app.serving.tasks.base import Payload

# Uploads above this many bytes go to disk, into a file that has no name.
SPOOL_ABOVE = 500_000
CHUNK = 64 * 1024
# Where the server leaves the connection's socket, for `watching`.
SOCKET_KEY = "keraport.socket"
_READ = 1  # libev's EV_READ


def spool_for(folder: Path) -> Callable[[], IO[bytes]]:
    """Opens spools in `folder`. The file behind a spool is unlinked from its first moment, so that
    nothing stays even when the process is killed."""

    def open_spool() -> IO[bytes]:
        return cast(IO[bytes], tempfile.SpooledTemporaryFile(max_size=SPOOL_ABOVE, dir=str(folder)))

    return open_spool


class KeraportRequest(Request):
    """A Flask request whose uploads are spooled where the settings say."""

    open_spool: Callable[[], IO[bytes]]

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        return self.open_spool()


def start_call(seconds: float) -> Call:
    """A call whose deadline is `seconds` from now."""
    return Call(time.monotonic() + seconds)


def read_payload(request: Request, accepts: frozenset[str], call: Call) -> Payload:
    """The body, as the kind of payload that a task accepts.

    Raises UnsupportedMediaType, BadRequest (an empty body), RequestEntityTooLarge, or
    DeadlineExceeded when the client is too slow.
    """
    _check_size(request, request.content_length or 0)
    too_slow = DeadlineExceeded("the body did not arrive within the time allowed")
    with gevent.Timeout(call.remaining, too_slow):
        if request.mimetype == "multipart/form-data":
            return _multipart(request, accepts)
        if "files" in accepts:
            return _picture(cast(KeraportRequest, request))
        return _text(request)


def _check_size(request: Request, size: int) -> None:
    """The app's own limit. Flask's is one byte higher: at its limit it cannot tell a body that
    ends there from one that goes on, and cuts the latter off in silence."""
    if size >= (request.max_content_length or 0):
        raise RequestEntityTooLarge


def _multipart(request: Request, accepts: frozenset[str]) -> Payload:
    files: list[BinaryIO] = [
        cast(BinaryIO, file.stream)
        for field in ("image", "file")
        for file in request.files.getlist(field)
    ]
    if "files" in accepts:
        return Payload("files", files=files)
    if "csv" not in accepts:
        raise UnsupportedMediaType("this model takes application/json, not multipart/form-data")
    if len(files) != 1:
        raise BadRequest(f"expected one CSV as the field 'file', found {len(files)}")
    with files[0] as file:
        return Payload("csv", data=file.read())


def _picture(request: KeraportRequest) -> Payload:
    if request.mimetype == "application/json" or request.mimetype.startswith("text/"):
        raise UnsupportedMediaType(
            f"this model takes pictures, not {request.mimetype}: send the picture as the body, or "
            "as the field 'image' of multipart/form-data"
        )
    spool = request.open_spool()
    size = 0
    try:
        while chunk := request.stream.read(CHUNK):
            spool.write(chunk)
            size += len(chunk)
            _check_size(request, size)
    except BaseException:
        spool.close()
        raise
    if not size:
        spool.close()
        return Payload("files")
    spool.seek(0)
    return Payload("files", files=[cast(BinaryIO, spool)])


# curl's -d says form-urlencoded whatever it sends; a JSON body is plain to see all the same.
_JSON_TYPES = frozenset({"application/json", "application/x-www-form-urlencoded", "text/plain", ""})
_CSV_TYPES = frozenset({"text/csv", "application/csv"})


def _text(request: Request) -> Payload:
    mimetype = request.mimetype
    if mimetype in _CSV_TYPES:
        kind: Literal["csv", "json"] = "csv"
    elif mimetype in _JSON_TYPES or mimetype.endswith("+json"):
        kind = "json"
    else:
        raise UnsupportedMediaType(f"this model takes application/json, not {mimetype}")
    data = request.get_data(cache=False)
    _check_size(request, len(data))
    return Payload(kind, data=data)


def copies(payload: Payload, count: int) -> list[Payload]:
    """`count` payloads that can be read at the same time."""
    contents = [file.read() for file in payload.files]
    return [
        Payload(payload.kind, payload.data, [io.BytesIO(c) for c in contents]) for _ in range(count)
    ]


@contextmanager
def watching(environ: dict[str, Any], calls: Sequence[Call]) -> Iterator[None]:
    """Cancel `calls` as soon as the client closes its connection.

    The socket becomes readable when it is closed; whether it is, one byte peeked tells.
    """
    connection: socket.socket | None = environ.get(SOCKET_KEY)
    if connection is None:  # not our server, such as Flask's test client
        yield
        return
    watcher = get_hub().loop.io(connection.fileno(), _READ)

    def readable() -> None:
        watcher.stop()
        try:
            gone = connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return
        except OSError:
            gone = True
        if gone:
            for call in calls:
                call.cancel(ClientDisconnected("the client closed the connection"))

    watcher.start(readable)
    try:
        yield
    finally:
        watcher.stop()
        watcher.close()
