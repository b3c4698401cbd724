"""The reading of requests: bodies, uploads and deadlines."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import islice
from typing import BinaryIO, Literal
from urllib.parse import parse_qsl

from flask import Request
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge

from app.api.bodies.body import PIECE
from app.api.bodies.body_room import LEASE_KEY, BodyLease
from app.api.bodies.content_coding import CODINGS, decompress
from app.api.bodies.spools import open_spool, read_spool
from app.api.http.current import current_record
from app.api.http.disconnect import cancel_on_disconnect
from app.errors import (
    BadRequest,
    DeadlineExceeded,
    TooLarge,
    UnsupportedCoding,
    UnsupportedMediaType,
)
from app.json_body import A_FORM, without_bom
from app.serving.call import Alarm, Call
from app.serving.hub_rounds import next_round
from app.serving.large_bodies import run_large
from app.serving.models.model import Model
from app.serving.tasks.base import Part, Payload
from app.serving.tasks.files.file_kinds import files_of
from app.serving.threads import in_a_thread

# The fields of a form that hold uploads, besides those of a kind of files, and how many parts a
# form may have.
UPLOAD_FIELDS = frozenset({"image", "file"})
MAX_PARTS = 1000
# Bytes of an urlencoded form, such as a page without scripts sends.
MAX_FORM_BYTES = 500_000
# Bytes of a form that are parsed at once: if all of them are headers, it takes some milliseconds.
FORM_PIECE = 16 * 1024
# A file name in errors that show how to send an upload.
EXAMPLE = "rows.csv"


def start_call(seconds: float) -> Call:
    """Start a call of the current request, with a deadline in `seconds` from now."""
    call = Call(time.monotonic() + seconds)
    record = current_record()
    if record.traced:
        call.stages.times = {}
    record.calls.append(call)
    return call


def start_call_to(model: Model, timeout_s: float) -> Call:
    """Start a call to `model`, before any of the body is read. timeout_s: of the server.

    Raises Overloaded if the model has no room for it.
    """
    call = start_call(time_limit_s(model, timeout_s))
    model.check_room(call.remaining)
    return call


def time_limit_s(model: Model, timeout_s: float) -> float:
    """Seconds that a request to `model` may take: `timeout_s`, or less where its card says so."""
    return min(timeout_s, model.card.runtime.timeout_s)


def query_value(request: Request, name: str) -> str | None:
    """Return a query parameter. Most requests have none, and parsing that takes its time too."""
    return request.args.get(name) if request.query_string else None


def read_payload(
    request: Request,
    accepts: frozenset[str],
    call: Call,
    hint: str = "",
    names: frozenset[str] = frozenset(),
) -> Payload:
    """Read the body as a payload that a task accepts. hint: added to the error for any other type.
    names: of further fields of a form that may hold uploads.

    Raises what `read_body` raises, and BadRequest for an empty body or a malformed form.
    """
    with _within_limits(request, call):
        mimetype = request.mimetype
        if mimetype == "multipart/form-data":
            return _multipart_payload(request, accepts, call, hint, names)
        if not ("json" in accepts and _is_json(mimetype)) and files_of(accepts):
            return _file_payload(request, accepts, call)
        return _text_payload(request, accepts, call, hint)


def read_body(request: Request, call: Call) -> bytes:
    """Read the whole body and undo its Content-Encoding; the limit applies before and after.

    Raises RequestEntityTooLarge, UnsupportedCoding, BadRequest for a body that is not in its
    coding, ClientDisconnected, or DeadlineExceeded if the client is too slow.
    """
    with _within_limits(request, call):
        return _decoded_body(request, call)


def read_form(request: Request, call: Call, max_fields: int = MAX_PARTS) -> MultiDict[str, str]:
    """Read the fields of an urlencoded form; none if the body is something else.

    Raises what `read_body` raises, TooLarge above MAX_FORM_BYTES, and BadRequest for more than
    `max_fields`, a limit that Werkzeug's parser does not have.
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


def _within_limits(request: Request, call: Call) -> Alarm:
    """Check the size of the body and wait for room. Return a context that raises DeadlineExceeded
    at the deadline."""
    length = request.content_length or 0
    _check_size(request, length)
    _take_room(request, length, call)
    late = "the body did not arrive within the time allowed"
    return Alarm(call.remaining, DeadlineExceeded, late)


def _take_room(request: Request, size: int, call: Call) -> None:
    """Wait until the bodies of other requests leave room for this one. Raises Overloaded.

    size: of the body, as far as it is known.
    """
    lease: BodyLease | None = request.environ.get(LEASE_KEY)
    if lease is None:  # not our server, such as Flask's test client
        return
    if "HTTP_TRANSFER_ENCODING" in request.environ or _coding(request) is not None:
        size = request.max_content_length or 0  # what it may become
    lease.acquire(size, call.remaining)


