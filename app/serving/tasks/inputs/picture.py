"""Pictures: files, or base64 in JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from app.serving.arrays import Array
from app.serving.cards.card import Color, PictureInput
from app.serving.cards.kinds import Kind
from app.serving.limits import Limits
from app.serving.signature import Order, PictureFeed
from app.serving.tasks.files.file_kinds import PICTURES
from app.serving.tasks.files.pictures import FORMATS_TEXT, PictureSpec
from app.serving.tasks.files.thumbnails import thumbnail
from app.serving.tasks.inputs.decoding import Upload
from app.serving.tasks.inputs.files import FileInput
from app.serving.tasks.inputs.input import Parsed
from app.serving.tasks.parts import Parts, patches

# How Pillow decodes pictures of each kind. BGR becomes so in the graph.
MODES: dict[Color, Literal["RGB", "RGBA", "L"]] = {
    "rgb": "RGB",
    "bgr": "RGB",
    "rgba": "RGBA",
    "grey": "L",
}
# The longest side of pictures that are fed in their own size, unless the card has `max_length`.
MAX_SIDE = 1024
# The sides of one that stands for them.
_EXAMPLE_SIDE = 224
CHANNELS: dict[Color, int] = {"rgb": 3, "bgr": 3, "rgba": 4, "grey": 1}
COLORS: dict[int, Color] = {1: "grey", 3: "rgb", 4: "rgba"}


class Picture(FileInput):
    """One picture per row. feed: how the model is fed with it. max_side: the longest side of one
    that is fed in its own size. Raises CardError from `__init__` if card and model do not fit."""

    kind = "picture"
    has_parts = True
    accepts = frozenset({"files", "json"})
    files = PICTURES
    formats = FORMATS_TEXT
    feed: PictureFeed

    def __init__(self, kind: Kind[PictureInput], limits: Limits, max_side: int = MAX_SIDE) -> None:
        super().__init__(kind.name, kind.specs, limits)
        size, channels, self.color = _shape(kind)
        self.spec = PictureSpec(
            size=size,
            mode=MODES[self.color],
            resize=kind.card.resize,
            max_pixels=limits.max_pixels,
            max_side=max_side,
        )
        order: Order = "bgr" if self.color == "bgr" else "rgb"
        self.feed = PictureFeed((*(size or (None, None)), *channels), kind.card.scale, order)

    def uploads(self, parsed: Parsed) -> list[Upload]:
        """Return the pictures of a request for this input."""
        where = parsed.fields.get(self.name, str)
        files = parsed.files.get(self.name, ())
        return [Upload(file, self.spec, where(i)) for i, file in enumerate(files)]

    def extend_to(self, multiple: int) -> None:
        """Extend pictures in their own sizes to sides that are multiples of a number."""
        self.spec = replace(self.spec, multiple=multiple)

    def most_bytes(self, count: int) -> int:
        """Return the most bytes that `count` pictures take."""
        side = self.spec.max_side or 0
        whole = count * math.prod(_known(self.feed, side))
        if self.spec.size is not None:
            return whole
        # All of those in their own sizes together have a limit.
        return min(whole, self.spec.max_pixels * math.prod(_known(self.feed)[2:]))

    def room(self, count: int) -> Array | None:
        """Return room for the pixels of `count` pictures: uint8 (count, *shape of the feed); None
        where they are fed in their own sizes."""
        if self.spec.size is None:
            return None
        return np.empty((count, *_known(self.feed)), np.uint8)

    def stacked(self, pictures: Sequence[Array]) -> Array:
        """Return the pixels of pictures of their own sizes: as an array of one row, or as one of
        objects, for copying many takes long."""
        rows = [each.reshape(*each.shape[:2], *self.feed.shape[2:]) for each in pictures]
        if len(rows) == 1:
            return rows[0][None]
        found = np.empty(len(rows), object)
        for i, row in enumerate(rows):
            found[i] = row
        return found

    def body_schema(self) -> dict[str, Any]:
        """Formats and limits."""
        size = self.spec.size
        return {
            "type": "picture",
            "formats": FORMATS_TEXT,
            "resized_to": None if size is None else [*size],
            **({"max_side": self.spec.max_side} if size is None else {}),
            "resize": self.spec.resize,
            "color": self.color,
            "max_pixels": self.spec.max_pixels,
        }

    def about(self) -> dict[str, dict[str, Any]]:
        """The size, the colours and the scale."""
        size = self.spec.size
        about: dict[str, Any] = {"kind": self.kind, "size": "own" if size is None else [*size]}
        if size is None:
            about["max_side"] = self.spec.max_side
            if self.spec.multiple > 1:
                about["multiple"] = self.spec.multiple
        about |= {"color": self.color, "scale": self.feed.scale, "resize": self.spec.resize}
        return {self.name: about}

    def example(self) -> dict[str, Array]:
        """Return a black picture."""
        side = min(_EXAMPLE_SIDE, self.spec.max_side or _EXAMPLE_SIDE)
        return {self.specs[0].name: np.zeros((1, *_known(self.feed, side)), np.uint8)}

    def read_example(self, data: bytes) -> tuple[str, bytes | None]:
        """Decode a picture."""
        return thumbnail(data, self.spec.max_pixels)

    def parts(self, arrays: Mapping[str, Array], texts: Mapping[str, str], most: int) -> Parts:
        """Return the patches of a grid."""
        name = self.specs[0].name
        return patches(name, arrays[name], most)


def _known(feed: PictureFeed, side: int = 0) -> tuple[int, ...]:
    """Return the shape of pictures, with `side` for what is open."""
    return tuple(side if size is None else size for size in feed.shape)


def _shape(
    kind: Kind[PictureInput],
) -> tuple[tuple[int, int] | None, tuple[int, ...], Color]:
    """Return the height and width of a picture (None for its own), its channels, (n,) or () for
    (height, width), and its colours, of the card and the model together. Raises CardError."""
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
    size = _size(kind, *shape[1:3])
    if len(shape) == 3:
        _color(kind, 1)
        return size, (), "grey"
    color = _color(kind, shape[3])
    return size, (CHANNELS[color],), color


def _size(
    kind: Kind[PictureInput], height: int | None, width: int | None
) -> tuple[int, int] | None:
    place = kind.place
    if kind.card.size == "own":
        if height is not None or width is not None:
            sizes = f"{height or 'any'} x {width or 'any'}"
            raise place.wrong("size", f": own needs a model of any size, this one's is {sizes}")
        if kind.card.resize != "stretch":
            raise place.wrong(
                "resize", f" {kind.card.resize} needs a size: with 'size: own' nothing is left out"
            )
        return None
    size = kind.card.size or ((height, width) if height and width else None)
    if size is None:
        where = "input: {size: [height, width]}"
        if place.key != "input.":
            where = f"{kind.name}: {{kind: picture, size: [height, width]}}"
        raise place.stated(
            f"the model takes pictures of any size: say which with '{where}', or with 'size: own' "
            "for the size that each has"
        )
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
