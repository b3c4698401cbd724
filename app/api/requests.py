"""How requests are read: bodies, uploads and deadlines."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, cast
from urllib.parse import parse_qsl

import flask
import gevent
from flask import Request
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge

from app.api.hangup import watching
from app.api.record import record_of
from app.api.unpack import CODINGS, unpacked
from app.body import PIECE
from app.body_room import LEASE_KEY, Lease
from app.errors import (
    BadRequest,
    DeadlineExceeded,
    TooLarge,
    UnsupportedCoding,
    UnsupportedMediaType,
)
from app.serving.call import Call
from app.serving.large import run_large
from app.serving.rounds import next_round
from app.serving.tasks.base import Payload
from app.serving.workers import in_a_thread

if TYPE_CHECKING:  # it needs TensorFlow, which takes seconds to import
    from app.serving.model import Model

# Uploads above this many bytes go to disk, into a file that has no name.
SPOOL_ABOVE = 500_000
# The fields of a form that hold uploads, and how many parts a form may have.
UPLOAD_FIELDS = frozenset({"image", "file"})
MAX_PARTS = 1000
# Bytes of a form that a page without scripts sends.
MAX_FORM_BYTES = 500_000
# Bytes of a form that are parsed at once: of nothing but headers, some milliseconds.
FORM_PIECE = 16 * 1024
# What an upload may be called where an error shows how to send one.
EXAMPLES = {"image": "cat.jpg", "file": "rows.csv"}


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


def start_call_to(model: Model, timeout_s: float) -> Call:
    """A call to `model`, which is given `timeout_s` or as long as its card says, before any of the
    body is read. Raises Overloaded where the model has no room for it."""
    call = start_call(min(timeout_s, model.card.runtime.timeout_s))
    model.check_room(call.remaining)
    return call


def read_payload(request: Request, accepts: frozenset[str], call: Call, hint: str = "") -> Payload:
    """The body, as the kind of payload that a task accepts. hint: added where another is sent.

    Raises what `read_body` raises, and BadRequest for an empty body or a form that is malformed.
    """
    with _in_time(request, call):
        if request.mimetype == "multipart/form-data":
            return _multipart(request, accepts, call, hint)
        if "files" in accepts:
            return _picture(request, call)
        return _text(request, accepts, call, hint)


def read_body(request: Request, call: Call) -> bytes:
    """The whole body, without its Content-Encoding; the limit counts for both forms.

    Raises RequestEntityTooLarge, UnsupportedCoding, BadRequest for a body that is not what its
    coding says, ClientDisconnected, or DeadlineExceeded when the client is too slow.
    """
    with _in_time(request, call):
        return _whole(request, call)


def read_form(request: Request, call: Call, max_fields: int = MAX_PARTS) -> MultiDict[str, str]:
    """The fields of an urlencoded form; none where the body is something else.

    Raises what `read_body` raises, TooLarge above MAX_FORM_BYTES, and BadRequest for more than
    `max_fields`. Not by Werkzeug's parser, which knows no limit on fields.
    """
    _check_size(request, request.content_length or 0)
    if request.mimetype != "application/x-www-form-urlencoded":
        return MultiDict()
    too_large = TooLarge(f"the form is larger than {MAX_FORM_BYTES:,} bytes: use the API instead")
    if (request.content_length or 0) > MAX_FORM_BYTES:
        raise too_large
    body = read_body(request, call)
    if len(body) > MAX_FORM_BYTES:
        raise too_large
    parse = partial(
        parse_qsl,
        body.decode(errors="replace"),
        keep_blank_values=True,
        max_num_fields=max_fields,
        errors="replace",
    )
    try:
        return MultiDict(run_large(len(body), parse, call))
    except ValueError:
        raise BadRequest(f"the form has more than {max_fields:,} fields") from None


@contextmanager
def _in_time(request: Request, call: Call) -> Iterator[None]:
    _check_size(request, request.content_length or 0)
    _take_room(request, call)
    too_slow = DeadlineExceeded("the body did not arrive within the time allowed")
    with gevent.Timeout(call.remaining, too_slow):
        yield


def _take_room(request: Request, call: Call) -> None:
    """Wait until the bodies of other requests leave room for this one. Raises Overloaded."""
    lease: Lease | None = request.environ.get(LEASE_KEY)
    if lease is None:  # not our server, such as Flask's test client
        return
    size = request.content_length or 0
    if "HTTP_TRANSFER_ENCODING" in request.environ or _coding(request) is not None:
        size = request.max_content_length or 0  # what it may become
    lease.take(size, call.remaining)


def _whole(request: Request, call: Call) -> bytes:
    coding = _coding(request)
    data = b"".join(_received(request))
    if coding is None:
        return data
    # One more than is taken, for `_check_size` to see it.
    limit = request.max_content_length or 0
    with watching(request.environ, [call]):
        data = in_a_thread(partial(unpacked, data, coding, limit, call.check))
    _check_size(request, len(data))
    return data


def _pieces(request: Request, call: Call, size: int = PIECE) -> Iterator[bytes]:
    """The body in pieces of at most `size` bytes, without its Content-Encoding; others get a turn
    between them."""
    if _coding(request) is None:
        yield from _received(request, size)
        return
    data = _whole(request, call)
    for start in range(0, len(data), size):
        next_round()
        yield data[start : start + size]


def _coding(request: Request) -> str | None:
    """The Content-Encoding, if there is one. Raises UnsupportedCoding."""
    coding = request.headers.get("Content-Encoding", "").strip().lower()
    if coding in ("", "identity"):
        return None
    if coding not in CODINGS:
        raise UnsupportedCoding(
            f"Content-Encoding {coding[:100]!r} is not read here: expected gzip or deflate", CODINGS
        )
    return coding


def _received(request: Request, size: int = PIECE) -> Iterator[bytes]:
    """The body as it comes, up to the limit. Not by Werkzeug's stream, which copies it twice."""
    stream = request.environ["wsgi.input"]
    received = 0
    while piece := stream.read(size):
        received += len(piece)
        _check_size(request, received)
        yield piece


