"""A recording becomes samples: one channel, at the rate of the model.

The kind of file is found by its content, never by its name, and libsndfile opens only the formats
listed here: its other readers are a wide surface that no model needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from app.serving.tasks.files.file_kinds import UnreadableFile
from app.serving.tasks.files.formats import ogg, wav

FORMATS_TEXT = "WAV, FLAC or Ogg (Vorbis or Opus)"
MEDIA_TYPES = ("audio/wav", "audio/flac", "audio/ogg")
NOT_A_RECORDING = "not a recording in a supported format"
INTACT = "an intact file"
# Subtypes of these formats that are read: plain numbers, the two codecs of telephony, and those of
# Ogg. The others are rare, and hardly tested.
SUBTYPES = frozenset(
    [
        *("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"),
        *("ULAW", "ALAW", "VORBIS", "OPUS"),
    ]
)
# Formats that phones and browsers write, by the bytes at their beginning.
_OTHERS = {b"ID3": "MP3", b"\x1aE\xdf\xa3": "WebM", b"FORM": "AIFF", b".snd": "AU"}
_CONVERT = f"{FORMATS_TEXT}: convert it, for example with 'ffmpeg -i FILE voice.wav'"
MAX_CHANNELS = 8
RATES = (1_000, 384_000)
# The largest sample: numbers of 1 and more are overdriven, those of 16-bit integers a mistake.
MAX_LEVEL = 10.0
# Frames that are decoded at once; between two blocks the work can end.
BLOCK = 65_536
# What libsndfile says where a header leaves the length open (SF_COUNT_MAX).
_UNKNOWN = 2**62
# The quality that librosa resamples with, and so what most models were trained on.
_QUALITY = "HQ"


class UnreadableRecording(UnreadableFile):
    """The file is not a recording that can be read; `problem` and `expected` say why."""


@dataclass(frozen=True, slots=True)
class RecordingSpec:
    """The samples that a model wants. rate: per second. length: to which recordings are cut or
    padded; None for as many as there are. most: where they are not cut."""

    rate: int
    length: int | None
    most: int


def media_type(data: bytes) -> str:
    """Return the media type of a file that `decode` reads."""
    wav_type, flac_type, ogg_type = MEDIA_TYPES
    return {b"fLaC": flac_type, ogg.MAGIC: ogg_type}.get(data[:4], wav_type)


def never() -> None:
    """The `check` of work that nothing ends."""


def take_any(samples: int) -> None:
    """The `take` of work that has no limit."""


def decode(
    file: BinaryIO,
    spec: RecordingSpec,
    check: Callable[[], None] = never,
    take: Callable[[int], None] = take_any,
) -> NDArray[np.float32]:
    """Return the samples, the mean of all channels: float32 (samples,), as libsndfile scales them,
    to -1..1.

    Nothing is allocated by what a header says, and no more is decoded than is wanted. check: called
    between blocks; what it raises ends the work. take: called with the number of samples of each
    block, before it is kept. Raises UnreadableRecording. Thread-safe; releases the GIL while it
    decodes.
    """
    wanted = spec.most + 1 if spec.length is None else spec.length
    parts: list[NDArray[np.float32]] = []
    count = 0
    with opened(file) as sound:
        for part in _resampled(_blocks(sound, check), sound.samplerate, spec.rate):
            part = part[: wanted - count]
            take(len(part))
            parts.append(part)
            count += len(part)
            if count == wanted:
                break
    if spec.length is None and count > spec.most:
        seconds = spec.most / spec.rate
        raise UnreadableRecording(
            f"the recording is longer than {seconds:g} s", f"at most {seconds:g} s"
        )
    if count < wanted and spec.length is not None:
        parts.append(np.zeros(wanted - count, np.float32))
    return np.concatenate(parts)


@contextmanager
def opened(file: BinaryIO) -> Iterator[soundfile.SoundFile]:
    """The recording in a file, of which only the headers are read. Raises UnreadableRecording,
    within the block as well."""
    file.seek(0)
    try:
        _check_kind(file)
        file.seek(0)
        with _Sound(_Source(file)) as sound:
            _check_header(sound)
            yield sound
    except (soundfile.SoundFileError, RuntimeError) as error:
        # Without what soundfile puts before the reason.
        reason = str(error).rpartition(": ")[2].rstrip(". ") or "it cannot be decoded"
        raise UnreadableRecording(f"the recording is damaged: {reason}", INTACT) from None
    except MemoryError:
        raise UnreadableRecording(
            "the recording needs more memory than there is", "a shorter recording"
        ) from None


class _Sound(soundfile.SoundFile):  # type: ignore[misc]
    """A recording that is read from its beginning to its end."""

    def seekable(self) -> bool:
        """Return False: the base class would seek to where it is after each block, which costs Ogg
        much time, and fails where a header lies."""
        return False


class _Source:
    """A file as libsndfile reads it. Where it was closed, since no one waits for the result any
    more, it ends: an exception would be printed by the code between C and Python."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        try:
            return self._file.read(size)
        except ValueError:
            return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._file.seek(offset, whence)
        except (ValueError, OSError):  # closed, or a place before the beginning
            return -1

    def tell(self) -> int:
        try:
            return self._file.tell()
        except ValueError:
            return -1


