"""Pictures in, labels out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np

from app.errors import BadRequest, CardError, Detail, InvalidInput
from app.serving.call import Call
from app.serving.card import CARD_FILE, Card
from app.serving.cores import usable_cores
from app.serving.signature import PictureFeed, Signature
from app.serving.tasks.base import Array, Limits, Payload, Task, invalid
from app.serving.tasks.classes import Classes
from app.serving.tasks.pictures import (
    FORMATS_TEXT,
    MOST_BYTES,
    Effort,
    PictureSpec,
    UnreadablePicture,
    opened,
)
from app.serving.workers import Check, Workers

Files = Sequence[BinaryIO | bytes]

# In one request, whatever the setting says: a small picture may become a large array.
MAX_PICTURES = 1000


# Bytes of memory up to which pictures are decoded wherever a thread is free: a photo from a camera,
# of which a model needs an eighth.
SMALL = 16_000_000


@cache
def _pool(max_pixels: int) -> Workers:
    """Native threads for decoding, as many as cores: Pillow releases the GIL while it works. With
    room for one of the largest pictures, or for several that take less."""
    return Workers(usable_cores(), "decode", room=MOST_BYTES * max_pixels, small=SMALL)


def _stream(file: BinaryIO | bytes) -> BinaryIO:
    return BytesIO(file) if isinstance(file, bytes) else file


class ImageClassification(Task):
    """`image-classification`: one or more pictures to one answer each."""

    accepts = frozenset({"files"})

    def __init__(self, card: Card, signature: Signature, limits: Limits) -> None:
        super().__init__(card, signature, limits)
        self._classes = Classes(card, signature)
        height, width, channels = self._input_shape()
        self._spec = PictureSpec(
            size=(height, width),
            mode="RGB" if channels == 3 else "L",
            resize=card.input.resize,
            max_pixels=limits.max_pixels,
        )
        self._pool = _pool(limits.max_pixels)
        self.picture = PictureFeed((height, width, channels), card.input.scale)

    def _input_shape(self) -> tuple[int, int, int]:
        inputs = self.signature.inputs
        shape = inputs[0].shape if len(inputs) == 1 else None
        if shape is None or len(shape) != 4 or shape[3] not in (1, 3, None):
            found = ", ".join(f"{t.name} {t.shape}" for t in inputs)
            raise CardError(
                "image-classification needs a model with one input of shape (rows, height, "
                f"width, 1 or 3 channels), this one has {found}: use 'task: tensor'"
            )
        _, height, width, channels = shape
        card = self.card.input
        size = card.size or ((height, width) if height and width else None)
        if size is None:
            raise CardError(
                f"{CARD_FILE}: the model takes pictures of any size: say which with "
                "'input: {size: [height, width]}'"
            )
        if (height or size[0], width or size[1]) != tuple(size):
            raise CardError(
                f"{CARD_FILE}: input.size {list(size)} does not match the model's "
                f"[{height}, {width}]"
            )
        wanted = {"rgb": 3, "grey": 1, None: channels or 3}[card.color]
        if channels is not None and wanted != channels:
            raise CardError(
                f"{CARD_FILE}: input.color {card.color} does not match the model's "
                f"{channels} channel{'s' if channels > 1 else ''}"
            )
        if card.scale in ("caffe", "torch") and wanted != 3:
            raise CardError(f"{CARD_FILE}: input.scale {card.scale} needs 'color: rgb'")
        return size[0], size[1], wanted

    def read(self, payload: Payload, call: Call | None = None) -> list[Array]:
        """Uploads."""
        if not payload.files:
            raise BadRequest(
                "no picture: send it as the body, or as the field 'image' of multipart/form-data"
            )
        alone = len(payload.files) == 1
        return [self.pixels(payload.files, lambda i: "image" if alone else f"image[{i}]", call)]

    def pixels(
        self, files: Files, field: Callable[[int], str], call: Call | None = None, hint: str = ""
    ) -> Array:
        """uint8 (files, height, width, channels). Decodes in native threads, as many pictures at
        once as there are cores and room in memory, in turns with other requests.

        field: what problems call a picture. Raises InvalidInput with those of all, `hint` after
        what is expected of each, or where they are too many or too large together; and what ends
        `call`.
        """
        self._check_count(len(files))
        assert self.picture is not None
        pixels = np.empty((len(files), *self.picture.shape), np.uint8)

        def decode(i: int, check: Check) -> UnreadablePicture | None:
            """An error as a value: there may be one for each picture."""
            try:
                with opened(_stream(files[i]), self._spec, check) as picture:
                    pixels[i] = picture.decode()
            except UnreadablePicture as error:
                return error
            return None

        def decode_small(i: int, check: Check) -> Effort | UnreadablePicture | None:
            """One alone that needs no room is decoded where its headers are read."""
            found = self._measure(files[i], check)
            small = isinstance(found, Effort) and found.memory <= SMALL
            return decode(i, check) if small else found

        found: list[Effort | UnreadablePicture | None]
        if len(files) == 1:
            found = self._pool.map(decode_small, [0], call)
        else:
            found = [*self.measure(files, call)]
        efforts = {i: effort for i, effort in enumerate(found) if isinstance(effort, Effort)}
        costs = [effort.memory for effort in efforts.values()]
        for i, error in zip(efforts, self._pool.map(decode, [*efforts], call, costs), strict=True):
            found[i] = error
        details = [
            Detail(field(i), error.problem, expected=f"{error.expected}{hint}")
            for i, error in enumerate(found)
            if isinstance(error, UnreadablePicture)
        ]
        if details:
            raise invalid(details)
        return pixels

    def measure(self, files: Files, call: Call | None = None) -> list[Effort | UnreadablePicture]:
        """What it takes to decode each picture, by its headers. Raises InvalidInput where they are
        too many, or too large together, and what ends `call`."""
        self._check_count(len(files))
        found = self._pool.map(self._measure, files, call)
        pixels = sum(effort.pixels for effort in found if isinstance(effort, Effort))
        most = self.limits.max_request_pixels
        if pixels > most:
            times = most // self.limits.max_pixels
            raise InvalidInput(
                f"{len(files)} pictures with {pixels:,} pixels to decode in one request: expected "
                f"at most {most:,} ({times} times KERAPORT_MAX_PIXELS)"
            )
        return found

    def _measure(self, file: BinaryIO | bytes, check: Check) -> Effort | UnreadablePicture:
        try:
            with opened(_stream(file), self._spec, check) as picture:
                return picture.effort
        except UnreadablePicture as error:
            return error

    def _check_count(self, count: int) -> None:
        most = min(MAX_PICTURES, self.limits.max_rows)
        if count > most:
            setting = " (KERAPORT_MAX_ROWS)" if most < MAX_PICTURES else ""
            raise InvalidInput(f"{count} pictures in one request: expected at most {most}{setting}")

    def answer(self, outputs: Sequence[Array]) -> list[Any]:
        """`{label, probability, top}` a picture."""
        return self._classes.answer(outputs[0])

    def answer_schema(self) -> dict[str, Any]:
        """JSON Schema of one picture's answer."""
        return self._classes.schema()

    def input_schema(self) -> dict[str, Any]:
        """Formats, limits and labels."""
        height, width = self._spec.size
        return {
            "type": "picture",
            "formats": FORMATS_TEXT,
            "resized_to": [height, width],
            "resize": self._spec.resize,
            "color": "rgb" if self._spec.mode == "RGB" else "grey",
            "max_pixels": self._spec.max_pixels,
            "labels": self._classes.labels,
        }
