"""The largest requests of each kind that a server with its default settings takes, or refuses only
once it has read them."""

from __future__ import annotations

import io
import json
import zlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from PIL import Image

from tests.sounds import recording
from tests.support import CAR, ROOT

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


def save_largest_models(folder: Path) -> None:
    """A model of each kind: `mpg`, `kinds` (100 labels), `several` (three numbers a row), `wide`
    (1,000 columns), `three` and `cats-dogs` (pictures), `writer` (text), and the echoes `numbers`,
    `texts` and `pair`; `half` takes examples, `couple` two pictures and fields, `sentiment` texts,
    `stars` the ids of their words, `any-sound` recordings of any length, `sound` short ones,
    `series` rows in time order; `crowded` gives boxes, `membranes` and `streets` give masks,
    `doubled` pictures."""
    from tests.detectors import save_crowded
    from tests.drawn import save_drawn
    from tests.kinds import save_couple
    from tests.models import (
        save_echo,
        save_half_plus_two,
        save_picture_model,
        save_tabular_model,
        save_text_model,
    )
    from tests.texts import save_layout
    from tests.time_kinds import save_time_kinds

    folder.mkdir()
    for name in ("mpg", "cats-dogs"):
        (folder / name).symlink_to(ROOT / "models" / name)
    save_tabular_model(
        folder / "kinds",
        "task: tabular-classification\ntop: 10\n"
        f"labels: [{', '.join(f'label {i}' for i in range(100))}]\n"
        "fields: [{name: a}, {name: b}]\n",
        columns=2,
        units=100,
        activation="softmax",
    )
    save_tabular_model(
        folder / "several",
        "task: tabular-regression\nfields: [{name: a}, {name: b}]\n",
        columns=2,
        units=10,
    )
    save_tabular_model(folder / "wide", "task: tabular-regression\n", columns=WIDE)
    (folder / "three").mkdir()
    save_picture_model(folder / "three" / "model.keras", rescales=True)
    card = "task: image-classification\nlabels: [ant, bee, fly]\n"
    (folder / "three" / "model.yaml").write_text(card)
    save_text_model(folder / "writer")
    save_couple(folder / "couple")
    for name in ("sentiment", "stars"):
        save_layout(folder / name, name)
    save_crowded(folder / "crowded")
    save_drawn(folder, "membranes", "streets", "doubled")
    save_time_kinds(folder, ("any-sound", "sound", "series"))
    save_half_plus_two(folder / "half" / "1")
    for name, *datatypes in (("numbers", "FP32"), ("texts", "BYTES"), ("pair", "FP32", "INT32")):
        save_echo(folder / name, *datatypes)
        # Beyond the default, so that one row is as long as a body can be.
        card = "task: tensor\nruntime: {max_length: 10000000}\n"
        (folder / name / "model.yaml").write_text(card)


def largest_requests() -> list[Largest]:
    """All of them; the paths are those of `save_largest_models`."""
    return [
        *(*_native(), *_v1(), *_v2(), *_pages(), *_pictures()),
        *(*_texts(), *_sounds(), *_series(), *_drawn()),
    ]