def _decoded_body(request: Request, call: Call) -> bytes:
    coding = _coding(request)
    data = b"".join(_received(request))
    if coding is None:
        return data
    # One byte over the limit, for `_check_size` to notice.
    limit = request.max_content_length or 0
    with cancel_on_disconnect(request.environ, [call]):
        data = in_a_thread(partial(decompress, data, coding, limit, call.check))
    _check_size(request, len(data))
    return data


def _pieces(request: Request, call: Call, size: int = PIECE) -> Iterator[bytes]:
    """Yield the body in pieces of at most `size` bytes, without its Content-Encoding; others get a
    turn in between."""
    if _coding(request) is None:
        yield from _received(request, size)
        return
    data = _decoded_body(request, call)
    for start in range(0, len(data), size):
        next_round()
        yield data[start : start + size]


def _coding(request: Request) -> str | None:
    """Return the Content-Encoding, if there is one. Raises UnsupportedCoding."""
    given: str | None = request.environ.get("HTTP_CONTENT_ENCODING")
    if given is None:
        return None
    coding = given.strip().lower()
    if coding in ("", "identity"):
        return None
    if coding not in CODINGS:
        raise UnsupportedCoding(
            f"Content-Encoding {coding[:100]!r} is not supported: expected gzip or deflate", CODINGS
        )
    return coding


def _received(request: Request, size: int = PIECE) -> Iterator[bytes]:
    """Yield the body as it arrives, up to the limit. Werkzeug's stream would copy it twice."""
    stream = request.environ["wsgi.input"]
    received = 0
    while piece := stream.read(size):
        received += len(piece)
        _check_size(request, received)
        yield piece


def _check_size(request: Request, size: int) -> None:
    """Check `size` against the limit of the settings. Raises RequestEntityTooLarge.

    Flask's limit is one byte higher: Flask silently cuts longer bodies off there, and cannot tell
    them from a body of exactly that size.
    """
    if size >= (request.max_content_length or 0):
        raise RequestEntityTooLarge


def _multipart_payload(
    request: Request, accepts: frozenset[str], call: Call, hint: str, names: frozenset[str]
) -> Payload:
    kind = files_of(accepts)
    if kind is None and accepts.isdisjoint({"csv", "form"}):
        raise not_accepted(request.mimetype, accepts, hint)
    if "form" in accepts:
        return _form_payload(request, call)
    with ExitStack() as spools:
        example, fields = EXAMPLE, UPLOAD_FIELDS | names
        if kind is not None:
            example, fields = kind.example, fields | {kind.field}
        uploads, others = _uploads(request, call, spools, example, fields)
        files = [file for _, file in uploads]
        found = "nothing"
        if files:
            found = f"{len(files)} files"
        elif others:
            found = "the field " + ", ".join(map(repr, islice(others, 10)))
        if kind is not None:
            if not files:
                raise BadRequest(
                    f"no {kind.noun}: expected it as the field '{kind.field}', found {found}"
                )
            spools.pop_all()
            return Payload("files", files=files, names=[name for name, _ in uploads])
        if len(files) != 1:
            row = ""
            if not files and others and all(others.values()):
                row = "; send a row as JSON, not as fields of a form"
            raise BadRequest(f"expected one CSV as the field 'file', found {found}{row}")
        return Payload("csv", data=read_spool(files[0]))


def _form_payload(request: Request, call: Call) -> Payload:
    """Read all parts of a form."""
    found: list[tuple[MultipartSegment, BinaryIO]] = []
    with ExitStack() as spools:

        def take(part: MultipartSegment) -> BinaryIO:
            found.append((part, spools.enter_context(open_spool(request))))
            return found[-1][1]

        _read_form(request, call, take)
        parts = []
        for part, file in found:
            parts.append(Part(part.name or "", part.filename, file, file.tell()))
            file.seek(0)
        spools.pop_all()
        return Payload("form", parts=parts)


def _uploads(
    request: Request, call: Call, spools: ExitStack, example: str, fields: frozenset[str]
) -> tuple[list[tuple[str, BinaryIO]], dict[str, bool]]:
    """Read the uploads of a form in their order, each as the file's name and a spool that `spools`
    closes, and the names of the fields that were ignored, those that are not among `fields`, with
    whether each is a text.

    Raises BadRequest for a text field where an upload is expected.
    """
    uploads: list[tuple[str, BinaryIO]] = []
    others: dict[str, bool] = {}

    def take(part: MultipartSegment) -> BinaryIO | None:
        name = part.name or ""
        if name not in fields:
            others[name[:100]] = part.filename is None
        elif part.filename:
            uploads.append((part.filename, spools.enter_context(open_spool(request))))
            return uploads[-1][1]
        elif part.filename is None:  # "" is a field left empty in a browser
            raise BadRequest(
                f"the field {name!r} is text, not a file: with curl, -F {name}=@{example}"
            )
        return None

    _read_form(request, call, take)
    for _, file in uploads:
        file.seek(0)
    return uploads, others


