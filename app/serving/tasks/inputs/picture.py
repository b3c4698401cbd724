"""Pictures: files, or base64 in JSON."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

from app.errors import BadRequest, Detail, short
from app.serving.arrays import Array
from app.serving.base64_text import decode_base64
from app.serving.cards.card import Color, PictureInput
from app.serving.cards.kinds import Kind
from app.serving.limits import Limits
from app.serving.signature import PictureFeed
from app.serving.tasks.base import Payload, PictureFile, PictureFiles
from app.serving.tasks.inputs.decoding import Upload, check_count, most_pictures
from app.serving.tasks.inputs.input import Input, Parsed, Where
from app.serving.tasks.pictures import FORMATS_TEXT, PictureSpec
from app.serving.tasks.pictures_json import read_pictures

# How Pillow decodes pictures of each kind. BGR becomes so in the graph.
MODES: dict[Color, Literal["RGB", "RGBA", "L"]] = {
    "rgb": "RGB",
    "bgr": "RGB",
    "rgba": "RGBA",
    "grey": "L",
}
CHANNELS: dict[Color, int] = {"rgb": 3, "bgr": 3, "rgba": 4, "grey": 1}
COLORS: dict[int, Color] = {1: "grey", 3: "rgb", 4: "rgba"}


class Picture(Input):
    """One picture per row. feed: how the model is fed with it. Raises CardError from `__init__` if
    card and model do not fit."""

    kind = "picture"
    accepts = frozenset({"files", "json"})
    feed: PictureFeed

    def __init__(self, kind: Kind[PictureInput], limits: Limits) -> None:
        super().__init__(kind.name, kind.specs, limits)
        shape, self.color = _shape(kind)
        self.spec = PictureSpec(
            size=(shape[0], shape[1]),
            mode=MODES[self.color],
            resize=kind.card.resize,
            max_pixels=limits.max_pixels,
        )
        self.feed = PictureFeed(shape, kind.card.scale, "bgr" if self.color == "bgr" else "rgb")

    def body(self, payload: Payload) -> Parsed:
        """Take the uploads, or pictures in JSON."""
        if payload.kind == "json":
            check = partial(check_count, limits=self.limits)
            files, fields = read_pictures(payload.data, self.limits, check, self.name)
            return self.uploaded(files, fields.__getitem__)
        if not payload.files:
            raise BadRequest(
                "no picture: send it as the body, or as the field 'image' of multipart/form-data"
            )
        alone = len(payload.files) == 1
        return self.uploaded(payload.files, lambda i: "image" if alone else f"image[{i}]")

    def uploaded(self, files: PictureFiles, where: Where) -> Parsed:
        """Take files, one per row."""
        return Parsed(files={self.name: files}, fields={self.name: where})

    def values(self, values: Sequence[Any], where: Where) -> Parsed:
        """Read base64 texts, or data URLs."""
        check_count(len(values), self.limits)
        files: list[PictureFile] = []
        details = []
        for i, value in enumerate(values):
            if not isinstance(value, str):
                details.append(Detail(where(i), "wrong type", short(value), self.expected()))
                continue
            try:
                files.append(decode_base64(value))
            except ValueError as error:
                details.append(Detail(where(i), str(error), short(value), self.expected()))
        if details:
            # Those that are left would have other places.
            return Parsed(details=details)
        return self.uploaded(files, where)

    def uploads(self, parsed: Parsed) -> list[Upload]:
        """Return the pictures of a request for this input."""
        where = parsed.fields.get(self.name, str)
        files = parsed.files.get(self.name, ())
        return [Upload(file, self.spec, where(i)) for i, file in enumerate(files)]

    def room(self, count: int) -> Array:
        """Return room for the pixels of `count` pictures: uint8 (count, *shape of the feed)."""
        return np.empty((count, *self.feed.shape), np.uint8)

    @property
    def most(self) -> int:
        """The most pictures of a request."""
        return most_pictures(self.limits)

    def body_schema(self) -> dict[str, Any]:
        """Formats and limits."""
        height, width = self.spec.size
        return {
            "type": "picture",
            "formats": FORMATS_TEXT,
            "resized_to": [height, width],
            "resize": self.spec.resize,
            "color": self.color,
            "max_pixels": self.spec.max_pixels,
        }

    def value_schema(self) -> dict[str, Any]:
        """A text."""
        return {
            "type": "string",
            "minLength": 1,
            "description": f"A picture ({FORMATS_TEXT}) in base64, or as a data URL.",
        }

    def expected(self) -> str:
        """A picture in base64."""
        return f"a picture ({FORMATS_TEXT}) in base64, or as a data URL"

    def about(self) -> dict[str, dict[str, Any]]:
        """The size, the colours and the scale."""
        about: dict[str, Any] = {"kind": self.kind, "size": [*self.spec.size], "color": self.color}
        about |= {"scale": self.feed.scale, "resize": self.spec.resize}
        return {self.name: about}

    def example(self) -> dict[str, Array]:
        """Return a black picture."""
        return {self.specs[0].name: np.zeros((1, *self.feed.shape), np.uint8)}


def _shape(kind: Kind[PictureInput]) -> tuple[tuple[int, ...], Color]:
    """Return the shape of a picture, (height, width) or (height, width, channels), and its colours,
    of the card and the model together. Raises CardError."""
    specs, place = kind.specs, kind.place
    shape = specs[0].shape if len(specs) == 1 else None
    fits = shape is not None and (
        len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3, 4, None))
    )
    if shape is None or not fits:
        found = ", ".join(f"{t.name} {t.shape}" for t in specs)
        one = "a model with one input" if place.key == "input." else "an input"
        has = "this one has" if place.key == "input." else "this is"
        raise place.problem(
            f"needs {one} of shape (rows, height, width, 1, 3 or 4 channels) or (rows, height, "
            f"width), {has} {found}"
        )
    height, width = _size(kind, *shape[1:3])
    if len(shape) == 3:
        _color(kind, 1)
        return (height, width), "grey"
    color = _color(kind, shape[3])
    return (height, width, CHANNELS[color]), color


def _size(kind: Kind[PictureInput], height: int | None, width: int | None) -> tuple[int, int]:
    place = kind.place
    size = kind.card.size or ((height, width) if height and width else None)
    if size is None:
        where = "input: {size: [height, width]}"
        if place.key != "input.":
            where = f"{kind.name}: {{kind: picture, size: [height, width]}}"
        raise place.stated(f"the model takes pictures of any size: say which with '{where}'")
    if (height or size[0], width or size[1]) != tuple(size):
        raise place.wrong("size", f" {list(size)} does not match the model's [{height}, {width}]")
    return size


def _color(kind: Kind[PictureInput], channels: int | None) -> Color:
    """Return the colours that the card says, or that the model's channels stand for."""
    card, place = kind.card, kind.place
    color = card.color or COLORS[channels or 3]
    if channels is not None and CHANNELS[color] != channels:
        raise place.wrong(
            "color",
            f" {card.color} does not match the model's {channels} "
            f"channel{'s' if channels > 1 else ''}",
        )
    if card.scale in ("caffe", "torch") and CHANNELS[color] != 3:
        raise place.wrong("scale", f" {card.scale} needs 'color: rgb'")
    if card.scale == "caffe" and color == "bgr":
        raise place.wrong(
            "scale", " caffe puts the colours into the order BGR itself: leave 'color: bgr' out"
        )
    return color
