"""How requests are read: bodies, uploads, deadlines, and clients that hang up."""

from __future__ import annotations

import io
import socket
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import flask
import gevent
from flask import Request
from gevent import get_hub
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser
from werkzeug.exceptions import RequestEntityTooLarge

from app.api.record import record_of
from app.errors import BadRequest, ClientDisconnected, DeadlineExceeded, UnsupportedMediaType
from app.serving.call import Call
from app.serving.tasks.base import Payload
from app.serving.workers import in_a_thread

# Uploads above this many bytes go to disk, into a file that has no name.
SPOOL_ABOVE = 500_000
CHUNK = 64 * 1024
# The fields of a form that hold uploads, and how many parts a form may have.
UPLOAD_FIELDS = frozenset({"image", "file"})
MAX_PARTS = 1000
# What an upload may be called where an error shows how to send one.
EXAMPLES = {"image": "cat.jpg", "file": "rows.csv"}
# Where the server leaves the connection's socket, for `watching`.
SOCKET_KEY = "keraport.socket"
# Tells the two apart by their first bytes.
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_READ = 1  # libev's EV_READ


def spool_for(folder: Path) -> Callable[[], BinaryIO]:
    """Opens spools in `folder`. The file behind a spool is unlinked from its first moment, so that
    nothing stays even when the process is killed."""

    def open_spool() -> BinaryIO:
        return cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=SPOOL_ABOVE, dir=str(folder)))

    return open_spool


class KeraportRequest(Request):
    """A Flask request that knows where the settings want uploads spooled."""

    open_spool: Callable[[], BinaryIO]


def start_call(seconds: float) -> Call:
    """A call whose deadline is `seconds` from now, of the request at hand."""
    call = Call(time.monotonic() + seconds)
    record_of(flask.request.environ).calls.append(call)
    return call


def read_payload(request: Request, accepts: frozenset[str], call: Call, hint: str = "") -> Payload:
    """The body, as the kind of payload that a task accepts. hint: added where another is sent.

    Raises UnsupportedMediaType, BadRequest (an empty body), RequestEntityTooLarge, or
    DeadlineExceeded when the client is too slow.
    """
    _check_size(request, request.content_length or 0)
    too_slow = DeadlineExceeded("the body did not arrive within the time allowed")
    with gevent.Timeout(call.remaining, too_slow):
        if request.mimetype == "multipart/form-data":
            return _multipart(request, accepts, hint)
        if "files" in accepts:
            return _picture(request)
        return _text(request, accepts, hint)


def read_body(request: Request, call: Call) -> bytes:
    """The whole body, compressed by gzip or deflate or not; the limit counts for both forms.

    Raises RequestEntityTooLarge, UnsupportedMediaType for another Content-Encoding, BadRequest for
    a body that is not what that says, or DeadlineExceeded when the client is too slow.
    """
    _check_size(request, request.content_length or 0)
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("identity", "gzip", "deflate"):
        raise UnsupportedMediaType(
            f"Content-Encoding {coding[:100]!r} is not read here: expected gzip or deflate"
        )
    too_slow = DeadlineExceeded("the body did not arrive within the time allowed")
    with gevent.Timeout(call.remaining, too_slow):
        data = _whole(request)
        _check_size(request, len(data))
        if coding != "identity":
            limit = request.max_content_length or 0
            data = in_a_thread(partial(_decompressed, data, coding, limit))
            _check_size(request, len(data))
    return data


def _whole(request: Request) -> bytes:
    """The body in one piece, which for a large one takes half the time of Werkzeug's way: that
    copies it three times over."""
    if request.content_length is None:
        return request.get_data(cache=False)
    try:
        body: bytes = request.environ["wsgi.input"].read(request.content_length)
    except OSError:  # pywsgi's word for a connection that ended
        body = b""
    if len(body) < request.content_length:
        raise ClientDisconnected("the client closed the connection before its body was sent")
    return body


def _decompressed(data: bytes, coding: str, limit: int) -> bytes:
    """At most `limit` bytes of it. In a native thread, for zlib may take a while."""
    parts: list[bytes] = []
    size = 0
    try:
        while data and size < limit:  # gzip may consist of several parts
            stream = zlib.decompressobj(_GZIP_OR_ZLIB)
            parts.append(stream.decompress(data, limit - size))
            size += len(parts[-1])
            if not stream.eof and size < limit:
                raise BadRequest(f"the body ends before its {coding} data does")
            data = stream.unused_data
    except zlib.error:
        raise BadRequest(f"the body is not {coding} as its Content-Encoding says") from None
    return b"".join(parts)


def _check_size(request: Request, size: int) -> None:
    """The app's own limit. Flask's is one byte higher: at its limit it cannot tell a body that
    ends there from one that goes on, and cuts the latter off in silence."""
    if size >= (request.max_content_length or 0):
        raise RequestEntityTooLarge


