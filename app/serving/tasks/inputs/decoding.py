"""The pictures of a request are decoded in native threads, all within the limits of one request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import BinaryIO

from app.container import usable_cores
from app.errors import Detail, InvalidInput
from app.serving.arrays import Array
from app.serving.call import Call
from app.serving.limits import Limits
from app.serving.tasks.base import PictureFile, invalid
from app.serving.tasks.pictures import (
    MOST_BYTES,
    DecodeCost,
    PictureSpec,
    UnreadablePicture,
    opened,
)
from app.serving.threads import Check, Workers

# In one request, whatever the setting says: a small picture may become a large array.
MAX_PICTURES = 1000
# Bytes of memory up to which pictures are decoded wherever a thread is free: a photo from a camera,
# of which a model needs an eighth.
SMALL = 16_000_000


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture to decode. field: how problems call it."""

    file: PictureFile
    spec: PictureSpec
    field: str


def decode_all(
    uploads: Sequence[Upload],
    pixels: Sequence[Array],
    limits: Limits,
    call: Call | None = None,
    hint: str = "",
) -> None:
    """Decode pictures, as many at once as there are cores and room in memory, in turns with other
    requests.

    pixels: where each goes, uint8 (height, width, channels) or (height, width). hint: after
    what is expected of each. Raises InvalidInput with the problems of all, or if they are too many
    or too large together; and what ends `call`.
    """
    check_count(len(uploads), limits)
    pool = _pool(limits.max_pixels)

    def decode(i: int, check: Check) -> UnreadablePicture | None:
        """An error as a value: there may be one for each picture."""
        upload = uploads[i]
        try:
            with opened(_stream(upload.file), upload.spec, check) as picture:
                pixels[i][...] = picture.decode().reshape(pixels[i].shape)
        except UnreadablePicture as error:
            return error
        return None

    def decode_small(i: int, check: Check) -> DecodeCost | UnreadablePicture | None:
        """One alone that needs no room is decoded where its headers are read."""
        found = _measure(uploads[i], check)
        small = isinstance(found, DecodeCost) and found.memory <= SMALL
        return decode(i, check) if small else found

    found: list[DecodeCost | UnreadablePicture | None]
    if len(uploads) == 1:
        found = pool.map(decode_small, [0], call)
    else:
        found = [*measure_all(uploads, limits, call)]
    measured = {i: cost for i, cost in enumerate(found) if isinstance(cost, DecodeCost)}
    costs = [cost.memory for cost in measured.values()]
    for i, error in zip(measured, pool.map(decode, [*measured], call, costs), strict=True):
        found[i] = error
    if details := unreadable(uploads, found, hint):
        raise invalid(details)


def measure_all(
    uploads: Sequence[Upload], limits: Limits, call: Call | None = None
) -> list[DecodeCost | UnreadablePicture]:
    """Measure the cost of decoding each picture, by its headers. Raises InvalidInput where they are
    too many, or too large together, and what ends `call`."""
    check_count(len(uploads), limits)
    found = _pool(limits.max_pixels).map(_measure, uploads, call)
    pixels = sum(cost.pixels for cost in found if isinstance(cost, DecodeCost))
    most = limits.max_request_pixels
    if pixels > most:
        times = most // limits.max_pixels
        raise InvalidInput(
            f"{len(uploads)} pictures with {pixels:,} pixels to decode in one request: expected "
            f"at most {most:,} ({times} times KERAPORT_MAX_PIXELS)"
        )
    return found


def unreadable(
    uploads: Sequence[Upload],
    found: Sequence[DecodeCost | UnreadablePicture | None],
    hint: str = "",
) -> list[Detail]:
    """List the problems of pictures, `hint` after what is expected of each."""
    return [
        Detail(upload.field, error.problem, expected=f"{error.expected}{hint}")
        for upload, error in zip(uploads, found, strict=True)
        if isinstance(error, UnreadablePicture)
    ]


def check_count(count: int, limits: Limits) -> None:
    """Raise InvalidInput for more pictures than a request may have."""
    most = most_pictures(limits)
    if count > most:
        setting = " (KERAPORT_MAX_ROWS)" if most < MAX_PICTURES else ""
        raise InvalidInput(f"{count} pictures in one request: expected at most {most}{setting}")


def most_pictures(limits: Limits) -> int:
    """Return the most pictures that a request may have."""
    return min(MAX_PICTURES, limits.max_rows)


@cache
def _pool(max_pixels: int) -> Workers:
    """Native threads for decoding, as many as cores: Pillow releases the GIL while it works. With
    room for one of the largest pictures, or for several that take less."""
    return Workers(usable_cores(), "decode", room=MOST_BYTES * max_pixels, small=SMALL)


def _measure(upload: Upload, check: Check) -> DecodeCost | UnreadablePicture:
    try:
        with opened(_stream(upload.file), upload.spec, check) as picture:
            return picture.cost
    except UnreadablePicture as error:
        return error


def _stream(file: PictureFile) -> BinaryIO:
    return BytesIO(file) if isinstance(file, bytes) else file
