"""What a request is, and the bodies that several kinds of requests share."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from PIL import Image

from tests.support import CAR

# The most that a server takes: KERAPORT_MAX_BODY_MB, _MAX_ROWS and _MAX_PIXELS.
BODY = 15_900_000
ROWS = 100_000
# As many rows of 100 labels as KERAPORT_MAX_ANSWER_MB allows.
LABELLED_ROWS = 42_000
SIDE = 8000
JSON = {"Content-Type": "application/json"}
CSV = {"Content-Type": "text/csv"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PAGE = {"Accept": "text/html"}
BOUNDARY = "largest"
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
WIDE = 1000


@dataclass(frozen=True)
class Largest:
    """A request with POST. body: makes its bytes."""

    name: str
    path: str
    body: Callable[[], bytes] = bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def json_list(item: bytes, count: int) -> bytes:
    return b"[%b%b]" % ((item + b",") * (count - 1), item)


def floats(count: int) -> bytes:
    return json_list(b"0.25", count)


def labelled_csv() -> bytes:
    return b"a,b\n" + b"1,2\n" * LABELLED_ROWS


def many_keys() -> bytes:
    return b"{%b}" % b",".join(b'"k%07d":1' % i for i in range(BODY // 13))


def wide_csv() -> bytes:
    header = ",".join(f"x{i}" for i in range(WIDE)).encode() + b"\n"
    row = b",".join([b"1"] * WIDE) + b"\n"
    return header + row * ((BODY - len(header)) // len(row))


def car_csv() -> bytes:
    header = ",".join(CAR).encode()
    row = ",".join(map(str, CAR.values())).encode()
    return header + b"\n" + (row + b"\n") * ROWS


def form(*fields: tuple[str, str | None, bytes]) -> bytes:
    """Fields as name, name of the file if it is one, and content; cut to what a body may have."""
    out = io.BytesIO()
    for name, file, content in fields:
        filename = "" if file is None else f'; filename="{file}"'
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n\r\n'
        content = content[: BODY - 200]
        out.write(head.encode() + content + b"\r\n")
    return out.getvalue() + f"--{BOUNDARY}--\r\n".encode()


def v1_rows(row: bytes, rows: int) -> bytes:
    return b'{"instances":%b}' % json_list(row, rows)


def small_picture(side: int = 64) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side)).save(out, "png")
    return out.getvalue()