def _native() -> list[Largest]:
    mpg = "/api/mpg"
    return [
        Largest("rows", mpg, lambda: _list(orjson.dumps(CAR), ROWS), JSON),
        Largest("rows with a problem each", mpg, lambda: _list(b'{"a":1}', ROWS), JSON),
        Largest("rows that are no objects", mpg, lambda: _list(b"0", BODY // 2), JSON),
        Largest("rows too many", mpg, lambda: _list(b"{}", BODY // 3), JSON),
        Largest("keys of one object", mpg, _keys, JSON),
        Largest("keys of one object to tensors", "/api/numbers", _keys, JSON),
        Largest("rows of 1,000 columns", "/api/wide", _wide_json, JSON),
        Largest("rows of 100 labels", "/api/kinds", lambda: _labelled_json(LABELLED_ROWS), JSON),
        Largest("too many rows of 100 labels", "/api/kinds", lambda: _labelled_json(ROWS), JSON),
        Largest("rows of 10 numbers", "/api/several", lambda: _list(b'{"a":1,"b":2}', ROWS), JSON),
        Largest("one text", mpg, lambda: b'{"weight":"%b"}' % (b"x" * (BODY - 20)), JSON),
        Largest("blanks", mpg, lambda: b" " * BODY, JSON),
        Largest("deep JSON", mpg, lambda: b"[" * BODY, JSON),
        Largest("JSON that breaks off", mpg, lambda: _list(b'"\\u00e4"', BODY // 9)[:-1], JSON),
        Largest("CSV", mpg, _csv, CSV),
        Largest("CSV of short rows", mpg, lambda: b"weight\n" + b"1\n" * (BODY // 2), CSV),
        Largest("CSV with a problem each", mpg, lambda: b"weight\n" + b"x\n" * ROWS, CSV),
        Largest("CSV of a long header", mpg, lambda: _header(20_000), CSV),
        Largest("CSV of a million columns", mpg, lambda: _header(1_000_000), CSV),
        Largest("CSV of 1,000 columns", "/api/wide", _wide_csv, CSV),
        Largest("CSV of blank lines", mpg, lambda: _blank(b"\n"), CSV),
        Largest("CSV of blanks", mpg, lambda: _blank(b" "), CSV),
        Largest("CSV of delimiters", mpg, lambda: _blank(b","), CSV),
        Largest("CSV of one cell", mpg, lambda: b'weight\n"%b"\n' % (b"x" * (BODY - 20)), CSV),
        Largest("CSV of quotes", mpg, lambda: b'weight\n"%b"\n' % (b'""' * (BODY // 2 - 20)), CSV),
        Largest("CSV of 100 labels", "/api/kinds", _labelled_csv, CSV),
        Largest("form of a CSV", mpg, lambda: _form(("file", "a.csv", _csv())), MULTIPART),
        Largest("form of 1,000 fields", mpg, _fields, MULTIPART),
        Largest("form of one field", mpg, lambda: _form(("x", None, b"x" * BODY)), MULTIPART),
        Largest(
            "form of line ends", mpg, lambda: _form(("x", "x", b"\r\n" * (BODY // 2))), MULTIPART
        ),
        Largest("tensor of rows", "/api/numbers", lambda: _list(_floats(30), ROWS), JSON),
        Largest("tensor of one row", "/api/numbers", lambda: b"[%b]" % _floats(BODY // 5), JSON),
        Largest("tensor of digits", "/api/numbers", lambda: b"[%b]" % _list(b"1", BODY // 2), JSON),
        Largest("tensor that is not even", "/api/numbers", _uneven, JSON),
        Largest(
            "tensor of wrong types", "/api/numbers", lambda: b"[%b]" % _list(b'""', BODY // 3), JSON
        ),
        Largest("texts", "/api/texts", lambda: b"[%b]" % _list(b'"ab"', BODY // 5), JSON),
        Largest("one long text", "/api/texts", lambda: b'[["%b"]]' % (b"x" * BODY), JSON),
        Largest(
            "one text of escapes", "/api/texts", lambda: b'[["%b"]]' % (b"\\n" * (BODY // 2)), JSON
        ),
        Largest("seed", "/api/writer", lambda: _seed(9_990), JSON),
        Largest("seed too long", "/api/writer", lambda: _seed(BODY), JSON),
    ]


def _v1() -> list[Largest]:
    def v1(model: str, verb: str = "predict") -> str:
        return f"/v1/models/{model}:{verb}"

    values = orjson.dumps([*CAR.values()])
    zipped = JSON | {"Content-Encoding": "gzip"}
    return [
        Largest("v1 rows", v1("mpg"), lambda: _v1_rows(values, ROWS), JSON),
        Largest("v1 numbers", v1("numbers"), lambda: _v1_rows(_floats(30), ROWS), JSON),
        Largest("v1 one row", v1("numbers"), lambda: _v1_rows(_floats(BODY // 5), 1), JSON),
        Largest("v1 NaN", v1("numbers"), lambda: _v1_rows(_list(b"NaN", BODY // 5), 1), JSON),
        Largest("v1 objects", v1("pair"), lambda: _v1_rows(_pair(10), ROWS), JSON),
        Largest("v1 objects with NaN", v1("pair"), lambda: _v1_rows(_pair(10, b"NaN"), ROWS), JSON),
        Largest("v1 objects with problems", v1("pair"), lambda: _v1_rows(b'{"a":1}', ROWS), JSON),
        Largest(
            "v1 inputs", v1("numbers"), lambda: b'{"inputs":%b}' % _list(_floats(30), ROWS), JSON
        ),
        Largest("v1 keys", v1("pair"), lambda: b'{"inputs":%b}' % _keys(), JSON),
        Largest("v1 texts", v1("texts"), lambda: _v1_rows(_list(b'"ab"', BODY // 5), 1), JSON),
        Largest(
            "v1 base64",
            v1("texts"),
            lambda: _v1_rows(_list(b'{"b64":"YQ=="}', BODY // 16), 1),
            JSON,
        ),
        Largest(
            "v1 one base64",
            v1("texts"),
            lambda: _v1_rows(b'[{"b64":"%b"}]' % (b"YWFh" * (BODY // 4 - 20)), 1),
            JSON,
        ),
        Largest("v1 pictures", v1("three"), _v1_pictures, JSON),
        Largest("v1 data URL", v1("three"), lambda: _v1_rows(b'"%b"' % _long_url(), 1), JSON),
        Largest("v1 regress", v1("half", "regress"), lambda: _examples("regress_x_to_y"), JSON),
        Largest("v1 classify", v1("half", "classify"), lambda: _examples("classify_x_to_y"), JSON),
        Largest("v1 zeros in gzip", v1("numbers"), lambda: _gzip(b" " * BODY), zipped),
        Largest("v1 too many zeros in gzip", v1("numbers"), lambda: _gzip(bytes(10**9)), zipped),
        Largest(
            "v1 gzip of empty members", v1("numbers"), lambda: _gzip(b"") * (BODY // 21), zipped
        ),
        Largest(
            "v1 numbers in gzip", v1("numbers"), lambda: _gzip(_v1_rows(_floats(30), ROWS)), zipped
        ),
    ]


def _v2() -> list[Largest]:
    def v2(model: str) -> str:
        return f"/v2/models/{model}/infer"

    count = BODY // 5
    numbers = np.linspace(0, 1, 3_900_000, dtype=np.float32)
    broken = numbers.copy()
    broken[::2] = np.nan
    return [
        Largest("v2 numbers", v2("numbers"), lambda: _v2_body(_floats(count), count), JSON),
        Largest(
            "v2 nested numbers",
            v2("numbers"),
            lambda: _v2_body(_list(_floats(30), ROWS), 30, ROWS),
            JSON,
        ),
        Largest(
            "v2 NaN", v2("numbers"), lambda: _v2_body(_list(b"NaN", BODY // 5), BODY // 5), JSON
        ),
        Largest(
            "v2 texts",
            v2("texts"),
            lambda: _v2_body(_list(b'"ab"', count), count, datatype="BYTES"),
            JSON,
        ),
        _binary("v2 binary", v2("numbers"), numbers.tobytes(), len(numbers), "FP32", binary=True),
        _binary("v2 binary to JSON", v2("numbers"), numbers.tobytes(), len(numbers), "FP32"),
        _binary(
            "v2 binary to JSON with NaN", v2("numbers"), broken.tobytes(), len(numbers), "FP32"
        ),
        _binary(
            "v2 binary to gzip", v2("numbers"), numbers.tobytes(), len(numbers), "FP32", gzip=True
        ),
        _binary("v2 empty BYTES", v2("texts"), bytes(BODY // 4 * 4), BODY // 4, "BYTES"),
        _binary(
            "v2 empty BYTES to binary",
            v2("texts"),
            bytes(BODY // 4 * 4),
            BODY // 4,
            "BYTES",
            binary=True,
        ),
        Largest(
            "v2 base64",
            v2("texts"),
            lambda: _v2_base64(_list(b'"YWFh"', count // 2), count // 2),
            JSON,
        ),
        Largest(
            "v2 one base64", v2("texts"), lambda: _v2_base64(b'["%b"]' % _long_base64(), 1), JSON
        ),
        _binary("v2 classes", v2("numbers"), numbers.tobytes(), 39, "FP32", rows=ROWS, classes=5),
        _binary(
            "v2 many classes",
            v2("numbers"),
            numbers.tobytes(),
            len(numbers),
            "FP32",
            classes=len(numbers),
        ),
        Largest("v2 index", "/v2/repository/index", lambda: _keys(), JSON),
    ]


def _pages() -> list[Largest]:
    page = MULTIPART | PAGE
    wide = "/models/wide"
    return [
        Largest("page of a CSV", "/models/mpg", lambda: _form(("file", "a.csv", _csv())), page),
        Largest(
            "download of a CSV",
            "/models/mpg?download",
            lambda: _form(("file", "a.csv", _csv())),
            page,
        ),
        Largest(
            "page of 100 labels",
            "/models/kinds",
            lambda: _form(("file", "a.csv", _labelled_csv())),
            page,
        ),
        Largest(
            "download of 100 labels",
            "/models/kinds?download",
            lambda: _form(("file", "a.csv", _labelled_csv())),
            page,
        ),
        Largest("page of 1,000 columns", wide, lambda: _form(("file", "a.csv", _wide_csv())), page),
        Largest(
            "page of problems",
            "/models/mpg",
            lambda: _form(("file", "a.csv", b"weight\n" + b"x\n" * ROWS)),
            page,
        ),
        Largest(
            "page of a row",
            wide,
            lambda: b"&".join(b"field%d=x" % i for i in range(WIDE)),
            FORM | PAGE,
        ),
        Largest(
            "page of fields",
            "/models/mpg",
            lambda: b"&".join(b"f%d=" % i for i in range(50_000)),
            FORM | PAGE,
        ),
        Largest(
            "page of a tensor",
            "/models/numbers",
            lambda: b"body=[[" + b",".join([b"1"] * 240_000) + b"]]",
            FORM | PAGE,
        ),
        Largest(
            "page of a seed",
            "/models/writer",
            lambda: b"start=own&diversity=1&words=10&seed=" + b"w1+" * 3_000,
            FORM | PAGE,
        ),
        Largest(
            "page of a form", "/models/numbers", lambda: _form(("body", None, b"[" * BODY)), page
        ),
    ]


def _pictures() -> list[Largest]:
    requests = []
    for kind, options in (
        ("jpeg", {}),
        ("png", {}),
        ("gif", {}),
        ("tiff", {"compression": "tiff_adobe_deflate"}),
        ("webp", {"lossless": True, "method": 0}),
    ):
        make = partial(_picture, kind, **options)
        requests.append(Largest(f"picture: {kind}", "/api/three", make))
    palette = partial(_picture, "png", mode="P", transparency=0)
    form = partial(_form, *[("image", "a.png", b"no picture")] * 900)
    return [
        *requests,
        Largest("picture: palette PNG", "/api/three", palette),
        Largest("picture: 1-bit BMP", "/api/three", partial(_picture, "bmp", mode="1")),
        Largest(
            "picture, explained", "/api/cats-dogs?explain=occlusion", partial(_picture, "jpeg")
        ),
        Largest("two pictures, explained", "/api/couple?explain=occlusion", _long_couple, JSON),
        Largest(
            "pictures to explain, too many",
            "/api/three?explain=occlusion",
            partial(_form, *[("image", "a.png", _small())] * 900),
            MULTIPART,
        ),
        Largest("picture for all", "/predict", partial(_picture, "jpeg")),
        Largest(
            "picture for the page",
            "/models/three",
            lambda: _form(("image", "a.jpg", _picture("jpeg"))),
            MULTIPART | PAGE,
        ),
        Largest(
            "pictures to compare",
            "/compare",
            lambda: _form(("image", "a.jpg", _picture("jpeg"))),
            MULTIPART | PAGE,
        ),
        Largest("picture: avif", "/api/three", partial(_picture, "avif", speed=10)),
        Largest("picture in JSON", "/api/three", _long_json, JSON),
        Largest("picture in JSON, wrapped", "/api/three", partial(_long_json, b"\\r\\n"), JSON),
        Largest("picture in JSON for all", "/predict", _long_json, JSON),
        Largest("pictures in JSON", "/api/three", lambda: _list(_small_json(), 900), JSON),
        Largest("pictures in JSON, too many", "/api/three", lambda: _list(b"{}", BODY // 3), JSON),
        Largest(
            "pictures in JSON with a problem each",
            "/api/three",
            lambda: _list(b'{"image":"%b"}' % (b"YWFh" * 3_900), 1000),
            JSON,
        ),
        Largest("two pictures in JSON", "/api/couple", _long_couple, JSON),
        Largest("pairs of pictures in JSON", "/api/couple", lambda: _list(_couple(), 450), JSON),
        Largest("pairs, too many", "/api/couple", lambda: _list(_couple(b"", b""), ROWS), JSON),
        Largest(
            "pairs with a problem each",
            "/api/couple",
            lambda: _list(_couple(b"YWFh" * 2_000, b"YWFh" * 1_900), 450),
            JSON,
        ),
        Largest("pairs of pictures in a form", "/api/couple", _couple_form, MULTIPART),
        Largest("keys of one object to kinds", "/api/couple", _keys, JSON),
        Largest("picture with boxes", "/api/crowded", partial(_picture, "png")),
        Largest("900 small pictures with boxes", "/api/crowded", _boxed(900, 64), MULTIPART),
        Largest("61 pictures with boxes", "/api/crowded", _boxed(61, 1024), MULTIPART),
        Largest("pictures with boxes, too many", "/api/crowded", _boxed(62, 1024), MULTIPART),
        Largest(
            "page of pictures with boxes", "/models/crowded", _boxed(20, 1024), MULTIPART | PAGE
        ),
        Largest("900 files that are no pictures", "/api/three", form, MULTIPART),
        Largest("16 MB that are no picture", "/api/three", lambda: b"x" * BODY),
        Largest(
            "900 small pictures",
            "/api/three",
            partial(_form, *[("image", "a.png", _small())] * 900),
            MULTIPART,
        ),
        Largest(
            "page of 900 small pictures",
            "/models/three",
            partial(_form, *[("image", "a.png", _small())] * 900),
            MULTIPART | PAGE,
        ),
    ]


def _texts() -> list[Largest]:
    ids, page = "/api/stars", MULTIPART | PAGE
    one = b"good+" * 2_000
    long = b'"%b"' % one.replace(b"+", b" ")
    longest = BODY // (len(long) + 1)
    count = BODY // 8
    short = _text_bytes(b"good")
    return [
        Largest("words of texts", ids, lambda: _list(b'"good film"', ROWS), JSON),
        Largest("words of the longest texts", ids, lambda: _list(long, longest), JSON),
        Largest("longest texts", "/api/sentiment", lambda: _list(long, longest), JSON),
        Largest("texts in objects", ids, lambda: _list(b'{"text":"bad"}', ROWS), JSON),
        Largest("texts without a known word", ids, lambda: _list(b'"zebra"', ROWS), JSON),
        Largest("texts too many", ids, lambda: _list(b'"a"', BODY // 4), JSON),
        Largest("text too long", ids, lambda: b'"%b"' % (b"x" * (BODY - 20)), JSON),
        Largest("CSV of texts", ids, lambda: b"ids\n" + b"good film\n" * ROWS, CSV),
        Largest("form of texts", ids, lambda: _form(*[("text", None, one)] * 999), MULTIPART),
        Largest("page of a text", "/models/stars", lambda: b"text=" + one, FORM | PAGE),
        Largest(
            "page of texts",
            "/models/stars",
            lambda: _form(("file", "a.csv", b"ids\n" + b"good film\n" * ROWS)),
            page,
        ),
        Largest(
            "v1 words of texts", "/v1/models/stars:predict", lambda: _v1_rows(b'"good"', ROWS), JSON
        ),
        Largest(
            "v1 text too long",
            "/v1/models/sentiment:predict",
            lambda: _v1_rows(b'"%b"' % (b"x " * (BODY // 2 - 20)), 1),
            JSON,
        ),
        _text_tensor("v2 words of texts", ids, short * ROWS, ROWS),
        _text_tensor("v2 texts too many", ids, short * count, count),
        _text_tensor("v2 text too long", ids, _text_bytes(b"x" * (BODY - 20)), 1),
    ]


def _drawn() -> list[Largest]:
    """Masks and pictures that come out."""
    photo = partial(_picture, "jpeg")
    form = partial(_form, *[("image", "a.png", _small())] * 900)
    return [
        Largest("mask of the largest picture", "/api/streets", photo),
        Largest("mask as a file", "/api/streets", photo, {"Accept": "image/png"}),
        Largest(
            "mask on the page",
            "/models/streets",
            lambda: _form(("image", "a.jpg", photo())),
            MULTIPART | PAGE,
        ),
        Largest("mask of a picture in its own size", "/api/membranes", partial(_grain, 1)),
        Largest("900 masks", "/api/membranes", form, MULTIPART),
        Largest("page of 900 masks", "/models/membranes", form, MULTIPART | PAGE),
        Largest("picture of 25 megabytes", "/api/doubled", partial(_grain, 3)),
        Largest(
            "picture of 25 megabytes as a file",
            "/api/doubled",
            partial(_grain, 3),
            {"Accept": "image/png"},
        ),
        Largest(
            "picture of 25 megabytes on the page",
            "/models/doubled",
            lambda: _form(("image", "a.png", _grain(3))),
            MULTIPART | PAGE,
        ),
    ]


def _sounds() -> list[Largest]:
    def small(count: int) -> bytes:
        wave = recording(np.zeros(1600), 8_000)
        return _form(*[("audio", "a.wav", wave)] * count)

    return [
        Largest("sound: WAV", "/api/any-sound", lambda: _silence("WAV", 239_999)),
        Largest("sound: WAV, too long", "/api/any-sound", lambda: _silence("WAV", BODY // 2 - 50)),
        Largest("sound: float WAV in stereo", "/api/sound", _stereo),
        Largest("sound: hours of FLAC", "/api/any-sound", lambda: _silence("FLAC", 20_000_000)),
        Largest("sound: an hour of Ogg", "/api/sound", lambda: _silence("OGG", 10_000_000)),
        Largest("sound: low rate", "/api/any-sound", lambda: _silence("WAV", 29_999, 1_000)),
        Largest("sound: 900 recordings", "/api/sound", partial(small, 900), MULTIPART),
        Largest("sound: 900 of any length", "/api/any-sound", partial(small, 900), MULTIPART),
        Largest(
            "sound: 900 that unpack to 30 s",
            "/api/any-sound",
            lambda: _form(*[("audio", "a.flac", _silence("FLAC", 239_999))] * 900),
            MULTIPART,
        ),
        Largest("sound in JSON", "/api/sound", _long_sound, JSON),
        Largest("sound in v1", "/v1/models/sound:predict", _v1_sounds, JSON),
        Largest("sound: 16 MB of none", "/api/sound", lambda: b"RIFF\0\0\0\0WAVE" + bytes(BODY)),
        Largest("sound: chunks", "/api/sound", lambda: b"RIFF\0\0\0\0WAVE" + b"a\0\0\0" * ROWS),
        Largest("sound: pages", "/api/sound", lambda: (b"OggS" + bytes(23)) * (BODY // 27)),
        Largest(
            "page of sound",
            "/models/sound",
            lambda: _form(("input0", "a.wav", _silence("WAV", BODY // 2 - 500))),
            MULTIPART | PAGE,
        ),
    ]


def _grain(channels: int) -> bytes:
    """Noise, as large as a model gets it in its own size."""
    from tests.drawn import encoded, noise

    return encoded(noise((1448, 1448), channels))


def _series() -> list[Largest]:
    path, row = "/api/series", b'{"temp":1,"wind":2}'
    return [
        Largest("series", path, lambda: _list(b"[1,2]", BODY // 6), JSON),
        Largest("series of objects", path, lambda: _list(row, BODY // 20), JSON),
        Largest("series, many", path, lambda: _list(_list(b"[1,2]", 6), ROWS), JSON),
        Largest("series, too many", path, lambda: _list(b"[[1]]", BODY // 6), JSON),
        Largest("series with a problem each", path, lambda: _list(b"[[1]]", ROWS), JSON),
        Largest("series in objects", path, lambda: _list(b'{"series":[]}', ROWS), JSON),
        Largest("series as CSV", path, lambda: b"1,2\n" * ROWS, CSV),
        Largest("series as CSV, too long", path, lambda: b"1,2\n" * (BODY // 4), CSV),
        Largest("series as CSV of many cells", path, lambda: (b"1," * 200_000 + b"\n") * 39, CSV),
        Largest("series of keys", path, _keys, JSON),
        Largest(
            "series of v1",
            "/v1/models/series:predict",
            lambda: _v1_rows(_list(b"[1,2]", 6), ROWS),
            JSON,
        ),
        Largest(
            "page of a series",
            "/models/series",
            lambda: _form(("input0_file", "a.csv", b"1,2\n" * ROWS)),
            MULTIPART | PAGE,
        ),
    ]


# --- bodies --------------------------------------------------------------------------------------


def _list(item: bytes, count: int) -> bytes:
    return b"[%b%b]" % ((item + b",") * (count - 1), item)


def _floats(count: int) -> bytes:
    return _list(b"0.25", count)


def _labelled_json(rows: int) -> bytes:
    return _list(b'{"a":1,"b":2}', rows)


def _labelled_csv() -> bytes:
    return b"a,b\n" + b"1,2\n" * LABELLED_ROWS


def _keys() -> bytes:
    return b"{%b}" % b",".join(b'"k%07d":1' % i for i in range(BODY // 13))


def _wide_json() -> bytes:
    row = orjson.dumps({f"x{i}": 1 for i in range(WIDE)})
    return _list(row, BODY // (len(row) + 1))


def _wide_csv() -> bytes:
    header = ",".join(f"x{i}" for i in range(WIDE)).encode() + b"\n"
    row = b",".join([b"1"] * WIDE) + b"\n"
    return header + row * ((BODY - len(header)) // len(row))


def _csv() -> bytes:
    header = ",".join(CAR).encode()
    row = ",".join(map(str, CAR.values())).encode()
    return header + b"\n" + (row + b"\n") * ROWS


def _header(columns: int) -> bytes:
    names = b",".join([b"weight", *(b"c%d" % i for i in range(columns))])
    return names + b"\n" + b",".join([b"1"] * (columns + 1)) + b"\n"


def _blank(line: bytes) -> bytes:
    return b"weight\n" + line * (BODY - 20) + b"\n1\n"


def _uneven() -> bytes:
    return _list(_floats(30), ROWS - 1)[:-1] + b",[1]]"


def _form(*fields: tuple[str, str | None, bytes]) -> bytes:
    """Fields as name, name of the file if it is one, and content; cut to what a body may have."""
    out = io.BytesIO()
    for name, file, content in fields:
        filename = "" if file is None else f'; filename="{file}"'
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n\r\n'
        content = content[: BODY - 200]
        out.write(head.encode() + content + b"\r\n")
    return out.getvalue() + f"--{BOUNDARY}--\r\n".encode()


def _fields() -> bytes:
    share = BODY // 1000 - 100
    return _form(
        *((f"f{i}", f"f{i}", b"x" * share) for i in range(998)), ("file", "a.csv", b"weight\n1\n")
    )


def _seed(characters: int) -> bytes:
    return orjson.dumps({"seed": ("w1 " * (characters // 3))[: characters - 20], "words": 10})


def _pair(count: int, value: bytes = b"0.5") -> bytes:
    return b'{"fp32":%b,"int32":%b}' % (_list(value, count), _list(b"1", count))


def _v1_rows(row: bytes, rows: int) -> bytes:
    return b'{"instances":%b}' % _list(row, rows)


def _long_base64() -> bytes:
    """A small picture with zeros behind it."""
    return b64encode(_small().ljust(BODY // 4 * 3 - 300, b"\0"))


def _long_url() -> bytes:
    return b"data:image/png;base64," + _long_base64()


def _long_json(wrap: bytes = b"") -> bytes:
    """One picture in JSON. wrap: a line end after every 76 characters."""
    text = b64encode(_small().ljust(BODY // 4 * 3 * 76 // (76 + len(wrap)) - 300, b"\0"))
    if wrap:
        text = wrap.join(text[at : at + 76] for at in range(0, len(text), 76))
    return b'{"image":"data:image/png;base64,%b"}' % text


def _small_json() -> bytes:
    return b'{"image":"%b"}' % b64encode(_small())


def _couple(left: bytes | None = None, right: bytes | None = None) -> bytes:
    """A row of `couple`; its pictures in base64."""
    one = b64encode(_small())
    facts = b'{"weight":40,"height":1.5}'
    pictures = (one if left is None else left, one if right is None else right)
    return b'{"left":"%b","right":"%b","facts":%b}' % (*pictures, facts)


def _long_couple() -> bytes:
    text = b64encode(_small().ljust(BODY // 8 * 3 - 300, b"\0"))
    return _couple(text, text)


def _couple_form() -> bytes:
    """Parts up to the most that a form may have."""
    row = [("left", "a.png", _small()), ("right", "b.png", _small())]
    facts = ("facts", None, b'{"weight":40,"height":1.5}')
    return _form(*[*row, facts] * 330)


def _silence(format: str, samples: int, rate: int = 8_000) -> bytes:
    return recording(np.zeros(samples, np.int16), rate, format)


def _stereo() -> bytes:
    return recording(np.zeros((BODY // 8 - 20, 2), np.float32), 44_100, subtype="FLOAT")


def _long_sound() -> bytes:
    return b'{"audio":"%b"}' % b64encode(_silence("WAV", BODY // 8 * 3 - 500))


def _v1_sounds() -> bytes:
    item = b'{"b64":"%b"}' % b64encode(_silence("WAV", 1600))
    return _v1_rows(item, min(1000, BODY // (len(item) + 1)))


def _v2_base64(data: bytes, count: int) -> bytes:
    parameters = {"content_type": "base64"}
    head = {"name": "bytes", "datatype": "BYTES", "shape": [1, count], "parameters": parameters}
    return b'{"inputs":[%b,"data":%b}]}' % (json.dumps(head)[:-1].encode(), data)


def _text_bytes(text: bytes) -> bytes:
    """A text as an element of BYTES."""
    return len(text).to_bytes(4, "little") + text


def _text_tensor(name: str, path: str, data: bytes, count: int) -> Largest:
    """Texts for the ids of `stars`, as binary data."""
    one = {"name": "ids", "datatype": "BYTES", "shape": [count]}
    head = json.dumps({"inputs": [one | {"parameters": {"binary_data_size": len(data)}}]}).encode()
    headers = {
        "Inference-Header-Content-Length": str(len(head)),
        "Content-Type": "application/octet-stream",
    }
    model = path.rpartition("/")[2]
    return Largest(name, f"/v2/models/{model}/infer", lambda: head + data, headers)


def _v1_pictures() -> bytes:
    item = b'{"b64":"%b"}' % b64encode(_small())
    return _v1_rows(item, min(1000, BODY // (len(item) + 1)))


def _examples(signature: str) -> bytes:
    return b'{"signature_name":"%b","examples":%b}' % (
        signature.encode(),
        _list(b'{"x":[1.0]}', ROWS),
    )


def _gzip(data: bytes) -> bytes:
    stream = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return stream.compress(data) + stream.flush()


def _v2_body(data: bytes, *shape: int, datatype: str = "FP32") -> bytes:
    name = datatype.lower()
    sizes = list(shape[::-1]) if len(shape) > 1 else [1, *shape]
    head = json.dumps({"name": name, "datatype": datatype, "shape": sizes})[:-1].encode()
    return b'{"inputs":[%b,"data":%b}]}' % (head, data)


def _binary(
    name: str,
    path: str,
    data: bytes,
    width: int,
    datatype: str,
    *,
    rows: int = 1,
    binary: bool = False,
    gzip: bool = False,
    classes: int = 0,
) -> Largest:
    one = {
        "name": datatype.lower(),
        "datatype": datatype,
        "shape": [rows, width],
        "parameters": {"binary_data_size": len(data)},
    }
    wanted: dict[str, Any] = {"binary_data": binary}
    if classes:
        wanted = {"classification": classes}
    out = {"name": f"same_{datatype.lower()}", "parameters": wanted}
    head = json.dumps({"inputs": [one], "outputs": [out]}).encode()
    headers = {
        "Inference-Header-Content-Length": str(len(head)),
        "Content-Type": "application/octet-stream",
        **({"Accept-Encoding": "gzip"} if gzip else {}),
    }
    return Largest(name, path, lambda: head + data, headers)


def _picture(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new(mode, (SIDE, SIDE)).save(out, kind, **options)
    return out.getvalue()


def _small(side: int = 64) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side)).save(out, "png")
    return out.getvalue()


def _boxed(count: int, side: int) -> Callable[[], bytes]:
    """Pictures that are fed in their own size."""
    return lambda: _form(*[("image", "a.png", _small(side))] * count)
