"""Pictures in, labels out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, BinaryIO, cast

import numpy as np

from app.errors import BadRequest, CardError, Detail, InvalidInput
from app.serving.card import CARD_FILE, Card
from app.serving.cores import usable_cores
from app.serving.signature import PictureFeed, Signature
from app.serving.tasks.base import Array, Limits, Payload, Task, invalid
from app.serving.tasks.classes import Classes
from app.serving.tasks.pictures import FORMATS_TEXT, PictureSpec, UnreadablePicture, decode
from app.serving.workers import Workers

# In one request, whatever the setting says: a small picture may become a large array.
MAX_PICTURES = 1000


@cache
def _pool() -> Workers:
    """Native threads for decoding, as many as cores: Pillow releases the GIL while it works."""
    return Workers(usable_cores(), "decode")


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

    def read(self, payload: Payload) -> list[Array]:
        """Uploads."""
        if not payload.files:
            raise BadRequest(
                "no picture: send it as the body, or as the field 'image' of multipart/form-data"
            )
        count = len(payload.files)
        fields = ["image"] if count == 1 else [f"image[{i}]" for i in range(count)]
        return [self.pixels(payload.files, fields)]

    def pixels(self, files: Sequence[BinaryIO], fields: Sequence[str], hint: str = "") -> Array:
        """uint8 (files, height, width, channels). Decodes in native threads, all at once.

        fields: what problems call the pictures. Raises InvalidInput with those of all, `hint` after
        what is expected of each, or where they are too many.
        """
        most = min(MAX_PICTURES, self.limits.max_rows)
        if len(files) > most:
            setting = " (KERAPORT_MAX_ROWS)" if most < MAX_PICTURES else ""
            raise InvalidInput(
                f"{len(files)} pictures in one request: expected at most {most}{setting}"
            )
        results = _pool().map(self._decode, files)
        details = [
            Detail(field, result.problem, expected=f"{result.expected}{hint}")
            for field, result in zip(fields, results, strict=True)
            if isinstance(result, UnreadablePicture)
        ]
        if details:
            raise invalid(details)
        return cast(Array, results[0][None] if len(results) == 1 else np.stack(results))

    def _decode(self, file: BinaryIO) -> Array | UnreadablePicture:
        """An error as a value: there may be one for each picture."""
        try:
            return cast(Array, decode(file, self._spec))
        except UnreadablePicture as error:
            return error

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