def _check_size(request: Request, size: int) -> None:
    """The app's own limit. Flask's is one byte higher: at its limit it cannot tell a body that
    ends there from one that goes on, and cuts the latter off in silence."""
    if size >= (request.max_content_length or 0):
        raise RequestEntityTooLarge


def _multipart(request: Request, accepts: frozenset[str], call: Call, hint: str) -> Payload:
    if accepts.isdisjoint({"files", "csv"}):
        raise not_taken(request.mimetype, accepts, hint)
    wanted = "image" if "files" in accepts else "file"
    with ExitStack() as spools:
        uploads, others = _uploads(request, call, spools, example=EXAMPLES[wanted])
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
        return Payload("csv", data=_contents(files[0]))


def _uploads(
    request: Request, call: Call, spools: ExitStack, example: str
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
            for chunk in _pieces(request, call, FORM_PIECE):
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


def _picture(request: Request, call: Call) -> Payload:
    if request.mimetype == "application/json" or request.mimetype.startswith("text/"):
        raise not_taken(request.mimetype, frozenset({"files"}))
    with ExitStack() as spools:
        spool = spools.enter_context(_open_spool(request))
        for chunk in _pieces(request, call):
            spool.write(chunk)
        if not spool.tell():
            return Payload("files")
        spool.seek(0)
        spools.pop_all()
        return Payload("files", files=[spool])


def _open_spool(request: Request) -> BinaryIO:
    return cast(KeraportRequest, request).open_spool()


def _contents(spool: BinaryIO) -> bytes:
    """All that a spool holds, which may be a file on a slow disk."""
    return in_a_thread(spool.read)


# curl's -d says form-urlencoded whatever it sends; a JSON body is plain to see all the same.
_JSON_TYPES = frozenset({"application/json", "application/x-www-form-urlencoded", "text/plain", ""})
_CSV_TYPES = frozenset({"text/csv", "application/csv"})


def _text(request: Request, accepts: frozenset[str], call: Call, hint: str) -> Payload:
    mimetype = request.mimetype
    if mimetype in _CSV_TYPES:
        kind: Literal["csv", "json"] = "csv"
    elif mimetype in _JSON_TYPES or mimetype.endswith("+json"):
        kind = "json"
    else:
        raise not_taken(request.mimetype, accepts, hint)
    return Payload(kind, data=_whole(request, call))


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
