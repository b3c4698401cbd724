"""The same question in every form, which must have the same answer."""

from __future__ import annotations

import csv
import io
import json
import random
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.fuzz.connection import Answer
from tests.fuzz.folder import COLUMNS
from tests.fuzz.oracle import close
from tests.fuzz.pictures import lossless
from tests.fuzz.request import Request, post, post_json
from tests.fuzz.seeds import (
    b64,
    form,
    in_json,
    part,
    table,
    v2_base64,
    v2_binary,
    v2_bytes,
)

Read = Callable[[Answer], Any]


@dataclass(frozen=True, slots=True)
class Form:
    """One way to ask. read: takes the numbers out of its answer."""

    name: str
    request: Request
    read: Read


def disagreements(answered: list[tuple[Form, Answer]], truth: list[float] | None) -> list[str]:
    """The forms whose answers are not those of the first, or of `truth`."""
    wrong = []
    for form_, answer in answered:
        try:
            found = form_.read(answer)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            wrong.append(f"{form_.name}: {error!r} in {answer.status} {answer.body[:200]!r}")
            continue
        truth = found if truth is None else truth
        if not close(found, truth):
            wrong.append(f"{form_.name}: {str(found)[:200]} is not {str(truth)[:200]}")
    return wrong


def rows(rng: random.Random, inputs: Mapping[str, str]) -> tuple[list[Form], list[float]]:
    """Random rows of numbers in every form that takes them, and the right answers."""
    count = rng.choice((1, 1, 2, 7, 40))
    table_ = [{name: _number(rng) for name in COLUMNS} for _ in range(count)]
    lists = [list(row.values()) for row in table_]
    flat = [value for row in lists for value in row]
    name = inputs["sums"]
    end = rng.choice(("\n", "\r\n", "\r"))
    tensor = {"name": name, "datatype": "FP32", "shape": [count, len(COLUMNS)]}
    nested = [tensor | {"data": lists}]
    v1, v2 = "/v1/models/sums:predict", "/v2/models/sums/infer"
    packed = struct.pack(f"<{len(flat)}f", *flat)
    objects = [dict(reversed(row.items())) for row in table_]
    forms = [
        Form("JSON list", post_json("/api/sums", table_), _native),
        Form("keys in another order", post_json("/api/sums", objects), _native),
        *(
            Form(
                f"CSV with {delimiter!r} and {end!r}",
                post("/api/sums", "text/csv", table(table_, delimiter, end)),
                _native,
            )
            for delimiter in ",;\t"
        ),
        Form("CSV in a form", form("/api/sums", part("file", table(table_), "a.csv")), _native),
        Form("v1 instances", post_json(v1, {"instances": lists}), _predictions),
        Form("v1 inputs", post_json(v1, {"inputs": lists}), _outputs),
        Form("v1 inputs by name", post_json(v1, {"inputs": {name: lists}}), _outputs),
        Form("v2 JSON", post_json(v2, {"inputs": [tensor | {"data": flat}]}), _v2),
        Form("v2 nested JSON", post_json(v2, {"inputs": nested}), _v2),
        Form("v2 binary", v2_binary("sums", name, "FP32", [count, len(COLUMNS)], packed), _v2),
        Form("page", form("/models/sums?download", part("file", table(table_), "a.csv")), _page),
    ]
    if count == 1:
        forms.append(Form("JSON object", post_json("/api/sums", table_[0]), _native))
    return forms, [sum(row) for row in lists]


def pictures(rng: random.Random, inputs: Mapping[str, str]) -> tuple[list[Form], None]:
    """A random picture in formats that lose nothing, sent in every way."""
    forms = []
    for kind, data in lossless(rng.randrange(10**6)).items():
        v2 = v2_binary("three", inputs["three"], "BYTES", [1], v2_bytes([data]))
        ways = [
            Form(f"{kind} as body", post("/api/three", "image/png", data), _shares),
            Form(f"{kind} in a form", form("/api/three", part("image", data, "a")), _shares),
            Form(
                f"{kind} as v1 b64",
                post_json("/v1/models/three:predict", {"instances": [b64(data)]}),
                lambda answer: _parsed(answer)["predictions"][0],
            ),
            Form(f"{kind} as v2 BYTES", v2, _v2),
            Form(f"{kind} as a data URL", post_json("/api/three", in_json(data)), _shares),
            Form(
                f"{kind} as web-safe base64",
                post_json("/api/three", [in_json(data, url=False)]),
                _shares,
            ),
            Form(
                f"{kind} as a data URL in v1",
                post_json("/v1/models/three:predict", {"instances": [in_json(data)["image"]]}),
                lambda answer: _parsed(answer)["predictions"][0],
            ),
            Form(f"{kind} as v2 base64", v2_base64("three", inputs["three"], [data]), _v2),
        ]
        forms += [rng.choice(ways)] if kind != "PNG" else ways
    return forms, None


def _number(rng: random.Random) -> float:
    # Floats of 32 bits that text keeps: sums are exact to seven digits.
    return rng.choice((0, 1, -1, 0.5, 1000, rng.randrange(-999, 999), rng.randrange(-99, 99) / 8))


def _parsed(answer: Answer) -> Any:
    return json.loads(answer.body)


def _native(answer: Answer) -> list[float]:
    return [row["sum"] for row in _parsed(answer)["predictions"]]


def _predictions(answer: Answer) -> list[float]:
    return [value for (value,) in _parsed(answer)["predictions"]]


def _outputs(answer: Answer) -> list[float]:
    return [value for (value,) in _parsed(answer)["outputs"]]


def _v2(answer: Answer) -> list[float]:
    data: list[float] = _parsed(answer)["outputs"][0]["data"]
    return data


def _page(answer: Answer) -> list[float]:
    return [float(row["sum"]) for row in csv.DictReader(io.StringIO(answer.body.decode()))]


def _shares(answer: Answer) -> list[float]:
    (prediction,) = _parsed(answer)["predictions"]
    shares = {top["label"]: top["probability"] for top in prediction["top"]}
    return [shares[label] for label in sorted(shares)]