def _read_form(
    request: Request, call: Call, take: Callable[[MultipartSegment], BinaryIO | None]
) -> None:
    """Parse a form as it arrives. take: called with each part; returns where its contents go, if
    they are wanted. Raises BadRequest for what is no form, and what `take` raises.

    Werkzeug's parser would take a third of all the time that a picture spends on the hub.
    """
    boundary = request.mimetype_params.get("boundary", "")
    taken: BinaryIO | None = None
    try:
        with PushMultipartParser(boundary, max_segment_count=MAX_PARTS) as parser:
            for chunk in _pieces(request, call, FORM_PIECE):
                for event in parser.parse(chunk):
                    if isinstance(event, MultipartSegment):
                        taken = take(event)
                    elif event is None:
                        taken = None
                    elif taken is not None:
                        taken.write(event)
    except ParserLimitReached as error:
        raise BadRequest(
            f"the form exceeds a limit of this server (at most {MAX_PARTS} parts): {error}"
        ) from None
    except MultipartError as error:
        raise BadRequest(
            f"the body is not multipart/form-data as its Content-Type says: {error}"
        ) from None


def _file_payload(request: Request, accepts: frozenset[str], call: Call) -> Payload:
    if _is_json(request.mimetype) or request.mimetype.startswith("text/"):
        raise not_accepted(request.mimetype, accepts)
    with ExitStack() as spools:
        spool = spools.enter_context(open_spool(request))
        for chunk in _pieces(request, call):
            spool.write(chunk)
        if not spool.tell():
            return Payload("files")
        spool.seek(0)
        if "json" in accepts and request.mimetype in _JSON_TYPES:
            # No picture, and no recording, begins like either of these.
            begin = without_bom(spool.read(100)).lstrip()
            if begin[:1] in (b"{", b"["):
                spool.seek(0)
                return Payload("json", data=read_spool(spool))
            kind = files_of(accepts)
            if kind is not None and begin.startswith(f"{kind.field}=".encode()):
                raise BadRequest(f"the body is no {kind.noun}: {A_FORM}")
            spool.seek(0)
        spools.pop_all()
        return Payload("files", files=[spool])


# curl's -d declares everything as form-urlencoded; JSON is recognised all the same.
_JSON_TYPES = frozenset({"application/json", "application/x-www-form-urlencoded", "text/plain", ""})
_CSV_TYPES = frozenset({"text/csv", "application/csv"})


def _text_payload(request: Request, accepts: frozenset[str], call: Call, hint: str) -> Payload:
    mimetype = request.mimetype
    if mimetype in _CSV_TYPES and ("csv" in accepts or "form" not in accepts):
        kind: Literal["csv", "json"] = "csv"
    elif mimetype in _JSON_TYPES or _is_json(mimetype):
        kind = "json"
    else:
        raise not_accepted(request.mimetype, accepts, hint)
    return Payload(kind, data=_decoded_body(request, call))


def _is_json(mimetype: str) -> bool:
    return mimetype == "application/json" or mimetype.endswith("+json")


def not_accepted(mimetype: str, accepts: frozenset[str], hint: str = "") -> UnsupportedMediaType:
    """Return the error for a body of a type that a task does not accept."""
    if (kind := files_of(accepts)) is not None:
        ways = ["as the body", f"as the field '{kind.field}' of multipart/form-data"]
        if "json" in accepts:
            ways.append(f'in JSON: {{"{kind.field}": "data:…"}}')
        return UnsupportedMediaType(
            f"this model takes {kind.noun}s, not {mimetype}: send the {kind.noun} "
            f"{', or '.join(ways)}"
        )
    taken = "application/json"
    if "csv" in accepts:
        taken += " or text/csv"
    elif "form" in accepts:
        taken += " or multipart/form-data"
    return UnsupportedMediaType(f"this model takes {taken}, not {mimetype}{hint}")


def copies(payload: Payload, count: int) -> list[Payload]:
    """Return `count` payloads that can be read at the same time. Blocks the greenlet."""
    contents = in_a_thread(lambda: [file.read() for file in payload.files])
    return [
        Payload(payload.kind, payload.data, [io.BytesIO(c) for c in contents]) for _ in range(count)
    ]