def _check_kind(file: BinaryIO) -> None:
    """Raise UnreadableRecording for other formats, and for files that end too early."""
    head = file.read(12)
    if head[:4] == b"fLaC":
        return
    if head[:4] in wav.MAGIC and head[8:] == b"WAVE":
        if (missing := wav.missing_bytes(file)) is not None:
            raise _cut_off(missing)
        return
    if head[:4] == ogg.MAGIC:
        if (missing := ogg.missing_bytes(file)) is not None:
            raise _cut_off(missing)
        return
    name = next((name for magic, name in _OTHERS.items() if head.startswith(magic)), None)
    if head[4:8] == b"ftyp":
        name = "M4A"
    elif head[:1] == b"\xff" and head[1:2] >= b"\xe0":
        name = "MP3"
    if name is not None:
        raise UnreadableRecording(f"{name} is not supported", _CONVERT)
    raise UnreadableRecording(NOT_A_RECORDING, FORMATS_TEXT)


def _cut_off(missing: int) -> UnreadableRecording:
    return UnreadableRecording(
        f"the recording is damaged: its last {missing:,} bytes are missing", INTACT
    )


def _check_header(sound: soundfile.SoundFile) -> None:
    if sound.subtype not in SUBTYPES:
        raise UnreadableRecording(f"the codec {sound.subtype} is not supported", _CONVERT)
    if sound.channels > MAX_CHANNELS:
        raise UnreadableRecording(
            f"the recording has {sound.channels} channels", f"at most {MAX_CHANNELS}"
        )
    if not RATES[0] <= sound.samplerate <= RATES[1]:
        raise UnreadableRecording(
            f"the recording has {sound.samplerate:,} samples a second",
            f"{RATES[0]:,} to {RATES[1]:,}",
        )


def _blocks(sound: soundfile.SoundFile, check: Callable[[], None]) -> Iterator[NDArray[np.float32]]:
    """Yield the recording block by block, the mean of its channels."""
    count = 0
    while True:
        check()
        block = sound.read(BLOCK, dtype="float32", always_2d=True)
        if not len(block):
            break
        count += len(block)
        level = np.abs(block).max()
        if not np.isfinite(level):
            raise UnreadableRecording("the recording has samples that are no numbers", "-1 to 1")
        if level > MAX_LEVEL:
            raise UnreadableRecording(
                f"the recording has samples of {level:,.0f}", "samples of -1 to 1"
            )
        yield block.mean(axis=1)
    if not count:
        raise UnreadableRecording("the recording is empty", "at least one sample")
    if count < sound.frames < _UNKNOWN:
        lacks = sound.frames - count
        raise UnreadableRecording(
            f"the recording is damaged: its last {lacks:,} samples are missing", INTACT
        )


def _resampled(
    blocks: Iterator[NDArray[np.float32]], given: int, wanted: int
) -> Iterator[NDArray[np.float32]]:
    """Yield blocks at another rate, which are together what one call would make of the whole."""
    if given == wanted:
        yield from blocks
        return
    stream = soxr.ResampleStream(given, wanted, 1, dtype="float32", quality=_QUALITY)
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)
