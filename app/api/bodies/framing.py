"""Framing of HTTP/1.1 messages: where a request begins, how long its body is, where it ends.

Follows RFC 9112, strictly where the RFC leaves a choice: two readers of one connection (this server
and a proxy in front of it) must never see different requests in the same bytes. Ambiguous requests
are refused, and the connection closes. Everything here works on the bytes as received.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote

# Bytes of a request line, bytes of all header lines together, and the number of header lines.
MAX_REQUEST_LINE = 8 * 1024
MAX_HEADER_BYTES = 64 * 1024
MAX_HEADERS = 100
# Bytes of all chunk extensions in a body, and of its trailers.
MAX_EXTENSION_BYTES = 16 * 1024
MAX_TRAILER_BYTES = 16 * 1024
# Digits of a length, so that it fits in 64 bits, as other readers of the number need.
_MAX_DIGITS = 18

# RFC 9110, section 5.6.2.
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# RFC 9112, section 3. Bytes above ASCII are not allowed there, but harmless and common.
_REQUEST_LINE = re.compile(rb"(%b) ([!-~\x80-\xff]+) HTTP/([0-9])\.([0-9])\r\n" % _TOKEN)
# RFC 9112, section 5, with the values of RFC 9110, section 5.5.
_FIELD = re.compile(rb"(%b):([\t -~\x80-\xff]*)\r\n" % _TOKEN)
# RFC 9112, section 7.1.
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t -~\x80-\xff]*)?\r\n")
# RFC 3986, section 3.2, without user information.
_AUTHORITY = re.compile(
    r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]{0,5})?", re.ASCII
)
_ABSOLUTE = re.compile(r"https?://([^/?]*)(.*)", re.ASCII | re.IGNORECASE)
_LENGTH = re.compile(r"[0-9]+", re.ASCII)

Readline = Callable[[int], bytes]


class FramingError(Exception):
    """A request that cannot be read; the connection cannot be used afterwards.

    status: of the answer. problem: what is wrong, without the client's text. quoted: the client's
    text, if it helps. path: of the request, as far as it could be read.
    """

    def __init__(
        self, status: int, problem: str, quoted: bytes | str = b"", path: str = ""
    ) -> None:
        super().__init__(problem)
        self.status = status
        self.problem = problem
        self.quoted = quoted if isinstance(quoted, str) else quoted.decode("latin-1")
        self.path = path


@dataclass(slots=True)
class Request:
    """A request without its body.

    target: path and query as they were sent. path: percent-decoded as latin-1, as WSGI requires;
    "*" for the server as a whole. host: the authority that the request is for; None if an HTTP/1.0
    client names none. fields: values by name in lower case. length: bytes of the body; None for
    chunks.
    """

    method: str
    target: str
    version: str
    path: str
    query: str
    host: str | None
    fields: dict[str, str] = field(default_factory=dict)
    length: int | None = 0
    keep_alive: bool = True
    expects_continue: bool = False


def read_request_line(readline: Readline) -> Request | None:
    """Read a request line; None if the connection ends before one. Raises FramingError."""
    line = readline(MAX_REQUEST_LINE + 1)
    if line == b"\r\n":  # RFC 9112, section 2.2: some old clients send it after a body
        line = readline(MAX_REQUEST_LINE + 1)
    if not line:
        return None
    if len(line) > MAX_REQUEST_LINE:
        raise FramingError(414, "the address is longer than 8 kB", path=_path_in(line))
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise FramingError(400, "the request line is malformed", line[:100], _path_in(line))
    method, target = found[1].decode(), found[2].decode("latin-1")
    if found[3] != b"1":
        raise FramingError(505, "the version is not HTTP/1.1 or HTTP/1.0", path=_path_in(line))
    host, resource = None, target
    if absolute := _ABSOLUTE.fullmatch(target):  # RFC 9112, section 3.2.2
        host, resource = absolute[1], absolute[2]
        resource = resource if resource.startswith("/") else f"/{resource}"
        if not host or not _AUTHORITY.fullmatch(host):
            raise FramingError(400, "the address names no host", target[:100], resource)
    elif not target.startswith("/") and (target, method) != ("*", "OPTIONS"):
        raise FramingError(
            400, "the address is neither a path nor an http:// address", target[:100]
        )
    path, _, query = resource.partition("?")
    version = "HTTP/1.0" if found[4] == b"0" else "HTTP/1.1"
    return Request(method, resource, version, unquote(path, "latin-1"), query, host)


def read_fields(readline: Readline, request: Request) -> None:
    """Read the header lines of `request` into it. Raises FramingError."""
    try:
        named = _named(_read_fields(readline, MAX_HEADER_BYTES))
        request.length = _body_length(named, request.version)
        request.host = _host(named, request)
    except EOFError:
        problem = "the connection ends before the headers do"
        raise FramingError(400, problem, path=request.path) from None
    except FramingError as error:
        error.path = request.path
        raise
    request.fields = {
        name: ("; " if name == "cookie" else ",").join(values) for name, values in named.items()
    }
    if request.host is not None:
        request.fields["host"] = request.host
    old = request.version == "HTTP/1.0"
    options = {option.strip() for option in request.fields.get("connection", "").lower().split(",")}
    request.keep_alive = "close" not in options and (not old or "keep-alive" in options)
    expected = request.fields.get("expect", "").lower()
    if expected and not old:  # RFC 9110, section 10.1.1
        if expected != "100-continue":
            raise FramingError(
                417, "the expectation is not 100-continue", expected[:100], request.path
            )
        request.expects_continue = request.length != 0


def chunk_size(line: bytes) -> int:
    """Return the size in a line that begins a chunk, its end included. Raises FramingError."""
    found = _CHUNK.fullmatch(line)
    if found is None:
        raise FramingError(400, "the size of a chunk is malformed", line[:100])
    return int(found[1], 16)


def read_trailers(readline: Readline) -> None:
    """Read and ignore the trailers after the last chunk. Raises FramingError, EOFError."""
    _read_fields(readline, MAX_TRAILER_BYTES)


def _read_fields(readline: Readline, limit: int) -> list[tuple[str, str]]:
    """Read fields up to and including the empty line after them: names in lower case, and values.

    Raises EOFError if the input ends first.
    """
    fields: list[tuple[str, str]] = []
    left = limit
    while (line := readline(left + 1)) != b"\r\n":
        left -= len(line)
        if left >= 0 and not line.endswith(b"\n"):
            raise EOFError
        if left < 0 or len(fields) == MAX_HEADERS:
            raise FramingError(
                431,
                f"there are more than {MAX_HEADERS} headers, or they are larger than "
                f"{limit // 1024} kB",
            )
        found = _FIELD.fullmatch(line)
        if found is None:
            raise FramingError(400, _problem(line), line[:100])
        value = found[2].strip(b" \t").decode("latin-1")
        fields.append((found[1].decode().lower(), value))
    return fields


def _problem(line: bytes) -> str:
    """Describe what is wrong with a header line."""
    if line[:1] in b" \t":  # RFC 9112, section 5.2
        return "a header is folded over several lines"
    if not line.endswith(b"\r\n"):
        return "a header ends in LF alone, not in CRLF"
    name, colon, _ = line.partition(b":")
    if not colon:
        return "a header has no colon"
    if not re.fullmatch(_TOKEN, name):
        return "the name of a header is malformed"
    return "a header holds a control character"


def _named(fields: list[tuple[str, str]]) -> dict[str, list[str]]:
    named: dict[str, list[str]] = {}
    for name, value in fields:
        named.setdefault(name, []).append(value)
    return named


def _body_length(named: dict[str, list[str]], version: str) -> int | None:
    """Return the length of the body, None for chunks (RFC 9112, sections 6.1 to 6.3)."""
    codings, lengths = named.get("transfer-encoding"), named.get("content-length")
    if codings is not None:
        if lengths is not None:
            raise FramingError(400, "both Transfer-Encoding and Content-Length are given")
        if version == "HTTP/1.0":
            raise FramingError(400, "HTTP/1.0 has no Transfer-Encoding")
        if len(codings) > 1:
            raise FramingError(400, "Transfer-Encoding is given more than once")
        if codings[0].lower() != "chunked":
            raise FramingError(400, "the Transfer-Encoding is not chunked alone", codings[0][:100])
        return None
    if lengths is None:
        return 0
    if len(lengths) > 1:
        raise FramingError(400, "Content-Length is given more than once")
    if not _LENGTH.fullmatch(lengths[0]) or len(lengths[0]) > _MAX_DIGITS:
        raise FramingError(400, "the Content-Length is not a whole number", lengths[0][:100])
    return int(lengths[0])


def _host(named: dict[str, list[str]], request: Request) -> str | None:
    """Return the host that the request is for (RFC 9112, section 3.2)."""
    hosts = named.get("host", [])
    if len(hosts) > 1:
        raise FramingError(400, "Host is given more than once")
    if not hosts:
        if request.version != "HTTP/1.0":
            raise FramingError(400, "the header Host is missing")
        return request.host
    if not _AUTHORITY.fullmatch(hosts[0]):
        raise FramingError(400, "the Host is malformed", hosts[0][:100])
    return hosts[0] if request.host is None else request.host


def _path_in(line: bytes) -> str:
    """Return the path in a malformed or truncated request line, empty if there is none."""
    words = line.decode("latin-1").split(None, 2)
    target = words[1] if len(words) > 1 else ""
    absolute = _ABSOLUTE.fullmatch(target)
    return (absolute[2] if absolute else target).partition("?")[0]
