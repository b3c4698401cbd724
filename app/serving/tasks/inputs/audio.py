"""Recordings: files, or base64 in JSON."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, cast

import numpy as np

from app.errors import Detail, InvalidInput
from app.serving.arrays import Array
from app.serving.call import Call
from app.serving.cards.kinds import Kind
from app.serving.cards.time_inputs import AudioInput
from app.serving.limits import Limits
from app.serving.signature import TensorSpec
from app.serving.tasks.base import File, invalid
from app.serving.tasks.files.file_kinds import RECORDINGS
from app.serving.tasks.files.recordings import (
    FORMATS_TEXT,
    RecordingSpec,
    UnreadableRecording,
    decode,
    media_type,
    opened,
)
from app.serving.tasks.inputs.decoding import check_count, stream_of, unreadable, workers
from app.serving.tasks.inputs.files import FileInput
from app.serving.tasks.inputs.input import Parsed
from app.serving.tensors import numpy_dtype
from app.serving.threads import Check, in_a_thread

# Fewer are no sound.
LEAST_SAMPLES = 1_000
_TYPES = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True, slots=True)
class Sound:
    """A recording to decode. field: how problems call it."""

    file: File
    field: str


class Audio(FileInput):
    """One recording per row. Raises CardError from `__init__` if card and model do not fit."""

    kind = "audio"
    accepts = frozenset({"audio", "json"})
    files = RECORDINGS
    formats = FORMATS_TEXT

    def __init__(self, kind: Kind[AudioInput], limits: Limits) -> None:
        super().__init__(kind.name, kind.specs, limits)
        (self.spec,) = kind.specs
        self.recording = _recording(kind)

    def sounds(self, parsed: Parsed) -> list[Sound]:
        """Return the recordings of a request for this input."""
        where = parsed.fields.get(self.name, str)
        return [Sound(file, where(i)) for i, file in enumerate(parsed.files.get(self.name, ()))]

    def problems(self, sounds: Sequence[Sound], call: Call | None) -> list[Detail]:
        """Return the problems that the headers show. Raises what ends `call`."""
        check_count(len(sounds), self.limits, self.files.noun)
        return unreadable(sounds, workers(self.limits).map(_probe, sounds, call))

    def most_bytes(self, count: int) -> int:
        """Return the most bytes that the samples of `count` recordings take."""
        length, size = self.recording.length, numpy_dtype(self.spec.dtype).itemsize
        most = self.limits.max_elements
        return size * (most if length is None else min(most, count * length))

    def decoded(self, sounds: Sequence[Sound], call: Call | None, hint: str = "") -> Array:
        """Decode recordings, as many at once as there are cores: (sounds, samples), or (sounds,
        samples, 1).

        hint: after what is expected of each. Raises InvalidInput with the problems of all, or if
        they are too many, or too long together; and what ends `call`.
        """
        check_count(len(sounds), self.limits, self.files.noun)
        length, dtype = self.recording.length, numpy_dtype(self.spec.dtype)
        # One that is too long is a problem of its own.
        room = _Room(max(self.limits.max_elements, self.recording.most + 1))
        rows = np.empty((0, 0), dtype)
        if length is not None:
            room.take(len(sounds) * length)
            rows = np.zeros((len(sounds), length), dtype)

        def one(i: int, check: Check) -> Array | UnreadableRecording:
            """An error as a value: there may be one for each."""
            take = room.take if length is None else _take_nothing
            try:
                samples = decode(stream_of(sounds[i].file), self.recording, check, take)
            except UnreadableRecording as error:
                return error
            if length is None:
                return samples.astype(dtype, copy=False)
            rows[i] = samples
            return samples

        found = workers(self.limits).map(one, range(len(sounds)), call)
        if details := unreadable(sounds, found, hint):
            raise invalid(details)
        if length is None:
            rows = self._stacked(sounds, cast("list[Array]", found))
        return rows if len(self.spec.row_shape) == 1 else rows[..., None]

    @staticmethod
    def _stacked(sounds: Sequence[Sound], found: list[Array]) -> Array:
        """Put recordings of one length together. Raises InvalidInput for others."""
        count = len(found[0])
        expected = f"{count:,}, as in the first recording, or a request for each"
        if details := [
            Detail(sound.field, f"{len(samples):,} samples", len(samples), expected)
            for sound, samples in zip(sounds, found, strict=True)
            if len(samples) != count
        ]:
            raise invalid(details)
        return found[0][None] if len(found) == 1 else in_a_thread(lambda: np.stack(found))

    def body_schema(self) -> dict[str, Any]:
        """Formats and limits."""
        return {"type": "recording", "formats": self.formats, **self._settings()}

    def about(self) -> dict[str, dict[str, Any]]:
        """The rate and the length."""
        return {self.name: {"kind": self.kind, **self._settings()}}

    def _settings(self) -> dict[str, Any]:
        spec = self.recording
        cut = spec.length is not None
        return {
            "rate": spec.rate,
            "seconds": round(spec.length / spec.rate, 6) if spec.length is not None else None,
            "max_seconds": None if cut else round(spec.most / spec.rate, 6),
        }

    def example(self) -> dict[str, Array]:
        """Return silence, of a second where the model takes any length."""
        count = self.recording.length or min(self.recording.rate, self.recording.most)
        shape = (1, count) if len(self.spec.row_shape) == 1 else (1, count, 1)
        return {self.spec.name: np.zeros(shape, numpy_dtype(self.spec.dtype))}

    def read_example(self, data: bytes) -> tuple[str, None]:
        """Decode a recording."""
        decode(BytesIO(data), self.recording)
        return media_type(data), None


class _Room:
    """The samples that the recordings of a request may still have together. Safe from any
    thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._lock = threading.Lock()

    def take(self, samples: int) -> None:
        """Take some. Raises InvalidInput where there are no more."""
        with self._lock:
            self._taken += samples
            if self._taken <= self._most:
                return
        raise InvalidInput(
            f"the recordings of the request have more than {self._most:,} samples together, as the "
            "model is given them: send fewer at a time"
        )


