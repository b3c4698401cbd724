"""Requests as the fuzzer makes, sends and keeps them."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

Framing = Literal["length", "chunked", "raw"]


@dataclass(frozen=True, slots=True)
class Piece:
    """`data`, repeated `times` times. numbered: each `#` in it stands for the number of the
    repetition, so that a million different names fit into a few bytes."""

    data: bytes
    times: int = 1
    numbered: bool = False

    def bytes(self) -> bytes:
        """The piece in full."""
        if not self.numbered:
            return self.data * self.times
        return b"".join(self.data.replace(b"#", b"%d" % i) for i in range(self.times))


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request.

    body: pieces in their order. framing: how its length is announced; a `raw` request is all in
    its pieces, head included, and may be wrong. chunk: bytes of each chunk where it is `chunked`.
    origin: what made it, for the report. strict: whether every answer must be the only one and
    well-formed; what has a mutated head may be read in several ways.
    """

    target: str
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()
    body: tuple[Piece, ...] = ()
    framing: Framing = "length"
    chunk: int = 4096
    origin: str = ""
    strict: bool = True

    @property
    def path(self) -> str:
        """The address without its query."""
        return self.target.partition("?")[0]

    @property
    def content(self) -> bytes:
        """The body in full, before it is framed."""
        return b"".join(piece.bytes() for piece in self.body)

    def wire(self) -> bytes:
        """The bytes that are sent."""
        content = self.content
        if self.framing == "raw":
            return content
        lines = [f"{self.method} {self.target} HTTP/1.1"]
        if not any(name.lower() == "host" for name, _ in self.headers):
            lines.append("Host: localhost")
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.framing == "chunked":
            lines.append("Transfer-Encoding: chunked")
            content = _chunked(content, self.chunk)
        elif content or self.method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(content)}")
        return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + content

    def with_body(self, *pieces: Piece | bytes) -> Request:
        """The same with another body."""
        made = (piece if isinstance(piece, Piece) else Piece(piece) for piece in pieces)
        return replace(self, body=tuple(made))

    def with_headers(self, **headers: str) -> Request:
        """The same with these headers in place of those of the same names; `_` stands for `-`."""
        new = {name.replace("_", "-").lower(): value for name, value in headers.items()}
        kept = tuple((n, v) for n, v in self.headers if n.lower() not in new)
        return replace(self, headers=(*kept, *new.items()))


def _chunked(content: bytes, size: int) -> bytes:
    parts = [content[i : i + size] for i in range(0, len(content), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def post(target: str, content_type: str, *pieces: Piece | bytes, origin: str = "") -> Request:
    """A POST with a body of this type."""
    request = Request(target, headers=(("Content-Type", content_type),), origin=origin)
    return request.with_body(*pieces)


def post_json(target: str, value: Any, origin: str = "") -> Request:
    """A POST of a JSON value."""
    return post(target, "application/json", json.dumps(value).encode(), origin=origin)


@dataclass(frozen=True, slots=True)
class Find:
    """A request that breaks a rule, as it is kept in a file."""

    rule: str
    detail: str
    request: Request


def save(find: Find, file: Path) -> None:
    """Write a find as JSON, with text as text where it can be read."""
    request = find.request
    document = {
        "rule": find.rule,
        "detail": find.detail,
        "origin": request.origin,
        "method": request.method,
        "target": request.target,
        "headers": [list(header) for header in request.headers],
        "framing": request.framing,
        "chunk": request.chunk,
        "strict": request.strict,
        "body": [_plain(piece) for piece in request.body],
    }
    file.write_text(json.dumps(document, indent=1) + "\n")


def load(file: Path) -> Find:
    """Read what `save` wrote."""
    document = json.loads(file.read_text())
    request = Request(
        document["target"],
        document["method"],
        tuple((name, value) for name, value in document["headers"]),
        tuple(_piece(item) for item in document["body"]),
        document["framing"],
        document["chunk"],
        document["origin"],
        document["strict"],
    )
    return Find(document["rule"], document["detail"], request)


def _plain(piece: Piece) -> dict[str, Any]:
    item: dict[str, Any]
    if piece.data.isascii() and all(b >= 32 or b in b"\r\n\t" for b in piece.data):
        item = {"text": piece.data.decode()}
    else:
        item = {"base64": base64.b64encode(piece.data).decode()}
    if piece.times != 1:
        item["times"] = piece.times
    if piece.numbered:
        item["numbered"] = True
    return item


def _piece(item: dict[str, Any]) -> Piece:
    data = item["text"].encode() if "text" in item else base64.b64decode(item["base64"])
    return Piece(data, item.get("times", 1), item.get("numbered", False))
