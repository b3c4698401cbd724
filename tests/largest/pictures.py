"""Pictures, and what comes out of them."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Callable
from functools import partial
from typing import Any

from PIL import Image

from tests.largest.bodies import (
    BODY,
    JSON,
    MULTIPART,
    PAGE,
    ROWS,
    SIDE,
    Largest,
    form,
    json_list,
    many_keys,
    small_picture,
)


def pictures() -> list[Largest]:
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
    no_pictures = partial(form, *[("image", "a.png", b"no picture")] * 900)
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
            partial(form, *[("image", "a.png", small_picture())] * 900),
            MULTIPART,
        ),
        Largest("picture for all", "/predict", partial(_picture, "jpeg")),
        Largest(
            "picture for the page",
            "/models/three",
            lambda: form(("image", "a.jpg", _picture("jpeg"))),
            MULTIPART | PAGE,
        ),
        Largest(
            "pictures to compare",
            "/compare",
            lambda: form(("image", "a.jpg", _picture("jpeg"))),
            MULTIPART | PAGE,
        ),
        Largest("picture: avif", "/api/three", partial(_picture, "avif", speed=10)),
        Largest("picture in JSON", "/api/three", _long_json, JSON),
        Largest("picture in JSON, wrapped", "/api/three", partial(_long_json, b"\\r\\n"), JSON),
        Largest("picture in JSON for all", "/predict", _long_json, JSON),
        Largest("pictures in JSON", "/api/three", lambda: json_list(_small_json(), 900), JSON),
        Largest(
            "pictures in JSON, too many", "/api/three", lambda: json_list(b"{}", BODY // 3), JSON
        ),
        Largest(
            "pictures in JSON with a problem each",
            "/api/three",
            lambda: json_list(b'{"image":"%b"}' % (b"YWFh" * 3_900), 1000),
            JSON,
        ),
        Largest("two pictures in JSON", "/api/couple", _long_couple, JSON),
        Largest(
            "pairs of pictures in JSON", "/api/couple", lambda: json_list(_couple(), 450), JSON
        ),
        Largest("pairs, too many", "/api/couple", lambda: json_list(_couple(b"", b""), ROWS), JSON),
        Largest(
            "pairs with a problem each",
            "/api/couple",
            lambda: json_list(_couple(b"YWFh" * 2_000, b"YWFh" * 1_900), 450),
            JSON,
        ),
        Largest("pairs of pictures in a form", "/api/couple", _couple_form, MULTIPART),
        Largest("keys of one object to kinds", "/api/couple", many_keys, JSON),
        Largest("picture with boxes", "/api/crowded", partial(_picture, "png")),
        Largest("900 small pictures with boxes", "/api/crowded", _boxed(900, 64), MULTIPART),
        Largest("61 pictures with boxes", "/api/crowded", _boxed(61, 1024), MULTIPART),
        Largest("pictures with boxes, too many", "/api/crowded", _boxed(62, 1024), MULTIPART),
        Largest(
            "page of pictures with boxes", "/models/crowded", _boxed(20, 1024), MULTIPART | PAGE
        ),
        Largest("900 files that are no pictures", "/api/three", no_pictures, MULTIPART),
        Largest("16 MB that are no picture", "/api/three", lambda: b"x" * BODY),
        Largest(
            "900 small pictures",
            "/api/three",
            partial(form, *[("image", "a.png", small_picture())] * 900),
            MULTIPART,
        ),
        Largest(
            "page of 900 small pictures",
            "/models/three",
            partial(form, *[("image", "a.png", small_picture())] * 900),
            MULTIPART | PAGE,
        ),
    ]


def drawn() -> list[Largest]:
    """Masks and pictures that come out."""
    photo = partial(_picture, "jpeg")
    many = partial(form, *[("image", "a.png", small_picture())] * 900)
    return [
        Largest("mask of the largest picture", "/api/streets", photo),
        Largest("mask as a file", "/api/streets", photo, {"Accept": "image/png"}),
        Largest(
            "mask on the page",
            "/models/streets",
            lambda: form(("image", "a.jpg", photo())),
            MULTIPART | PAGE,
        ),
        Largest("mask of 32x32", "/api/membranes", partial(_grain, 1, 32)),
        Largest("mask of 1024x1024", "/api/membranes", partial(_grain, 1, 1024)),
        Largest("mask of a picture in its own size", "/api/membranes", partial(_grain, 1)),
        Largest("900 masks", "/api/membranes", many, MULTIPART),
        Largest("page of 900 masks", "/models/membranes", many, MULTIPART | PAGE),
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
            lambda: form(("image", "a.png", _grain(3))),
            MULTIPART | PAGE,
        ),
    ]


def _grain(channels: int, side: int = 1448) -> bytes:
    """Noise; by default as large as a model gets it in its own size."""
    from tests.drawn import encoded, noise

    return encoded(noise((side, side), channels))


def _long_json(wrap: bytes = b"") -> bytes:
    """One picture in JSON. wrap: a line end after every 76 characters."""
    text = b64encode(small_picture().ljust(BODY // 4 * 3 * 76 // (76 + len(wrap)) - 300, b"\0"))
    if wrap:
        text = wrap.join(text[at : at + 76] for at in range(0, len(text), 76))
    return b'{"image":"data:image/png;base64,%b"}' % text


def _small_json() -> bytes:
    return b'{"image":"%b"}' % b64encode(small_picture())


def _couple(left: bytes | None = None, right: bytes | None = None) -> bytes:
    """A row of `couple`; its pictures in base64."""
    one = b64encode(small_picture())
    facts = b'{"weight":40,"height":1.5}'
    pictures = (one if left is None else left, one if right is None else right)
    return b'{"left":"%b","right":"%b","facts":%b}' % (*pictures, facts)


def _long_couple() -> bytes:
    text = b64encode(small_picture().ljust(BODY // 8 * 3 - 300, b"\0"))
    return _couple(text, text)


def _couple_form() -> bytes:
    """Parts up to the most that a form may have."""
    row = [("left", "a.png", small_picture()), ("right", "b.png", small_picture())]
    facts = ("facts", None, b'{"weight":40,"height":1.5}')
    return form(*[*row, facts] * 330)


def _picture(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new(mode, (SIDE, SIDE)).save(out, kind, **options)
    return out.getvalue()


def _boxed(count: int, side: int) -> Callable[[], bytes]:
    """Pictures that are fed in their own size."""
    return lambda: form(*[("image", "a.png", small_picture(side))] * count)
