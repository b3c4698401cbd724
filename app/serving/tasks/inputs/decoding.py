"""The pictures of a request are decoded in native threads, all within the limits of one request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import BinaryIO, Protocol

from app.errors import Detail, InvalidInput, LimitedInput
from app.resources.container import own_cores
from app.serving.arrays import Array
from app.serving.call import Call
from app.serving.limits import Limits
from app.serving.tasks.base import File, invalid
from app.serving.tasks.files.file_kinds import UnreadableFile
from app.serving.tasks.files.pictures import (
    MOST_BYTES,
    DecodeCost,
    PictureSpec,
    UnreadablePicture,
    opened,
)
from app.serving.tasks.files.placement import Placement
from app.serving.threads import Check, Workers

# In one request, whatever the setting says: a small file may become a large array.
MAX_FILES = 1000
# Bytes of memory up to which pictures are decoded wherever a thread is free: a photo from a camera,
# of which a model needs an eighth.
SMALL = 16_000_000


class HasField(Protocol):
    """A file of a request. field: how problems call it."""

    @property
    def field(self) -> str:
        """The name."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture to decode. field: how problems call it."""

    file: File
    spec: PictureSpec
    field: str


@dataclass(frozen=True, slots=True)
class DecodedPicture:
    """The pixels of a picture, and where it lies in them."""

    pixels: Array
    placement: Placement


def decode_all(
    uploads: Sequence[Upload],
    pixels: Sequence[Array | None],
    limits: Limits,
    call: Call | None = None,
    hint: str = "",
) -> list[DecodedPicture]:
    """Decode pictures, as many at once as there are cores and room in memory, in turns with other
    requests.

    pixels: where each goes, uint8 (height, width, channels) or (height, width); None for an array
    of its own. hint: after what is expected of each. Raises InvalidInput with the problems of all,
    or if they are too many or too large together; and what ends `call`.
    """
    check_count(len(uploads), limits)
    pool = workers(limits)

    def decode(i: int, check: Check) -> DecodedPicture | UnreadablePicture:
        """An error as a value: there may be one for each picture."""
        upload, room = uploads[i], pixels[i]
        try:
            with opened(stream_of(upload.file), upload.spec, check) as picture:
                found = picture.decode()
                if room is None:
                    return DecodedPicture(found, picture.placement)
                room[...] = found.reshape(room.shape)
                return DecodedPicture(room, picture.placement)
        except UnreadablePicture as error:
            return error

    def decode_small(i: int, check: Check) -> DecodeCost | DecodedPicture | UnreadablePicture:
        """One alone that needs no room is decoded where its headers are read."""
        found = _measure(uploads[i], check)
        small = isinstance(found, DecodeCost) and found.memory <= SMALL
        return decode(i, check) if small else found

    found: list[DecodeCost | DecodedPicture | UnreadablePicture]
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
    return [each for each in found if isinstance(each, DecodedPicture)]


def measure_all(
    uploads: Sequence[Upload], limits: Limits, call: Call | None = None
) -> list[DecodeCost | UnreadablePicture]:
    """Measure the cost of decoding each picture, by its headers. Raises InvalidInput where they are
    too many, or too large together, and what ends `call`."""
    check_count(len(uploads), limits)
    found = workers(limits).map(_measure, uploads, call)
    pixels = sum(cost.pixels for cost in found if isinstance(cost, DecodeCost))
    most = limits.max_request_pixels
    if pixels > most:
        times = most // limits.max_pixels
        raise LimitedInput(
            f"{len(uploads)} pictures with {pixels:,} pixels to decode in one request: expected "
            f"at most {most:,} ({times} times KERAPORT_MAX_PIXELS)"
        )
    # Those of their own size take as much memory as they say.
    fed = sum(
        cost.fed
        for upload, cost in zip(uploads, found, strict=True)
        if isinstance(cost, DecodeCost) and upload.spec.size is None
    )
    if fed > limits.max_pixels:
        raise LimitedInput(
            f"{len(uploads)} pictures of {fed:,} pixels for the model in one request: expected at "
            f"most {limits.max_pixels:,} (KERAPORT_MAX_PIXELS)"
        )
    return found


def unreadable(
    uploads: Sequence[HasField], found: Sequence[object], hint: str = ""
) -> list[Detail]:
    """List the problems of files, `hint` after what is expected of each. found: the error of each
    that cannot be read, anything else for the others."""
    return [
        Detail(upload.field, error.problem, expected=f"{error.expected}{hint}")
        for upload, error in zip(uploads, found, strict=True)
        if isinstance(error, UnreadableFile)
    ]


def check_count(count: int, limits: Limits, noun: str = "picture") -> None:
    """Raise InvalidInput for more files than a request may have. noun: what one is called."""
    most = most_files(limits)
    if count > most:
        problem = f"{count} {noun}s in one request: expected at most {most}"
        if most < MAX_FILES:
            raise LimitedInput(f"{problem} (KERAPORT_MAX_ROWS)")
        raise InvalidInput(problem)


def most_files(limits: Limits) -> int:
    """Return the most pictures, or recordings, that a request may have."""
    return min(MAX_FILES, limits.max_rows)


def workers(limits: Limits) -> Workers:
    """Return the native threads for decoding, as many as cores: Pillow and libsndfile release the
    GIL while they work. With room for one of the largest pictures, or for several that take
    less."""
    return _pool(limits.max_pixels)


@cache
def _pool(max_pixels: int) -> Workers:
    return Workers(own_cores(), "decode", room=MOST_BYTES * max_pixels, small=SMALL)


def _measure(upload: Upload, check: Check) -> DecodeCost | UnreadablePicture:
    try:
        with opened(stream_of(upload.file), upload.spec, check) as picture:
            return picture.cost
    except UnreadablePicture as error:
        return error


def stream_of(file: File) -> BinaryIO:
    """Return a file that can be read, from its beginning where it is bytes."""
    return BytesIO(file) if isinstance(file, bytes) else file
