"""Rows, tables and tensors in the native API."""

from __future__ import annotations

import orjson

from tests.largest.bodies import (
    BODY,
    CSV,
    JSON,
    LABELLED_ROWS,
    MULTIPART,
    ROWS,
    WIDE,
    Largest,
    car_csv,
    floats,
    form,
    json_list,
    labelled_csv,
    many_keys,
    wide_csv,
)
from tests.support import CAR


def native() -> list[Largest]:
    mpg = "/api/mpg"
    return [
        Largest("rows", mpg, lambda: json_list(orjson.dumps(CAR), ROWS), JSON),
        Largest("rows with a problem each", mpg, lambda: json_list(b'{"a":1}', ROWS), JSON),
        Largest("rows that are no objects", mpg, lambda: json_list(b"0", BODY // 2), JSON),
        Largest("rows too many", mpg, lambda: json_list(b"{}", BODY // 3), JSON),
        Largest("keys of one object", mpg, many_keys, JSON),
        Largest("keys of one object to tensors", "/api/numbers", many_keys, JSON),
        Largest("rows of 1,000 columns", "/api/wide", _wide_json, JSON),
        Largest("rows of 100 labels", "/api/kinds", lambda: _labelled_json(LABELLED_ROWS), JSON),
        Largest("too many rows of 100 labels", "/api/kinds", lambda: _labelled_json(ROWS), JSON),
        Largest(
            "rows of 10 numbers", "/api/several", lambda: json_list(b'{"a":1,"b":2}', ROWS), JSON
        ),
        Largest("one text", mpg, lambda: b'{"weight":"%b"}' % (b"x" * (BODY - 20)), JSON),
        Largest("blanks", mpg, lambda: b" " * BODY, JSON),
        Largest("deep JSON", mpg, lambda: b"[" * BODY, JSON),
        Largest("JSON that breaks off", mpg, lambda: json_list(b'"\\u00e4"', BODY // 9)[:-1], JSON),
        Largest("CSV", mpg, car_csv, CSV),
        Largest("CSV of short rows", mpg, lambda: b"weight\n" + b"1\n" * (BODY // 2), CSV),
        Largest("CSV with a problem each", mpg, lambda: b"weight\n" + b"x\n" * ROWS, CSV),
        Largest("CSV of a long header", mpg, lambda: _header(20_000), CSV),
        Largest("CSV of a million columns", mpg, lambda: _header(1_000_000), CSV),
        Largest("CSV of 1,000 columns", "/api/wide", wide_csv, CSV),
        Largest("CSV of blank lines", mpg, lambda: _blank(b"\n"), CSV),
        Largest("CSV of blanks", mpg, lambda: _blank(b" "), CSV),
        Largest("CSV of delimiters", mpg, lambda: _blank(b","), CSV),
        Largest("CSV of one cell", mpg, lambda: b'weight\n"%b"\n' % (b"x" * (BODY - 20)), CSV),
        Largest("CSV of quotes", mpg, lambda: b'weight\n"%b"\n' % (b'""' * (BODY // 2 - 20)), CSV),
        Largest("CSV of 100 labels", "/api/kinds", labelled_csv, CSV),
        Largest("form of a CSV", mpg, lambda: form(("file", "a.csv", car_csv())), MULTIPART),
        Largest("form of 1,000 fields", mpg, _fields, MULTIPART),
        Largest("form of one field", mpg, lambda: form(("x", None, b"x" * BODY)), MULTIPART),
        Largest(
            "form of line ends", mpg, lambda: form(("x", "x", b"\r\n" * (BODY // 2))), MULTIPART
        ),
        Largest("tensor of rows", "/api/numbers", lambda: json_list(floats(30), ROWS), JSON),
        Largest("tensor of one row", "/api/numbers", lambda: b"[%b]" % floats(BODY // 5), JSON),
        Largest(
            "tensor of digits", "/api/numbers", lambda: b"[%b]" % json_list(b"1", BODY // 2), JSON
        ),
        Largest("tensor that is not even", "/api/numbers", _uneven, JSON),
        Largest(
            "tensor of wrong types",
            "/api/numbers",
            lambda: b"[%b]" % json_list(b'""', BODY // 3),
            JSON,
        ),
        Largest("texts", "/api/texts", lambda: b"[%b]" % json_list(b'"ab"', BODY // 5), JSON),
        Largest("one long text", "/api/texts", lambda: b'[["%b"]]' % (b"x" * BODY), JSON),
        Largest(
            "one text of escapes", "/api/texts", lambda: b'[["%b"]]' % (b"\\n" * (BODY // 2)), JSON
        ),
        Largest("seed", "/api/writer", lambda: _seed(9_990), JSON),
        Largest("seed too long", "/api/writer", lambda: _seed(BODY), JSON),
    ]


def _labelled_json(rows: int) -> bytes:
    return json_list(b'{"a":1,"b":2}', rows)


def _wide_json() -> bytes:
    row = orjson.dumps({f"x{i}": 1 for i in range(WIDE)})
    return json_list(row, BODY // (len(row) + 1))


def _header(columns: int) -> bytes:
    names = b",".join([b"weight", *(b"c%d" % i for i in range(columns))])
    return names + b"\n" + b",".join([b"1"] * (columns + 1)) + b"\n"


def _blank(line: bytes) -> bytes:
    return b"weight\n" + line * (BODY - 20) + b"\n1\n"


def _uneven() -> bytes:
    return json_list(floats(30), ROWS - 1)[:-1] + b",[1]]"


def _fields() -> bytes:
    share = BODY // 1000 - 100
    return form(
        *((f"f{i}", f"f{i}", b"x" * share) for i in range(998)), ("file", "a.csv", b"weight\n1\n")
    )


def _seed(characters: int) -> bytes:
    return orjson.dumps({"seed": ("w1 " * (characters // 3))[: characters - 20], "words": 10})