def _take_nothing(samples: int) -> None:
    """The room for a known length is taken beforehand."""


def _probe(sound: Sound, check: Check) -> UnreadableRecording | None:
    check()
    try:
        with opened(stream_of(sound.file)):
            return None
    except UnreadableRecording as error:
        return error


def may_be_sound(spec: TensorSpec) -> bool:
    """Tell whether an input has the shape of sound: many floats in a row."""
    shape = spec.row_shape
    if not spec.shape or spec.dtype not in _TYPES or len(shape) not in (1, 2):
        return False
    return shape[1:] in ((), (1,)) and (shape[0] is None or shape[0] >= LEAST_SAMPLES)


def _recording(kind: Kind[AudioInput]) -> RecordingSpec:
    """Return what the card and the model together want of a recording. Raises CardError."""
    (spec,), card, place = kind.specs, kind.card, kind.place
    shape = spec.row_shape
    fits = bool(spec.shape) and (len(shape) == 1 or (len(shape) == 2 and shape[1] in (1, None)))
    if spec.dtype not in _TYPES or not fits:
        alone = spec.dtype in _TYPES and spec.shape is not None and len(spec.shape) == 1
        one = ", one recording and no rows (export the model with a dimension of rows first)"
        raise place.problem(
            "needs an input of floats of shape (rows, samples) or (rows, samples, 1), this is "
            f"{spec.name} {spec.dtype} {spec.shape}{one if alone else ''}"
        )
    own = shape[0]
    if own is not None:
        if card.samples not in (None, own):
            raise place.wrong(
                "seconds",
                f" {card.seconds:g} at {card.rate} a second are {card.samples} samples, the model "
                f"takes {own}",
            )
        return RecordingSpec(card.rate, own, own)
    most = card.most if spec.bounds is None else min(card.most, spec.bounds.length)
    if card.samples is not None and card.samples > most:
        raise place.wrong(
            "seconds",
            f" {card.seconds:g} at {card.rate} a second are {card.samples} samples, above "
            f"runtime.max_length, {most}",
        )
    return RecordingSpec(card.rate, card.samples, most)