def _multipart(request: Request, accepts: frozenset[str], hint: str) -> Payload:
    if accepts.isdisjoint({"files", "csv"}):
        raise not_taken(request.mimetype, accepts, hint)
    wanted = "image" if "files" in accepts else "file"
    with ExitStack() as spools:
        uploads, others = _uploads(request, spools, example=EXAMPLES[wanted])
        files = [file for _, file in uploads]
        found = "nothing"
        if files:
            found = f"{len(files)} files"
        elif others:
            found = "the field " + ", ".join(map(repr, others[:10]))
        if "files" in accepts:
            if not files:
                raise BadRequest(f"no picture: expected it as the field 'image', found {found}")
            spools.pop_all()
            return Payload("files", files=files, names=[name for name, _ in uploads])
        if len(files) != 1:
            raise BadRequest(f"expected one CSV as the field 'file', found {found}")
        return Payload("csv", data=files[0].read())


def _uploads(
    request: Request, spools: ExitStack, example: str
) -> tuple[list[tuple[str, BinaryIO]], list[str]]:
    """The uploads of a form in their order, each as the file's name and a spool that `spools`
    closes, and the names of the fields that were passed over. Raises BadRequest for a text in the
    place of an upload.

    Not by Werkzeug's parser: it takes a third of all the time that a picture spends in the hub.
    """
    boundary = request.mimetype_params.get("boundary", "")
    uploads: list[tuple[str, BinaryIO]] = []
    others: dict[str, None] = {}
    taken: BinaryIO | None = None
    try:
        with PushMultipartParser(boundary, max_segment_count=MAX_PARTS) as parser:
            for chunk in _chunks(request):
                for event in parser.parse(chunk):
                    if isinstance(event, MultipartSegment):
                        name = event.name or ""
                        if name not in UPLOAD_FIELDS:
                            others[name[:100]] = None
                        elif event.filename:
                            taken = spools.enter_context(_open_spool(request))
                            uploads.append((event.filename, taken))
                        elif event.filename is None:  # "" is a browser's field left empty
                            raise BadRequest(
                                f"the field {name!r} is text, not a file: with curl, "
                                f"-F {name}=@{example}"
                            )
                    elif event is None:
                        taken = None
                    elif taken is not None:
                        taken.write(event)
    except ParserLimitReached as error:
        raise BadRequest(
            f"the form is larger than is read here (at most {MAX_PARTS} parts): {error}"
        ) from None
    except MultipartError as error:
        raise BadRequest(f"the body is not multipart/form-data as announced: {error}") from None
    for _, file in uploads:
        file.seek(0)
    return uploads, list(others)


def _picture(request: Request) -> Payload:
    if request.mimetype == "application/json" or request.mimetype.startswith("text/"):
        raise not_taken(request.mimetype, frozenset({"files"}))
    with ExitStack() as spools:
        spool = spools.enter_context(_open_spool(request))
        for chunk in _chunks(request):
            spool.write(chunk)
        if not spool.tell():
            return Payload("files")
        spool.seek(0)
        spools.pop_all()
        return Payload("files", files=[spool])


def _open_spool(request: Request) -> BinaryIO:
    return cast(KeraportRequest, request).open_spool()


def _chunks(request: Request) -> Iterator[bytes]:
    """The body, piece by piece, up to the limit."""
    size = 0
    while chunk := request.stream.read(CHUNK):
        size += len(chunk)
        _check_size(request, size)
        yield chunk


# curl's -d says form-urlencoded whatever it sends; a JSON body is plain to see all the same.
_JSON_TYPES = frozenset({"application/json", "application/x-www-form-urlencoded", "text/plain", ""})
_CSV_TYPES = frozenset({"text/csv", "application/csv"})


def _text(request: Request, accepts: frozenset[str], hint: str) -> Payload:
    mimetype = request.mimetype
    if mimetype in _CSV_TYPES:
        kind: Literal["csv", "json"] = "csv"
    elif mimetype in _JSON_TYPES or mimetype.endswith("+json"):
        kind = "json"
    else:
        raise not_taken(request.mimetype, accepts, hint)
    data = request.get_data(cache=False)
    _check_size(request, len(data))
    return Payload(kind, data=data)


def not_taken(mimetype: str, accepts: frozenset[str], hint: str = "") -> UnsupportedMediaType:
    """The error for a body of a type that a task does not accept."""
    if "files" in accepts:
        return UnsupportedMediaType(
            f"this model takes pictures, not {mimetype}: send the picture as the body, or as the "
            "field 'image' of multipart/form-data"
        )
    taken = "application/json or text/csv" if "csv" in accepts else "application/json"
    return UnsupportedMediaType(f"this model takes {taken}, not {mimetype}{hint}")


def copies(payload: Payload, count: int) -> list[Payload]:
    """`count` payloads that can be read at the same time. Blocks the greenlet."""
    contents = in_a_thread(lambda: [file.read() for file in payload.files])
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
